"""Devices: what they are, what was measured on them, what they would probably do, and what fits into them."""
