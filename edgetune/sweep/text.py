"""A sweep as text for people."""

from __future__ import annotations

from collections.abc import Iterator

from edgetune.report.cells import NOTHING
from edgetune.sweep.figures import AGREEMENT_DEFINITION, FRONT_DEFINITION, IMPORTANCE_DEFINITION, front
from edgetune.sweep.record import Agreement, Sweep, TrialRecord

#: Of the trials that ended, so many are listed.
LISTED = 12
CAUTION = (
    "The best loss is the lowest of several on the very rows that chose it, so it flatters; held-out rows were not "
    "looked at. Only they judge it: train the best recipe and evaluate that"
)


def to_text(sweep: Sweep) -> str:
    """What was tried, the best, what matters, and whether the guess held."""
    lines = [_head(sweep), "", *_trials(sweep)]
    lines += [f"failed: trial {one.number}: {one.reason}" for one in sweep.trials if one.state == "failed"]
    lines += ["", *_importance(sweep), "", *_front(sweep), ""]
    lines += ["agreement of `edgetune suggest` with this sweep", *map(_agreement, sweep.agreement)]
    lines += [f"  {AGREEMENT_DEFINITION}"]
    if sweep.best is not None:
        best = sweep.trial(sweep.best)
        lines += ["", f"best: trial {best.number}, loss {best.loss:.4f}{_against(sweep, best)}"]
        lines += [f"  {key} = {_value(best, key)}" for key in best.settings]
        lines += [CAUTION]
    return "\n".join(lines)


def _head(sweep: Sweep) -> str:
    counts: dict[str, int] = {}
    for trial in sweep.trials:
        counts[trial.state] = counts.get(trial.state, 0) + 1
    limits = ", ".join(f"{name} {value:g}" for name, value in sweep.limits.items()) or "as long as the recipe says"
    return (
        f"{sweep.recipe}: {len(sweep.trials)} trials ({', '.join(f'{n} {state}' for state, n in counts.items())}), "
        f"each {limits}\nchosen by the loss on validation rows: {sweep.basis.validation}"
    )


def _trials(sweep: Sweep) -> Iterator[str]:
    yield "trial  loss    method  rank  alpha  learning rate  weights    s     targets"
    done = sorted(sweep.complete, key=lambda trial: trial.reached)
    for trial in done[:LISTED]:
        known = trial.settings
        rank, alpha = known.get("method.rank", NOTHING), known.get("method.alpha", NOTHING)
        yield (
            f"{trial.number:<5}  {trial.loss:.4f}  {known['method.kind']:<6}  {rank:<4}  {alpha:<5}  "
            f"{known['train.learning_rate']:<13}  {trial.trainable_parameters or 0:<9}  {trial.seconds or 0:<4.0f}  "
            f"{trial.targets or NOTHING}{_origin(trial)}"
        )
    if len(done) > LISTED:
        yield f"and {len(done) - LISTED} more"


def _origin(trial: TrialRecord) -> str:
    return "" if trial.origin == "sampled" else f" ({trial.origin})"


def _importance(sweep: Sweep) -> Iterator[str]:
    if not sweep.importance:
        yield f"importance of settings cannot be said: {sweep.importance_missing}"
        return
    yield "importance of settings, with 95 % jackknife intervals over trials"
    for one in sweep.importance:
        yield f"  {one.setting:<16} {one.share:.2f} [{one.low:.2f}, {one.high:.2f}]"
    yield f"  {IMPORTANCE_DEFINITION}"


def _front(sweep: Sweep) -> Iterator[str]:
    numbers = front(sweep.complete)
    if numbers:
        yield "on the front of loss and trained weights: " + ", ".join(
            f"trial {trial.number} ({trial.trainable_parameters:,}: {trial.loss:.4f})"
            for trial in map(sweep.trial, numbers)
        )
        yield f"  {FRONT_DEFINITION}"


def _agreement(one: Agreement) -> str:
    if one.rho is None:
        return f"  {one.what}: cannot be said: {one.reason}"
    return f"  {one.what}: rank correlation {one.rho:+.2f} over {one.n} trials (p = {one.p_value:.2g})"


def _against(sweep: Sweep, best: TrialRecord) -> str:
    own = next((trial for trial in sweep.complete if trial.origin == "recipe"), None)
    if own is None:
        return ""
    if own.number == best.number:
        return ", the recipe as it is"
    return f"; the recipe as it is: {own.loss:.4f}"


def _value(trial: TrialRecord, key: str) -> str:
    value = trial.settings[key]
    return f"{trial.targets} ({len(value)} names)" if isinstance(value, (tuple, list)) else str(value)
