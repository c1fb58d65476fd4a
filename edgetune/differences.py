"""Where two sets of settings part, in words: for exporters that read their artifacts back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetune.artifact import ArtifactManifest

#: Values longer than this are not printed whole.
SHOWN = 60
#: By how much two computations of what an adapter's format misses may differ.
MISSING = 1e-3
#: When, by which edgetune, and what the run's folder is called today, is no fault of an artifact.
_IGNORED = frozenset({"created", "edgetune", "run", "inputs_sha256", "sha256", "size_bytes", "main_file", "quantiser"})


def manifest_problems(found: ArtifactManifest, expected: ArtifactManifest) -> list[str]:
    """Fields of a manifest that are not what would be written now."""
    wanted, written = expected.model_dump(), found.model_dump()
    named = {field: value for field, value in wanted.items() if field not in _IGNORED}
    return [f"manifest.json: {problem}" for problem in setting_problems(written, named)]


def missing_problems(said: Mapping[str, float], right: Mapping[str, float]) -> list[str]:
    """What an adapter's manifest says that its format could not hold, against what was computed again.

    >>> missing_problems({"a": 0.5, "b": 0.1}, {"b": 0.1004})
    ['manifest.json: missing of a is 0.5, should be 0']
    """
    return [
        f"manifest.json: missing of {name} is {said.get(name, 0.0):.3g}, should be {right.get(name, 0.0):.3g}"
        for name in sorted({*said, *right})
        if abs(said.get(name, 0.0) - right.get(name, 0.0)) > MISSING
    ]


def setting_problems(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Settings that are missing, or do not have the value expected; what more there is does not matter.

    >>> setting_problems({"a": 1, "b": [1, 2], "c": 0}, {"a": 1, "b": [1, 3], "d": "x"})
    ['b differs first at entry 1: 2, should be 3', 'd is missing']
    """
    problems = []
    for key, value in expected.items():
        if key not in found:
            problems.append(f"{key} is missing")
        elif plain(found[key]) != plain(value):
            problems.append(f"{key} {difference(plain(found[key]), plain(value))}")
    return problems


def difference(found: Any, wanted: Any) -> str:
    """How one value differs from another."""
    if isinstance(found, list) and isinstance(wanted, list):
        if len(found) != len(wanted):
            return f"has {len(found)} entries where the model has {len(wanted)}"
        first = next(i for i, (one, other) in enumerate(zip(found, wanted, strict=True)) if one != other)
        return f"differs first at entry {first}: {_short(found[first])}, should be {_short(wanted[first])}"
    return f"is {_short(found)}, should be {_short(wanted)}"


def plain(value: Any) -> Any:
    """A value as files can hold it: numbers with 32 bits, bytes as text, tuples as lists."""
    import numpy as np

    if isinstance(value, float):
        return float(np.float32(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
