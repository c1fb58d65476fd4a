"""Targets for people: a list, and one in full with where each number comes from."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from edgetune.targets.finding import Found, readable_targets
from edgetune.targets.target import Target

_HOW = {
    "host": "on this machine",
    "adb": "over adb",
    "ssh": "over ssh",
    "none": "not measurable from here; device project projects decode speed",
}


def list_text() -> str:
    """Name, kind and description of every target; those of one's own say where they lie."""
    found = list(readable_targets())
    width = max(len(one.name) for one, _ in found)
    shipped = {one.name for one, _ in found if one.owner == "edgetune"}
    return "\n".join(f"{one.name:<{width}}  {_line(one, target, shipped)}" for one, target in found)


def _line(found: Found, target: Target, shipped: AbstractSet[str]) -> str:
    where = "" if found.owner == "edgetune" else f"  ({found.owner}: {found.file}"
    if where:
        where += "; edgetune has one of that name: rename it, or give its path)" if found.name in shipped else ")"
    return f"{target.kind:<9} {target.description}{where}"


def to_text(target: Target) -> str:
    """One target, each number with its source."""
    lines = [f"{target.name}: {target.description}", f"kind        {target.kind}, {_HOW[target.transport]}"]
    lines += [
        f"{label:<12}{value}{_source(target, key)}"
        for label, key, value in (
            ("device", "device", target.device),
            ("scenario", "scenario", target.scenario),
            ("rate", "rate", target.rate and f"{target.rate:g} a second"),
            ("threads", "threads", target.threads),
            ("memory", "memory_budget_mb", target.memory_budget_mb and f"{target.memory_budget_mb:g} MB"),
            ("context", "context", target.context and f"{target.context} tokens"),
            ("prompt", "prompt_tokens", target.prompt_tokens and f"{target.prompt_tokens} tokens"),
            ("answers", "new_tokens", target.new_tokens and f"up to {target.new_tokens} tokens"),
        )
        if value is not None
    ]
    lines += [f"objective   {one.text}{_source(target, one.metric)}" for one in target.objectives]
    return "\n".join(lines if target.objectives else [*lines, "objectives  none: give some with --slo FILE"])


def _source(target: Target, key: str) -> str:
    source = target.sources.get(key)
    return f"\n            {source.strip()}" if source else ""
