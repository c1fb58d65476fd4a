"""Which layers a task asks to change, and at which rank: a guess from gradients, without training."""

#: Training rows to look at where nobody says how many: enough for two of the recipes that come with edgetune.
ROWS = 256
