"""JSON as the standard has it: no duplicate keys, no NaN. Python's own decoder lets both pass."""

from __future__ import annotations

import json
from typing import Any


class TooMuchError(json.JSONDecodeError):
    """Valid, but of a depth or with a number that Python does not read."""


class Decoder:
    """Reads values, and says what is wrong with those that only Python takes for JSON."""

    def __init__(self) -> None:
        self._faults: list[str] = []
        self._decoder = json.JSONDecoder(object_pairs_hook=self._pairs, parse_constant=self._constant)

    def decode_line(self, text: str) -> tuple[Any, str | None]:
        """The one value in ``text``, and what is wrong with it.

        Raises:
            json.JSONDecodeError: no value, or more than one.
        """
        value, end, fault = self.decode(text, 0)
        if end < len(text):
            raise json.JSONDecodeError("more follows after the value", text, end)
        return value, fault

    def decode(self, text: str, position: int) -> tuple[Any, int, str | None]:
        """The value at ``position``, where it ends, and what is wrong with it.

        Raises:
            json.JSONDecodeError: no value there.
        """
        self._faults.clear()
        try:
            value, end = self._decoder.raw_decode(text, position)
        except RecursionError:
            raise TooMuchError("nested too deeply", text, position) from None
        except json.JSONDecodeError:
            raise
        except ValueError:  # Python reads no whole number of more than 4300 digits
            raise TooMuchError("holds a number of too many digits", text, position) from None
        return value, end, self._faults[0] if self._faults else None

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            keys = [key for key, _ in pairs]
            self._faults.append(f"has the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
        return value

    def _constant(self, name: str) -> None:
        self._faults.append(f"holds {name}, which JSON does not have")
