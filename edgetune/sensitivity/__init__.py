"""Which layers a task asks to change, and at which rank: a guess from gradients, without training."""

#: Training rows to look at where nobody says how many: on two cores and a small model a minute of gradients or less.
ROWS = 64
