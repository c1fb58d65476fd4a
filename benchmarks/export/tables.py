"""The tables of README.md, made from a results file alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from closeness import difference
from publishing import machine_line, table
from stages import OURS, ROUTES, TARGETS

from edgetune.bench.statistics import median

#: What is aimed at: times faster, by target; and ours / theirs of the peak memory.
FASTER = {"q8_0": 3.0, "q4_k_m": 1.5}
MEMORY = 0.25
#: Share of the processors, used by others, from which a reader is warned.
BUSY = 0.05


@dataclass(frozen=True)
class Way:
    """From adapter to file.

    Attributes:
        stages: names of its processes.
        seconds: of each turn, all stages together.
        peak: largest peak of a stage; the median of the turns.
        anonymous: the same of memory that is not pages of files.
    """

    stages: tuple[str, ...]
    seconds: tuple[float, ...]
    peak: float
    anonymous: float


def to_markdown(result: Mapping[str, Any]) -> str:
    """Everything a reader needs to judge the figures."""
    parts = [_head(result), _ways(result), _verdicts(result), _stages(result), _closeness(result), *_warnings(result)]
    return "\n\n".join(part for part in parts if part)


def way(result: Mapping[str, Any], contender: str, stages: tuple[str, ...]) -> Way:
    """What a sequence of stages took."""
    runs = [one for one in result["runs"] if one["contender"] == contender and one["stage"] in stages]
    turns = [[one for one in runs if one["turn"] == turn] for turn in range(result["settings"]["turns"])]
    return Way(
        stages,
        tuple(sum(one["seconds"] for one in turn) for turn in turns),
        median([max(one["peak_bytes"] for one in turn) for turn in turns]),
        median([max(one["anonymous_bytes"] for one in turn) for turn in turns]),
    )


def fastest(result: Mapping[str, Any], target: str) -> Way:
    """The chain's fastest way to a target."""
    return min((way(result, "chain", route) for route in ROUTES[target]), key=lambda found: median(found.seconds))


def _head(result: Mapping[str, Any]) -> str:
    machine, settings = result["environment"], result["settings"]
    versions = ", ".join(f"{name} {found}" for name, found in sorted(machine["versions"].items()))
    at = f"at commit {machine['commit']} " if machine["commit"] else ""
    return (
        f"Measured {result['created'][:10]} {at}on {machine_line(machine)}. Versions: {versions}.\n\n"
        f"{settings['parameters'] / 1e9:.3f} billion parameters in bfloat16, adapter of rank {settings['rank']} on "
        f"every linear layer; turns: {settings['turns']}; threads: {settings['threads']}; inputs in the page cache."
    )


def _ways(result: Mapping[str, Any]) -> str:
    head = ["", "s (each turn)", "times faster (range of turns)", "peak RSS, MB", "of the chain's", "anonymous, MB"]
    rows = []
    for target in TARGETS:
        theirs, mine = fastest(result, target), way(result, OURS, (target,))
        rows.append([f"{target}: {', '.join(theirs.stages)}", *_figures(theirs, None)])
        rows.append([f"{target}: edgetune export", *_figures(mine, theirs)])
    return table(head, rows)


def _figures(found: Way, other: Way | None) -> list[str]:
    turns = ", ".join(f"{seconds:.1f}" for seconds in found.seconds)
    return [
        f"{median(found.seconds):.1f} ({turns})",
        _times(found, other) if other else "",
        f"{found.peak / 1e6:.0f}",
        f"{found.peak / other.peak:.2f}" if other else "",
        f"{found.anonymous / 1e6:.0f}",
    ]


def _times(found: Way, other: Way) -> str:
    """Median over median, and the range over the turns, each against its own neighbour."""
    turns = [theirs / mine for theirs, mine in zip(other.seconds, found.seconds, strict=True)]
    return f"{median(other.seconds) / median(found.seconds):.2f} ({min(turns):.2f} to {max(turns):.2f})"


def _verdicts(result: Mapping[str, Any]) -> str:
    lines = []
    for target in TARGETS:
        theirs, mine = fastest(result, target), way(result, OURS, (target,))
        times, share = median(theirs.seconds) / median(mine.seconds), mine.peak / theirs.peak
        lines.append(f"- {target}: at least {FASTER[target]:g} times faster: {_met(times >= FASTER[target])}")
        lines.append(f"- {target}: at most {MEMORY:g} of the chain's peak: {_met(share <= MEMORY)}")
    return "Aims:\n\n" + "\n".join(lines)


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def _stages(result: Mapping[str, Any]) -> str:
    names = dict.fromkeys((one["contender"], one["stage"]) for one in result["runs"])
    rows = []
    for contender, stage in sorted(names, key=lambda pair: pair[0] == OURS):
        found = way(result, contender, (stage,))
        written = next(one for one in result["runs"] if (one["contender"], one["stage"]) == (contender, stage))
        title = f"edgetune export --quant {stage}" if contender == OURS else stage
        sizes = (found.peak, found.anonymous, written["written_bytes"])
        rows.append([title, f"{median(found.seconds):.1f}", *(f"{size / 1e6:.0f}" for size in sizes)])
    return table(["process", "s", "peak RSS, MB", "anonymous, MB", "written, MB"], rows)


def _closeness(result: Mapping[str, Any]) -> str:
    found = result["closeness"]
    rows = []
    for name, one in found.items():
        apart = one["divergence"]
        rows.append([name, f"{apart['kl_mean']:.3g}", f"{apart['kl_p99']:.3g}", f"{apart['top1_all']:.1%}"])
    positions = next(iter(found.values()))["divergence"]["positions"]
    lines = [table([f"file ({positions} positions)", "mean KL", "p99 KL", "same token"], rows)]
    return "\n\n".join([*lines, "\n".join(_differences(found))])


def _differences(found: Mapping[str, Any]) -> Iterator[str]:
    for target in TARGETS:
        for name in found:
            if name.startswith(target) and not name.endswith(OURS):
                mean, low, high = difference(found[f"{target}: {OURS}"]["kl"], found[name]["kl"])
                other = name.partition(": ")[2]
                yield f"- {target}, mean KL, edgetune - {other}: {mean:+.2g} [{low:+.2g}, {high:+.2g}]"


def _warnings(result: Mapping[str, Any]) -> Iterator[str]:
    busy = [one for one in result["runs"] if (one["others_cpu_share"] or 0) >= BUSY]
    if busy:
        named = ", ".join(f"{one['stage']} ({one['others_cpu_share']:.0%})" for one in busy)
        yield f"Others used {BUSY:.0%} of the processors or more during: {named}."
