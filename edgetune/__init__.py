"""edgetune: adapt a small model on one machine, ship it to a device, with evidence."""

from __future__ import annotations

__version__ = "0.1.0"
