"""JSON answers compared by value: equality free of key order, and which fields agree."""

from __future__ import annotations

import json
from typing import Any

#: One leaf: its path (keys and list indexes) and its value as canonical JSON.
Leaf = tuple[tuple[str | int, ...], str]


def parse(text: str) -> frozenset[Leaf] | None:
    """The leaves of a JSON text, or None where it is not JSON.

    Two texts are equal as JSON exactly when their leaves are equal: keys have no
    order, list items do, 1 equals 1.0, true does not equal 1. An empty object or
    list is a leaf itself. NaN and Infinity are not JSON.

    >>> parse('{"b": [1.0], "a": true}') == parse('{"a": true, "b": [1]}')
    True
    >>> parse("turn on the light") is None
    True
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):  # RecursionError: a rambling model writes "[[[[[…"
        return None
    return frozenset(_leaves(value))


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _leaves(root: Any) -> list[Leaf]:
    found: list[Leaf] = []
    open_nodes: list[tuple[tuple[str | int, ...], Any]] = [((), root)]
    while open_nodes:
        path, node = open_nodes.pop()
        if isinstance(node, dict) and node:
            open_nodes += [((*path, key), value) for key, value in node.items()]
        elif isinstance(node, list) and node:
            open_nodes += [((*path, index), value) for index, value in enumerate(node)]
        else:
            found.append((path, _scalar(node)))
    return found


def _scalar(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)
