"""When."""

from __future__ import annotations

import datetime as dt


def now() -> str:
    """UTC, ISO 8601."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
