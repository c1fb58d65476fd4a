"""The page of the cross-checks: what they found, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import publishing
from equal_runs import sentences

from edgetune.bench.statistics import Ratio, mean_interval, ratio

#: What the figures have to keep to.
PLANTED, AGREE, OVERHEAD, ALARMS = 0.05, 0.05, 3.0, 1
#: A slowdown of every token has to show in both.
SLOWED = ("decode_raw", "decode")
#: Runtime → the tool whose rates ours are held beside.
TOOLS = {"llama.cpp": "llama-bench", "onnxruntime-genai": "onnxruntime-genai"}

_COLUMNS = (
    "Speeds are medians over turns, each tool's by itself. `apart` is the mean of what the tools were apart within "
    "each turn, with Student's 95 % interval over the turns, so that it need not be the ratio of the two. Where the "
    "interval reaches across the limit, the answer is not certain."
)
_WITHIN = f"within {AGREE:.0%}"


def page(result: dict[str, Any], series: Sequence[dict[str, Any]] = ()) -> str:
    """The tables as Markdown.

    Args:
        result: one series.
        series: all that were measured on such a machine, for what their turns say together.
    """
    parts = [_COLUMNS]
    for tool in TOOLS.values():
        turns = [one for one in result["beside"] if one["tool"] == tool]
        parts += _tool_part(tool, turns) if turns else [f"Beside {tool}: not measured."]
    if len(series) > 1:
        parts += _together(series)
    if "alone_of" in result:
        parts.append(f"What follows was measured before: [{result['alone_of']}](results/{result['alone_of']}).")
    parts += [_equal_part("at other times", result["same"])]
    if result.get("same_in_turns"):  # results of before have none
        parts += [_equal_part("in turns", result["same_in_turns"])]
    if result["same"]:
        parts.append(sentences(result))
    parts += [_planted_part(when, compared) for when, compared in result["planted"].items()]
    parts.append(_restlessness(result["yardsticks"]))
    warned = sorted({warning.partition(": ")[0] for warning in result["warnings"]})
    parts.append(
        f"Warned of in one run or more: {', '.join(warned) or 'nothing'}. The raw data has each with its figure."
    )
    return "\n\n".join([*parts, f"Machine: {publishing.machine_line(result['machine'])}."])


def _equal_part(when: str, runs: Sequence[list[dict[str, Any]]]) -> str:
    alarms = sum(any(one["verdict"] != "same" for one in compared) for compared in runs)
    return f"{len(runs)} A/A runs {when} with a claim: {alarms} (at most {ALARMS}: {_kept(alarms <= ALARMS)})."


def _planted_part(when: str, compared: list[dict[str, Any]]) -> str:
    worse = [one["name"] for one in compared if one["verdict"] == "worse"]
    return (
        f"A planted slowdown of {PLANTED:.0%}, measured {when}, was found in {' and '.join(SLOWED)}: "
        f"{_kept(set(SLOWED) <= set(worse))}. Said to be worse: {', '.join(worse) or 'nothing'}."
    )


def _restlessness(yardsticks: Sequence[Sequence[float]]) -> str:
    """How far the machine itself moved from one A/A run to the next."""
    means = [statistics.fmean(one) for one in yardsticks if one]
    if not means:
        return "How fast the machine itself was is not known."
    return f"Meanwhile the machine itself copied memory at {min(means):.1f} to {max(means):.1f} GB/s, a run's mean."


def _tool_part(tool: str, turns: list[dict[str, Any]]) -> list[str]:
    rows = []
    for name, pairs in _pairs(turns):
        ours, theirs = (statistics.median(pair[who] for pair in pairs) for who in ("edgetune", "tool"))
        rows.append([name, f"{ours:.1f}", f"{theirs:.1f}", *_apart(pairs)])
    others = max(one["others_share"] or 0.0 for one in turns)
    count = len({one["turn"] for one in turns})
    return [
        publishing.table(["tokens/s", "edgetune", tool, "apart", _WITHIN], rows),
        (
            f"Overhead a token over its raw loop: {_overhead(turns)}. "
            f"{count} turns of each depth; others used up to {others:.0%} of the CPUs meanwhile."
        ),
    ]


def _together(series: Sequence[dict[str, Any]]) -> list[str]:
    """What the turns of all series say, each turn counted as one of its own."""
    rows, costs = [], []
    for tool in TOOLS.values():
        turns = [one for found in series for one in found["beside"] if one["tool"] == tool]
        rows += [[f"{name} beside {tool}", str(len(pairs)), *_apart(pairs)] for name, pairs in _pairs(turns)]
        costs += [f"{_overhead(turns)} beside {tool}"] if turns else []
    return [
        f"All turns of the {len(series)} series that were measured on such a machine, together:",
        publishing.table(["", "turns", "apart", _WITHIN], rows),
        f"Overhead a token in all of them: {'; '.join(costs)}.",
    ]


def _pairs(turns: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, float]]]]:
    """Name of a rate, and what both tools gave for it in each turn that has it."""
    for name in dict.fromkeys(name for one in turns for name in one["rates"]):
        yield name, [one["rates"][name] for one in turns if name in one["rates"]]


def _apart(pairs: Sequence[dict[str, float]]) -> list[str]:
    """Ours over theirs with its interval, and whether that is near enough."""
    apart = ratio([pair["tool"] for pair in pairs], [pair["edgetune"] for pair in pairs], paired=True)
    return [f"{apart.value - 1:+.1%} [{apart.low - 1:+.1%}, {apart.high - 1:+.1%}]", _agrees(apart)]


def _overhead(turns: Sequence[dict[str, Any]]) -> str:
    costs = [one["overhead"] for one in turns]
    over = statistics.fmean(costs)
    low, high = mean_interval(costs) or (over, over)
    certain = ", not certain" if low <= OVERHEAD < high else ""
    return f"{over:.1f} [{low:.1f}, {high:.1f}] % (at most {OVERHEAD:.0f} %: {_kept(over <= OVERHEAD)}{certain})"


def _agrees(apart: Ratio) -> str:
    """Whether two rates are as like as they have to be, and whether these turns can tell."""
    inside = [abs(one - 1) <= AGREE for one in (apart.low, apart.value, apart.high)]
    crossed = not all(inside) if inside[1] else any(inside) or apart.low < 1 < apart.high
    return _kept(inside[1]) + (", not certain" if crossed else "")


def _kept(yes: bool) -> str:
    return "yes" if yes else "**no**"
