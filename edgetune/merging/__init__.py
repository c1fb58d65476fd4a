"""``edgetune merge``: into which base an adapter belongs, measured; and the merged model as a folder."""

#: Held-out rows that decide, and those of a quick look.
ROWS, QUICK_ROWS = 128, 24
