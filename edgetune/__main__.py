"""``python -m edgetune``, and ``accelerate launch -m edgetune``."""

from __future__ import annotations

from edgetune.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
