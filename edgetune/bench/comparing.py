"""Two stored benchmarks: which figures really differ, which way and by how much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Literal

from edgetune.bench.definitions import is_compared
from edgetune.bench.schema import BenchReport, Figure
from edgetune.bench.statistics import FEWEST_ROUNDS, Ratio, median, ratio
from edgetune.bench.summary import doubts
from edgetune.errors import CheckFailed, EdgetuneError, NotJudged

#: Chance that any figure of two equal runs is said to differ, at most.
RISK = 0.05
#: Runs at different times move as wholes, by this share (a standard deviation): where the machine placed them.
#: Of times and rates on a machine of its own it is assumed. On virtual machines it is what the stillest series of
#: equal runs in benchmarks/trust had, and of memory a little more than any of them had. How far the machine itself
#: moved is measured beside it: see :func:`movement`. Runs of one session are paired and need neither allowance.
DRIFT, DRIFT_VIRTUAL, DRIFT_MEMORY = 0.006, 0.03, 0.001

#: What users feel most. These are warned of where their interval reaches further than WIDE, or than the tolerance that
#: is asked for; and without them nothing passes that had them before.
FELT = ("decode", "ttft", "latency")
WIDE = 0.05

Verdict = Literal["better", "worse", "same"]
#: What must be equal before figures can be compared.
_MACHINE = ("cpu", "architecture", "cpu_features", "usable_cpus", "cgroup_cpus", "cgroup_memory_bytes", "governor")
_SETTINGS = (
    "threads", "prefill_threads", "batch", "kv_type", "context", "prompts", "prompts_sha256", "new_tokens",
    "depth_prefill", "depth_decode", "axis_depth",
)  # fmt: skip

_TIMES = ("ms", "s")
#: Memory that counts the pages of interpreter and libraries, as many as the kernel happens to have read at once.
_WITH_PROGRAMS = ("peak_rss", "file_backed", "pss")
#: What one runtime has and another has not: of two runtimes it need not be equal.
_OF_A_RUNTIME = {"prefill_threads", "batch", "kv_type", "context"}
_PART = "a part of others, a difference of two, or of a single process or start"
_AGAINST_A_CLOCK = "measured against a clock in one process: there are no rounds to compare"
#: Reasons of figures that no comparison is made by.
_NEVER = (_PART, _AGAINST_A_CLOCK)
_OUT_OF_STEP = "rounds are not compared one by one: some have no answers in one run only"
_NONE = "the two runs have none in common"


@dataclass(frozen=True)
class Rule:
    """What a difference has to exceed.

    Attributes:
        turns: rounds were measured in turns, and are as many.
        confidence: of the interval.
        drift: of times and rates of whole runs, a standard deviation; counts where there were no turns.
        moved: how fast the machine itself was, new over old; None: not known, or of no account.
        programs: MB by which the pages of interpreter and libraries grew from old to new.
    """

    turns: bool
    confidence: float
    drift: float
    moved: Ratio | None
    programs: float = 0.0


@dataclass(frozen=True)
class Difference:
    """One figure of both runs.

    Attributes:
        name: of the figure.
        unit: of both.
        old: geometric mean of the old run's rounds.
        new: of the new one's, so that it is ``ratio`` times as much.
        ratio: new over old by rounds, with an interval that holds for all figures together.
        machine: ratios that the machine explains by itself, 1 among them: from lowest to highest.
        verdict: same where the interval leaves room for no difference but the machine's.
    """

    name: str
    unit: str
    old: float
    new: float
    ratio: Ratio
    machine: tuple[float, float]
    verdict: Verdict

    @property
    def possible(self) -> tuple[float, float]:
        """Ratios that can be the figure's own, whatever of its movement the machine explains: lowest and highest."""
        return self.ratio.low / self.machine[1], self.ratio.high / self.machine[0]

    @property
    def hidden(self) -> float:
        """The largest share by which they can differ without being told apart."""
        low, high = self.possible
        return max(high - 1, 1 - low, 0.0)

    @property
    def width(self) -> float:
        """Half of what is possible, as a share of the ratio: how finely this figure is known."""
        low, high = self.possible
        return (high - low) / 2 / self.ratio.value

    @property
    def beyond(self) -> float:
        """The share by which they differ that the machine does not explain."""
        lowest, highest = self.machine
        return max(self.ratio.value / highest - 1, 1 - self.ratio.value / lowest, 0.0)


@dataclass(frozen=True)
class Comparison:
    """All of them.

    Attributes:
        old: name of the old subject.
        new: name of the new one.
        paired: both were measured in turns.
        moved: how fast the machine itself was, new over old; None: not known, or measured in turns.
        drift: by how much times and rates of a whole run move between two times, a standard deviation.
        programs: MB by which the pages of interpreter and libraries grew; 0: measured in turns, or not known.
        differences: in the order of the report.
        left_out: figure → why it is not compared.
        lost: of them those that users feel most and of which the old run has a value.
        notes: what else differs, such as versions.
    """

    old: str
    new: str
    paired: bool
    moved: Ratio | None
    drift: float
    programs: float
    differences: tuple[Difference, ...]
    left_out: dict[str, str]
    lost: tuple[str, ...]
    notes: tuple[str, ...]

    def worse(self, tolerance: float = 0.0) -> list[Difference]:
        """Figures that got worse, by more than a share of the old ones beyond what the machine explains."""
        return [one for one in self.differences if one.verdict == "worse" and one.beyond > tolerance]

    def coarse(self, tolerance: float = 0.0) -> list[Difference]:
        """Of what users feel most, the figures with an interval too wide to show a difference of this share."""
        limit = tolerance or WIDE
        return [one for one in self.differences if one.name in FELT and one.width > limit]

    def unjudged(self, tolerance: float = 0.0) -> list[str]:
        """Why it cannot be said that nothing got worse: figures, each with its reason.

        Nothing was compared at all, the new run lost what users feel most, or a tolerance is asked for that is finer
        than a figure is known.
        """
        gone = {name: self.left_out[name] for name in self.lost}
        if not self.differences:
            gone = {name: why for name, why in self.left_out.items() if why not in _NEVER} or {"figures": _NONE}
        found = [f"{names}: {reason}" for reason, names in by_reason(gone)]
        if tolerance:
            coarse = [one for one in self.coarse(tolerance) if one.verdict != "better"]
            found += [f"{one.name}: known to ±{one.width:.1%} only, of {tolerance:.1%} allowed" for one in coarse]
        return found


def by_reason(left_out: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each reason, with the names of all figures that have it."""
    for reason in dict.fromkeys(left_out.values()):
        yield reason, ", ".join(name for name, why in left_out.items() if why == reason)


def compare(old: BenchReport, new: BenchReport) -> Comparison:
    """Compare two runs figure by figure.

    Raises:
        EdgetuneError: they are unlike, naming everything that differs.
    """
    _require_alike(old, new)
    paired = old.settings.session is not None and old.settings.session == new.settings.session
    in_step = paired and _answered(old) == _answered(new)
    pairs, left_out = _comparable(old, new)
    confidence = 1 - RISK / max(1, len(pairs))  # Bonferroni: together they are wrong that seldom
    moved = None if paired else movement(old, new)
    drift = DRIFT_VIRTUAL if old.environment.virtual or new.environment.virtual else DRIFT
    programs = 0.0 if paired else _grown_programs(old, new)
    found = []
    for before, after in pairs:
        turns = in_step and len(before.rounds) == len(after.rounds)
        found.append(difference(before, after, Rule(turns, confidence, drift, moved, programs)))
    lost = tuple(name for name in left_out if name in FELT and (had := old.find(name)) and had.median is not None)
    notes = (*([_OUT_OF_STEP] if paired and not in_step else []), *_notes(old, new))
    names = (old.subject.name, new.subject.name)
    return Comparison(*names, paired, moved, drift, programs, tuple(found), left_out, lost, notes)


def difference(before: Figure, after: Figure, rule: Rule) -> Difference:
    """One figure of the old run and of the new one, both with a median."""
    drift = DRIFT_MEMORY if after.unit == "MB" else rule.drift
    size = ratio(before.rounds, after.rounds, paired=rule.turns, confidence=rule.confidence, drift=drift)
    machine = _explained(rule, before)
    verdict = _verdict(size, machine, after.better)
    means = geometric_mean(before.rounds), geometric_mean(after.rounds)
    return Difference(after.name, after.unit, *means, size, machine, verdict)


def _answered(report: BenchReport) -> dict[int, int]:
    """Round → tokens of its longest answer, 2 standing for more: a round without any is in no figure of answers.

    Figures keep their rounds in order and without numbers, so that rounds pair up only where the same ones are there.
    """
    longest: dict[int, int] = {}
    for request in report.requests:
        longest[request.round] = max(longest.get(request.round, 0), min(2, len(request.token_s)))
    return longest


def movement(old: BenchReport, new: BenchReport) -> Ratio | None:
    """How fast the machine itself was, new over old, by what it copied beside the rounds, with a 95 % interval.

    None where that was not kept.
    """
    before, after = old.environment.yardstick, new.environment.yardstick
    if min(len(before), len(after)) < FEWEST_ROUNDS:
        return None
    return ratio(before, after, paired=False)


def _grown_programs(old: BenchReport, new: BenchReport) -> float:
    """MB by which the pages of interpreter and libraries grew; 0 where that was not kept."""
    before, after = ([one.programs for one in report.memory if one.programs is not None] for report in (old, new))
    return (median(after) - median(before)) / 1e6 if before and after else 0.0


def _explained(rule: Rule, before: Figure) -> tuple[float, float]:
    """Ratios of a figure that need no other reason than the machine: from none of its movement to all of it."""
    if before.name.partition("@")[0] in _WITH_PROGRAMS and before.median:
        grown = 1 + rule.programs / before.median
        return min(1.0, grown), max(1.0, grown)
    if rule.moved is None or not _is_of_time(before.unit):
        return (1.0, 1.0)
    in_time = before.unit in _TIMES
    low, high = (1 / rule.moved.high, 1 / rule.moved.low) if in_time else (rule.moved.low, rule.moved.high)
    return min(1.0, low), max(1.0, high)


def _is_of_time(unit: str) -> bool:
    return unit in _TIMES or unit.endswith("/s")


def require_no_worse(found: Comparison, tolerance: float) -> None:
    """End with exit code 9 where something got worse, 15 where nothing is known to, but too little is known.

    Raises:
        CheckFailed: naming the figures.
        NotJudged: naming what could not be compared, and why.
    """
    worse = found.worse(tolerance)
    if worse:
        raise CheckFailed(
            f"{found.new} is worse than {found.old} in {', '.join(one.name for one in worse)}",
            hint="--tolerance SHARE allows for a part of it",
        )
    if unjudged := found.unjudged(tolerance):
        raise NotJudged(
            f"{found.new} cannot be said to be no worse than {found.old}",
            hint="edgetune bench OLD NEW --rounds 24 --output FOLDER measures both in turns, which shows most",
            problems=unjudged,
        )


def _verdict(size: Ratio, machine: tuple[float, float], better: Literal["lower", "higher"]) -> Verdict:
    lowest, highest = machine
    if size.low <= highest and size.high >= lowest:
        return "same"
    return "better" if (size.value > 1) == (better == "higher") else "worse"


def _comparable(old: BenchReport, new: BenchReport) -> tuple[list[tuple[Figure, Figure]], dict[str, str]]:
    """Figures of both with enough rounds, and why the others are left out."""
    pairs, left_out = [], {}
    for after in new.figures:
        before, compared = old.find(after.name), is_compared(after.name)
        reason = _AGAINST_A_CLOCK if compared is None else _reason(before, after, compared=compared)
        if reason:
            left_out[after.name] = reason
        elif not compared:
            left_out[after.name] = _PART
        elif before:
            pairs.append((before, after))
    for gone in (f.name for f in old.figures if new.find(f.name) is None):
        left_out[gone] = _AGAINST_A_CLOCK if is_compared(gone) is None else "the new run has no such figure"
    return pairs, left_out


def _reason(before: Figure | None, after: Figure, *, compared: bool) -> str | None:
    if before is None:
        return "the old run has no such figure"
    for figure, which in ((before, "old"), (after, "new")):
        if figure.median is None:
            return f"the {which} run has none: {figure.reasons.get('median', 'no reason given')}"
        if compared and len(figure.rounds) < FEWEST_ROUNDS:
            return f"the {which} run has {len(figure.rounds)} rounds; {FEWEST_ROUNDS} are needed"
        if compared and min(figure.rounds) <= 0:
            return f"the {which} run has a round of 0"
    return None


def _require_alike(old: BenchReport, new: BenchReport) -> None:
    same_runtime = old.settings.runtime == new.settings.runtime
    settings = [name for name in _SETTINGS if same_runtime or name not in _OF_A_RUNTIME]
    problems = [
        *_unlike("machine", _MACHINE, old.environment, new.environment),
        *_unlike("setting", settings, old.settings, new.settings),
        *_unlike("run's", ("scenario",), old, new),
    ]
    for figure in new.figures:
        before = old.find(figure.name)
        if before and (before.definition, before.unit) != (figure.definition, figure.unit):
            problems.append(f"definition of {figure.name}: '{before.definition}' and '{figure.definition}'")
    if problems:
        raise EdgetuneError(
            f"{old.subject.name} and {new.subject.name} were measured in unlike ways and cannot be compared",
            hint="edgetune bench OLD NEW --output FOLDER measures both alike, in turns",
            problems=problems,
        )


def _unlike(what: str, names: Sequence[str], old: object, new: object) -> Iterator[str]:
    for name in names:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"{what} {name}: {before} and {after}"


def _notes(old: BenchReport, new: BenchReport) -> Iterator[str]:
    """What may be why they differ."""
    if old.subject.files != new.subject.files:
        yield "the files differ"
    if old.settings.runtime != new.settings.runtime:
        yield f"runtime {old.settings.runtime} → {new.settings.runtime}"
    turns = (old.settings.turns, new.settings.turns)
    if None not in turns and turns[0] != turns[1]:
        yield f"taking turns by {turns[0]} → by {turns[1]}"
    before, after = old.environment.versions, new.environment.versions
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"{name} {before.get(name, 'not there')} → {after.get(name, 'not there')}"
    for report, which in ((old, "old"), (new, "new")):
        compared = [figure for figure in report.figures if is_compared(figure.name)]
        yield from (f"{which} run: {doubt}" for doubt in doubts(report.environment, compared))
