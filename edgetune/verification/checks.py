"""The checks of an artifact that need its runtime: prompts, distributions, endings, task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from edgetune import console
from edgetune.errors import DataError
from edgetune.evaluation.intervals import Groups, Ratio, pooled
from edgetune.evaluation.questions import Question, ask
from edgetune.evaluation.record import Answer, Evaluation
from edgetune.evaluation.retention import Retention, retention
from edgetune.runtimes.protocol import Runtime
from edgetune.verification.divergence import Divergences, divergences, summarise
from edgetune.verification.limits import HALF_LOST, SURE, Held, Limits, hold
from edgetune.verification.record import Check
from edgetune.verification.reference import Reference, log_probs_of

#: Smallest length of all answers together, as a share of the reference's (MLPerf's rule for language models).
LENGTH = 0.9
#: Share of answers that may miss their end where the reference's have one.
UNENDED = 0.02
#: Share of the answers, or of their length, that may not be missing however few there are. Twice what is allowed would
#: be too little: of 24 answers one that runs on is twice UNENDED.
GONE = 0.5


def check_prompts(reference: Reference, runtime: Runtime) -> Check:
    """Whether the runtime renders and tokenises every row as training did."""
    if not reference.rows:
        return Check(name="prompts", passed=None, text="not judged: no row to compare")
    conversations = [row.conversation for row in reference.rows]
    rows = [row.question.row for row in reference.rows]
    try:
        found = ask(conversations, rows, runtime.tokenizer, reference.system, runtime.context_length)
    except DataError as error:
        return _other_prompts(error.message, error.problems)
    pairs = zip((row.question for row in reference.rows), found, strict=True)
    differences = [text for own, theirs in pairs if (text := _difference(own, theirs))]
    cause = "another chat template, BOS or tokenizer than trained with"
    same = "rows have the same text and token ids"
    return none_differs("prompts", same, differences, of=len(reference.rows), cause=cause)


def none_differs(name: str, same: str, differences: Sequence[str], *, of: int, cause: str) -> Check:
    """A check that passes where nothing differs.

    Args:
        name: of the check.
        same: what those that do not differ have, in words: ``rows have the same text``.
        differences: each in words.
        of: how many were compared.
        cause: the likely one, where any differ.
    """
    return Check(
        name=name,
        passed=not differences,
        text=f"{of - len(differences)} of {of} {same}",
        problems=tuple(differences),
        cause=cause if differences else None,
    )


def _other_prompts(text: str, problems: Sequence[str]) -> Check:
    cause = "another chat template or a shorter context than trained with"
    return Check(name="prompts", passed=False, text=text, problems=tuple(problems), cause=cause)


def _difference(own: Question, theirs: Question) -> str | None:
    if own.prompt != theirs.prompt:
        return f"row {own.row + 1}: the prompt reads {_around(own.prompt, theirs.prompt)}"
    pairs = [(own.prompt_ids, theirs.prompt_ids)]
    pairs += [(a.input_ids, b.input_ids) for a, b in zip(own.scored, theirs.scored, strict=False)]
    for one, other in pairs:
        if one != other:
            at = next(i for i, (a, b) in enumerate(zip_longest(one, other)) if a != b)
            return f"row {own.row + 1}: token {at} is {other[at : at + 3]}, in training {one[at : at + 3]}"
    return None


def _around(own: str, theirs: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(own, theirs, strict=False)) if a != b), min(len(own), len(theirs)))
    start = max(0, at - 10)
    return f"{theirs[start : at + 20]!r}, in training {own[start : at + 20]!r} (character {at})"


def check_distributions(reference: Reference, runtime: Runtime, limits: Limits) -> Check:
    """KL and agreement before every answer token; the tokens are the reference's own."""
    rows: list[list[Divergences]] = []
    with console.progress("Comparing distributions", total=len(reference.rows), unit="rows") as bar:
        for row in reference.rows:
            rows.append([])
            for part, scored in zip(row.distributions, row.question.scored, strict=True):
                log_probs = log_probs_of(runtime, scored)
                if log_probs.shape[1] != reference.vocabulary:
                    return _no_distributions(
                        f"{log_probs.shape[1]} tokens in its vocabulary, {reference.vocabulary} in training",
                        "a truncated vocabulary, or another model",
                    )
                if not np.isfinite(log_probs).all():
                    text = f"row {row.question.row + 1}: its logits are not finite numbers"
                    return _no_distributions(text, "damaged weights, or a type too narrow for this model")
                rows[-1].append(divergences(part, log_probs))
            bar.advance()
    every = [part for parts in rows for part in parts]
    if not every:
        return Check(name="distributions", passed=None, text="not judged: no row has a token to score")
    found = summarise(every)
    bound = "" if reference.whole else ", a lower bound"
    text = (
        f"mean KL {found.kl_mean:.2g} nats (p99 {found.kl_p99:.2g}, max {found.kl_max:.2g}{bound}), "
        f"same likeliest token at {found.top1:.1%} of {found.clear} clear positions, "
        f"{found.top1_all:.1%} of all {found.positions}"
    )
    cause = "see the weights; where those are right, another graph, type or position encoding"
    apart = Apart(
        [(float(sum(part.kl.sum() for part in parts)), float(sum(len(part.kl) for part in parts))) for parts in rows],
        [(float(sum(p.clear - p.agreeing for p in parts)), float(sum(p.clear for p in parts))) for parts in rows],
        [row.question.group for row in reference.rows],
    )
    return hold_distributions(apart, limits, text=text, figures=found.model_dump(), cause=cause)


@dataclass(frozen=True)
class Apart:
    """How far the distributions of some rows are from the trained model's.

    Attributes:
        kl: Σ KL and positions of each row.
        differing: of each row, at how many clear positions another token or class is likeliest, and how many are clear.
        groups: of the rows; empty: each stands for itself.
    """

    kl: Sequence[Ratio]
    differing: Sequence[Ratio]
    groups: Groups = ()


def hold_distributions(apart: Apart, limits: Limits, *, text: str, figures: Mapping[str, float], cause: str) -> Check:
    """Hold mean KL, and how often another token or class is likeliest, to their limits.

    Args:
        apart: what is held.
        limits: to keep to.
        text: what was found, in a line.
        figures: likewise; intervals of what is judged are added.
        cause: the likely one of a failure.
    """
    kl, other = hold(apart.kl, apart.groups, limits.kl_mean), hold(apart.differing, apart.groups, 1 - limits.top1)
    passed = _verdict(kl, other)
    if passed is None:
        asked = []
        if kl.passed is None:
            asked.append(f"mean KL [{kl.low:.2g}, {kl.high:.2g}] is above {limits.kl_mean:g}")
        if other.passed is None:
            asked.append(f"agreement [{1 - other.high:.1%}, {1 - other.low:.1%}] is below {limits.top1:.1%}")
        text = f"not judged: {_rows(apart)} cannot tell whether {' and '.join(asked)}; {text}"
    intervals = {"kl_low": kl.low, "kl_high": kl.high, "top1_low": 1 - other.high, "top1_high": 1 - other.low}
    return Check(
        name="distributions",
        passed=passed,
        text=text,
        figures={**figures, **intervals},
        limits={"kl_mean": limits.kl_mean, "top1": limits.top1},
        cause=cause if passed is False else None,
    )


def _rows(apart: Apart) -> str:
    """How many there are, and of how many groups: rows of fewer than five say nothing sure, whatever their number."""
    groups = len(set(apart.groups) - {None})
    return f"{len(apart.kl)} rows" + (f" of {groups} group{'s' if groups > 1 else ''} of alike ones" if groups else "")


def _no_distributions(text: str, cause: str) -> Check:
    return Check(name="distributions", passed=False, text=text, cause=cause)


def check_endings(tuned: Evaluation, exported: Evaluation) -> Check:
    """Whether answers end where the trained model's do; undecided where so few answers cannot tell."""
    return endings_of(tuned.answers, exported.answers)


def endings_of(tuned: Sequence[Answer], exported: Sequence[Answer]) -> Check:
    """As :func:`check_endings`, of answers by themselves."""
    pairs = _common(tuned, exported)
    if not pairs:
        return Check(name="endings", passed=None, text="not judged: plain text has no answers")
    groups = [answer.group for _, answer in pairs]
    stopped = [[(float(answer.finish == "stop"), 1.0) for answer in side] for side in zip(*pairs, strict=True)]
    shares = [pooled(side) for side in stopped]
    lengths: list[Ratio] = [(float(theirs.tokens or 0), float(own.tokens or 0)) for own, theirs in pairs]
    ratio = pooled(lengths)
    running = [(own - theirs, 1.0) for (own, _), (theirs, _) in zip(*stopped, strict=True)]
    unended = hold(running, groups, UNENDED, far=GONE)
    short = hold([(own - theirs, own) for theirs, own in lengths], groups, 1 - LENGTH, far=GONE)
    passed = _verdict(unended, short)
    text = (
        f"{shares[1]:.1%} of answers end with a stop token (trained: {shares[0]:.1%}); "
        f"{ratio:.2f} of the trained model's length"
    )
    if passed is None:
        asked = ["more of them run on"] if unended.passed is None else []
        asked += ["they are shorter"] if short.passed is None else []
        text = f"not judged: {len(pairs)} answers cannot tell whether {' and '.join(asked)}; {text}"
    return Check(
        name="endings",
        passed=passed,
        text=text,
        figures={"stopped": shares[1], "length": ratio},
        limits={"stopped": shares[0] - UNENDED, "length": LENGTH},
        cause=_ending_cause(unended, short),
    )


def _verdict(*held: Held) -> bool | None:
    """False where one fails, else None where one is undecided."""
    verdicts = [one.passed for one in held]
    return False if False in verdicts else None if None in verdicts else True


def _ending_cause(unended: Held, short: Held) -> str | None:
    if unended.passed is False:
        return "where distributions pass: the runtime does not know the token that ends an answer (a wrong EOS)"
    return "answers end too early: a token of the answer counts as a stop token" if short.passed is False else None


def _common(tuned: Sequence[Answer], exported: Sequence[Answer]) -> list[tuple[Answer, Answer]]:
    by_row = {answer.row: answer for answer in tuned if answer.correct is not None}
    return [(by_row[answer.row], answer) for answer in exported if answer.row in by_row]


def check_task(base: Evaluation, tuned: Evaluation, exported: Evaluation, limits: Limits) -> list[Check]:
    """Share of the gain over the base that is left: of the first task metric (judged), and of the loss (shown)."""
    names = [score.name for score in exported.scores if score.name not in ("loss", "perplexity", "stopped")]
    checks = [_task(retention(base, tuned, exported, names[0]), limits)] if names else []
    return [*checks, _loss(retention(base, tuned, exported, "loss", lower_is_better=True))]


def _loss(found: Retention) -> Check:
    text, figures = "not judged: it hardly moves while answers already break", {}
    if found.rows:
        values = f"{found.base:.4f} (base), {found.tuned:.4f} (trained), {found.exported:.4f} (artifact)"
        text = f"{values} nats per token on {found.rows} rows; {text}"
        figures = {"base": found.base, "trained": found.tuned, "artifact": found.exported}
    if found.value is not None:
        text = f"{found.value:.4f} of the gain left [{found.low:.4f}, {found.high:.4f}]: {text}"
        figures |= {"retention": found.value, "low": found.low, "high": found.high}
    return Check(name="loss", passed=None, text=text, figures=figures)


def _task(found: Retention, limits: Limits) -> Check:
    values = (
        f"{found.name} {found.base:.3f} (base), {found.tuned:.3f} (trained), {found.exported:.3f} (artifact) "
        f"on {found.rows} rows"
    )
    if found.value is None:
        text = f"not judged: training gained nothing sure to retain; {values}"
        return Check(name="task", passed=None, text=text)
    reached = found.value >= limits.retention
    # Of a dozen rows the interval alone is too narrow, and of five groups no test is ever sure.
    sure = found.value < HALF_LOST or (found.high < 1 and found.p_value <= SURE)
    text = f"{found.value:.3f} of the gain left [{found.low:.3f}, {found.high:.3f}] (p = {found.p_value:.2g}): {values}"
    passed = True if reached else False if sure else None
    if passed is None:
        text = f"not judged: {found.rows} rows cannot tell whether it is below {limits.retention}; {text}"
    elif passed and found.low < HALF_LOST:  # as little as chance says nothing for it either
        passed, text = None, f"not judged: by {found.rows} rows half of the gain could be lost; {text}"
    return Check(
        name="task",
        passed=passed,
        text=text,
        figures={"retention": found.value, "low": found.low, "high": found.high, "p_value": found.p_value},
        limits={"retention": limits.retention},
        cause="too few bits for this model, where the other checks pass; else see them" if passed is False else None,
    )
