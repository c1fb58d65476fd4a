"""Which artifact to ship. The rule is written down in :data:`RULE`, and every artifact gets its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgetune.devices.report import DeviceReport
from edgetune.ladder.record import Limits
from edgetune.report.benchmark import Benchmark, by_how_much, find_figure
from edgetune.report.cells import megabytes, percent, score_number, short
from edgetune.report.evidence import Evidence, Shipped
from edgetune.report.quality import BASE, Gain, Quality
from edgetune.report.record import Candidate, Decision, KeyFigure, Recommendation
from edgetune.targets.finding import target_names
from edgetune.verification.text import summary_line


def rule(min_retention: float) -> tuple[str, ...]:
    """The rule in words, in the order in which it is applied."""
    return (
        "Verified: `edgetune verify` passed on the files as they are now. What is unverified is never recommended.",
        f"Better than the untuned base for sure, with at least {percent(min_retention)} of the gain left.",
        "Every target that any artifact of the run was held to is met; on devices, nothing that was judged is missed.",
        "Not certainly worse at the task than the best that is left (95 % interval over the same rows).",
        "Of what then remains, the smallest; of equal sizes the quicker one.",
    )


@dataclass
class _Judged:
    """One artifact on its way through the rule."""

    shipped: Shipped
    fails: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    command: str | None = None

    @property
    def passes(self) -> bool:
        return not self.fails and not self.unknown


def choose(evidence: Evidence, quality: Quality) -> Recommendation:
    """Apply the rule."""
    limit = evidence.recipe.verify.min_retention
    limit = Limits().min_retention if limit is None else limit  # as edgetune export --auto asks for
    targets = list(dict.fromkeys(target for one in evidence.shipped for target in one.held))
    on_devices = list(dict.fromkeys(held for one in evidence.shipped for held in one.held_on_devices))
    judged = [_judge(one, quality, limit, targets, on_devices) for one in evidence.shipped]
    passing = [one.shipped for one in judged if one.passes]
    if not passing:
        return _none(judged, limit)
    best = quality.best(passing)
    worse = {one.label: found for one in passing if (found := quality.certainly_worse(one, best))}
    left = [one for one in passing if one.label not in worse]
    chosen = min(left, key=lambda one: (one.size_bytes, -_decode(one)))
    candidates = []
    for one in judged:
        label = one.shipped.label
        if one.shipped is chosen:
            candidates.append(Candidate(name=label, verdict="recommended", why=_why_chosen(left)))
        elif label in worse:
            difference = worse[label]
            why = (
                f"certainly worse than {best.label}: {difference.name} {difference.value:+.3f} "
                f"[{difference.low:+.3f}, {difference.high:+.3f}]"
            )
            candidates.append(Candidate(name=label, verdict="fails", why=why))
        elif one.passes:
            why = f"passes, and is larger: {megabytes(one.shipped.size_bytes)}"
            if one.shipped.size_bytes == chosen.size_bytes:
                why = "passes, of the same size, and is no quicker"
            candidates.append(Candidate(name=label, verdict="passes", why=why))
        else:
            candidates.append(_candidate(one))
    gain = quality.gain(chosen)
    parts = [f"meets {' and '.join(targets)}" if targets else ""]
    parts += [
        f"{percent(gain.value)} of the gain ({gain.rows} rows)" if gain.value is not None else "",
        megabytes(chosen.size_bytes),
    ]
    return Recommendation(
        decision="ship",
        artifact=chosen.label,
        headline=f"Ship {chosen.label}: {', '.join(part for part in parts if part)}",
        reason=" ".join(_sentences(chosen, quality, gain, left, targets)),
        rule=rule(limit),
        candidates=tuple(candidates),
        key_figures=_key_figures(chosen, quality, gain),
    )


def _judge(
    shipped: Shipped, quality: Quality, limit: float, targets: Sequence[str], on_devices: Sequence[tuple[str, str]]
) -> _Judged:
    judged = _Judged(shipped)
    path = f"RUN/exports/{shipped.label}"
    if shipped.verification is None:
        judged.unknown.append("not verified")
        judged.command = f"edgetune verify {path}"
    elif not shipped.verification.passed:
        judged.fails.append(summary_line(shipped.verification))
    elif names := [one.name for one in shipped.verification.checks if one.name != "task" and one.undecided]:
        judged.unknown.append(f"verified, but its {' and '.join(names)} could not be judged")
    gain = quality.gain(shipped)
    if gain.nothing_gained:
        judged.fails.append("training gained nothing that is sure over the untuned base")
    elif gain.value is None:
        judged.unknown.append(f"the share of the gain is unknown: {gain.reason}")
        judged.command = judged.command or "edgetune eval RUN --artifacts"
    elif gain.value < limit:
        interval = f"[{percent(gain.low)}, {percent(gain.high)}]"
        judged.fails.append(f"{percent(gain.value)} {interval} of the gain is left, {percent(limit)} are asked for")
    for target in targets:
        _hold(judged, target, shipped.held.get(target))
    for target, place in on_devices:
        _hold_on_device(judged, f"{target} on {place}", shipped.held_on_devices.get((target, place)))
    return judged


def _hold_on_device(judged: _Judged, what: str, report: DeviceReport | None) -> None:
    """Add what a device says of an artifact. What its runner cannot measure stands in nobody's way."""
    if report is None:
        judged.unknown.append(f"not held to {what}")
        return
    missed = [f"{one.objective.text}, {by_how_much(one)}" for one in report.verdicts if one.outcome == "missed"]
    if missed:
        judged.fails.append(f"misses {what} ({'; '.join(missed)})")


def _hold(judged: _Judged, target: str, bench: Benchmark | None) -> None:
    """Add what a target says of an artifact."""
    command = None
    if target in target_names():  # it may be a file's name, or two names, which no --target knows
        output = f"RUN/bench/{judged.shipped.manifest.name}-{target}.json"
        command = f"edgetune bench RUN/exports/{judged.shipped.label} --target {target} --output {output}"
    if bench is None:
        judged.unknown.append(f"not measured against {target}")
        judged.command = judged.command or command
        return
    missed = [f"{one.objective.text}, {by_how_much(one)}" for one in bench.verdicts if one.outcome == "missed"]
    unjudged = [f"{one.objective.text}: {by_how_much(one)}" for one in bench.verdicts if one.outcome == "not judged"]
    if missed:
        judged.fails.append(f"misses {target} ({'; '.join(missed)})")
    elif unjudged:
        judged.unknown.append(f"{target} cannot be judged ({'; '.join(unjudged)})")
        judged.command = judged.command or command


def _candidate(judged: _Judged) -> Candidate:
    verdict = "fails" if judged.fails else "unknown"
    return Candidate(name=judged.shipped.label, verdict=verdict, why="; ".join([*judged.fails, *judged.unknown]))


def _none(judged: Sequence[_Judged], limit: float) -> Recommendation:
    """Nothing passes: because evidence says so, or because there is none."""
    candidates = tuple(_candidate(one) for one in judged)
    undecided = [one for one in judged if not one.fails]
    decision: Decision = "not yet" if undecided or not judged else "do not ship"
    if not judged:
        headline, reason = "Not yet: nothing is exported", "There is no artifact to ship."
        command = "edgetune export RUN --format gguf --quant q8_0"
    elif undecided:
        headline = f"Not yet: {undecided[0].shipped.label} is {undecided[0].unknown[0]}"
        if not undecided[0].unknown[0].startswith("not "):
            headline = f"Not yet: {undecided[0].unknown[0]}"
        reason = "Evidence is missing, so nothing can be recommended."
        command = undecided[0].command or ""
    else:
        headline = "Do not ship: no artifact passes" if len(judged) > 1 else "Do not ship: the artifact does not pass"
        reason = " ".join(f"{one.name}: {one.why}." for one in candidates)
        command = f"edgetune verify RUN/exports/{judged[0].shipped.label}"
        if all("misses " in one.why for one in candidates):
            headline, command = "Do not ship: no artifact meets its target", ""
        if any("training gained nothing" in one.why for one in candidates):
            headline, command = "Do not ship: training gained nothing that is sure", "edgetune eval RUN --artifacts"
    return Recommendation(
        decision=decision,
        artifact=None,
        headline=headline,
        reason=reason,
        rule=rule(limit),
        candidates=candidates,
        next=command or None,
    )


def _why_chosen(left: Sequence[Shipped]) -> str:
    return "the only one that passes" if len(left) == 1 else f"the smallest of {len(left)} that pass"


def _decode(shipped: Shipped) -> float:
    figure = find_figure(shipped.bench, "decode")
    return figure.median if figure and figure.median is not None else 0.0


def _sentences(
    chosen: Shipped, quality: Quality, gain: Gain, left: Sequence[Shipped], targets: Sequence[str]
) -> list[str]:
    """The reason, a sentence a step of the rule."""
    found = chosen.verification
    assert found is not None, "only verified artifacts are chosen"
    sentences = [f"It is verified against the trained model (limits for {found.precision_class})."]
    score, base = quality.own_score(chosen.label), quality.own_score(BASE)
    if score is not None:
        rows = f" on {base.n}" if base and base.n != score.n else ""
        before = f", the untuned base {score_number(base.value)}{rows}" if base else ""
        sentences.append(
            f"{score.name} is {score_number(score.value)} [{score_number(score.low)}, {score_number(score.high)}] on "
            f"{score.n} held-out rows{before}."
        )
    if gain.value is not None:
        sentences.append(
            f"{percent(gain.value)} [{percent(gain.low)}, {percent(gain.high)}] of what training gained is left "
            f"({gain.source}, {gain.rows} rows)."
        )
    sentences.append(f"It is {_why_chosen(left)}.")
    for target in targets:
        met = [f"{one.objective.text}, {by_how_much(one)}" for one in chosen.held[target].verdicts]
        sentences.append(f"It meets {target}: {'; '.join(met)}.")
    if not chosen.bench:
        sentences.append("Its speed and memory were not measured.")
    elif not targets:
        sentences.append("It was not held to any target.")
    return sentences


def _key_figures(chosen: Shipped, quality: Quality, gain: Gain) -> tuple[KeyFigure, ...]:
    figures = []
    score = quality.own_score(chosen.label)
    if score is not None:
        interval = f"[{score_number(score.low)}, {score_number(score.high)}] on {score.n} rows"
        figures.append(KeyFigure(name=score.name, text=score_number(score.value), detail=interval))
    if gain.value is not None:
        interval = f"[{percent(gain.low)}, {percent(gain.high)}] on {gain.rows} rows"
        figures.append(KeyFigure(name="of the gain kept", text=percent(gain.value), detail=interval))
    size = short(chosen.size_bytes / 1e6)
    figures.append(KeyFigure(name="size", text=size, unit="MB", detail="all its files"))
    named = {"ttft": "median time to first token", "decode": "median decode speed"}
    named |= {
        "latency": "median time to a class",
        "batch_rate": "median rate in batches",
        "peak_rss": "peak memory (RSS)",
    }
    for figure in chosen.bench.figures if chosen.bench else ():
        if figure.name in named and figure.median is not None:
            low, high = figure.interval or (None, None)
            interval = f"[{short(low)}, {short(high)}], " if low is not None and high is not None and low < high else ""
            detail = f"{interval}{named[figure.name]}"
            figures.append(KeyFigure(name=figure.name, text=short(figure.median), unit=figure.unit, detail=detail))
    return tuple(figures)
