"""Whether a device was held back by heat or want of power, by what it said before and after.

Android names one status for now. A Raspberry Pi has bits: the lowest four are of now, those from 16 on say what
happened since it was started (Raspberry Pi documentation, ``vcgencmd get_throttled``), however long ago that was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BITS = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
_NOW, _SINCE = 0xF, 16


def warnings(before: str | None, after: str | None) -> Iterator[str]:
    """What is to be said of two thermal statuses, as :class:`~edgetune.devices.report.DeviceState` keeps them.

    >>> list(warnings("throttled=0x50000", "throttled=0xd0000"))
    ['held back while it was measured: soft temperature limit']
    >>> list(warnings("throttled=0x50000", "throttled=0x50000"))
    []
    """
    was, became = _bits(before), _bits(after)
    if was is not None and became is not None:
        if was & _NOW:
            yield f"the device was held back already when it began: {_names(was)}"
        if during := (became | (became & ~was) >> _SINCE) & _NOW:
            yield f"held back while it was measured: {_names(during)}"
        return
    if before not in (None, "none"):
        yield f"the device was already warm when it began (thermal status {in_words(before)})"
    if after not in (None, "none", before):
        yield f"throttled: thermal status {in_words(after)} at the end"


def in_words(status: str | None) -> str:
    """A status for people.

    >>> in_words("throttled=0x50004"), in_words("moderate"), in_words(None)
    ('throttled now; since its start under-voltage, throttled', 'moderate', 'unknown')
    """
    bits = _bits(status)
    if status is None or not bits:
        return status or "unknown"
    parts = [f"{_names(bits)} now"] if bits & _NOW else []
    parts += [f"since its start {_names(bits >> _SINCE)}"] if bits >> _SINCE else []
    return "; ".join(parts)


def _bits(status: str | None) -> int | None:
    """A Raspberry Pi's bits; None of what is not known, and of Android's words but "none", which is 0 on both."""
    if status == "none":
        return 0
    match = re.fullmatch(r"throttled=(0x[0-9a-fA-F]+)", status or "")
    return int(match[1], 16) if match else None


def _names(bits: int) -> str:
    return ", ".join(name for place, name in enumerate(_BITS) if bits >> place & 1)
