"""Limits of what edgetune builds on. Loads nothing, so that the command line can name them."""

from __future__ import annotations

#: llama.cpp's GGML_MAX_N_THREADS; it ends the process where more are asked for.
MOST_THREADS = 512
