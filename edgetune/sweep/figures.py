"""What a sweep says: which settings matter, what is worth its weights, and whether the guess from gradients held."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgetune.bench.statistics import student
from edgetune.report.pareto import Point, dominators
from edgetune.sensitivity.choosing import is_target
from edgetune.sensitivity.figures import in_blocks
from edgetune.sensitivity.record import RANKS, Suggestion
from edgetune.sweep.record import Agreement, Importance, TrialRecord
from edgetune.sweep.study import load_optuna

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Fewer trials say nothing of importance or agreement.
FEWEST = 8
PERMUTATIONS = 5000
IMPORTANCE_DEFINITION = (
    "share of what separates the better half of the completed trials from all of them that is due to one setting "
    "(PED-ANOVA: Watanabe and others, 2023, arXiv 2304.10255); of settings that every completed trial has"
)
AGREEMENT_DEFINITION = (
    "Spearman's rank correlation between the share of the first-order decrease of the loss that gradients promise for "
    "a trial's modules and rank, and its loss with the sign turned; p by permutation"
)
FRONT_DEFINITION = "no other completed trial has a loss as low with as few trained weights"


def importance(trials: Sequence[TrialRecord], params: Mapping[int, Mapping[str, object]]) -> tuple[Importance, ...]:
    """How much each setting matters, with a jackknife over trials; nothing where there are too few.

    Args:
        trials: completed ones.
        params: of each, by its number, as Optuna knows them.
    """
    if len(trials) < FEWEST:
        return ()
    whole = _ped_anova(trials, params)
    without = [_ped_anova([*trials[:k], *trials[k + 1 :]], params) for k in range(len(trials))]
    count, found = len(trials), []
    for name, share in whole.items():
        others = np.array([one.get(name, 0.0) for one in without])
        error = math.sqrt((count - 1) / count * float(((others - others.mean()) ** 2).sum()))
        reach = student(0.975, count - 1) * error
        found.append(Importance(setting=name, share=share, low=max(0.0, share - reach), high=min(1.0, share + reach)))
    return tuple(sorted(found, key=lambda one: -one.share))


def _ped_anova(trials: Sequence[TrialRecord], params: Mapping[int, Mapping[str, object]]) -> dict[str, float]:
    """Optuna's figures, for a study of these trials alone."""
    optuna = load_optuna()
    study = optuna.create_study()
    common = set.intersection(*(set(params[trial.number]) for trial in trials))
    for trial in trials:
        own = {name: params[trial.number][name] for name in common}
        study.add_trial(
            optuna.trial.create_trial(params=own, distributions=_distributions(own, params), value=trial.loss)
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.5)
    found: dict[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return found


def _distributions(own: Mapping[str, object], params: Mapping[int, Mapping[str, object]]) -> dict[str, object]:
    optuna = load_optuna()
    made: dict[str, object] = {}
    for name, value in own.items():
        values = [one[name] for one in params.values() if name in one]
        if isinstance(value, float) and name == "rate":
            numbers = [float(str(one)) for one in values]
            made[name] = optuna.distributions.FloatDistribution(min(numbers), max(numbers), log=True)
        else:
            made[name] = optuna.distributions.CategoricalDistribution(tuple(dict.fromkeys(values)))
    return made


def front(trials: Sequence[TrialRecord]) -> list[int]:
    """Numbers of the completed trials that are on the front of loss and trained weights, by their size."""
    known = [trial for trial in trials if trial.loss is not None and trial.trainable_parameters is not None]
    points = [
        Point(str(trial.number), {"loss": trial.reached, "weights": trial.trainable_parameters or 0}) for trial in known
    ]
    beaten = dominators(points)
    return [
        trial.number
        for trial in sorted(known, key=lambda one: one.trainable_parameters or 0)
        if beaten[str(trial.number)] is None
    ]


def promised(suggestion: Suggestion, targets: str | Sequence[str], rank: int) -> float | None:
    """Of the first-order decrease of the loss, the share that gradients promise for some modules at a rank.

    The nearest rank below of those that were looked at counts; None below all of them.
    """
    layers = in_blocks(suggestion.sensitivity.layers)
    place = max((k for k, one in enumerate(RANKS) if one <= rank), default=None)
    if place is None:
        return None
    weights = {layer.name: sum(way[place] for way in layer.kept) / layer.weight_norm**2 for layer in layers}
    whole = sum(sum(way[-1] for way in layer.kept) / layer.weight_norm**2 for layer in layers)
    held = sum(weight for name, weight in weights.items() if is_target(name, targets))
    return held / whole if whole > 0 else None


def agreement(trials: Sequence[TrialRecord], suggestion: Suggestion) -> tuple[Agreement, ...]:
    """Whether what gradients promised came true, over completed trials with an adapter."""
    rows = [
        (guess, trial.loss, math.log(trial.settings["train.learning_rate"]))
        for trial in trials
        if trial.loss is not None and "method.rank" in trial.settings
        for guess in [promised(suggestion, trial.settings["method.target_modules"], trial.settings["method.rank"])]
        if guess is not None
    ]
    if len(rows) < FEWEST:
        reason = f"{len(rows)} completed trials with an adapter, and {FEWEST} are needed"
        return (Agreement(what="all trials", n=len(rows), rho=None, p_value=None, reason=reason),)
    guesses, losses, rates = (np.array(column) for column in zip(*rows, strict=True))
    return (
        _compared("all trials", guesses, -losses),
        _compared("with what the learning rate explains taken out", guesses, _without(-_ranks(losses), rates)),
    )


def _compared(what: str, guesses: NDArray[np.float64], worth: NDArray[np.float64]) -> Agreement:
    if len(set(guesses.tolist())) == 1:
        reason = "all trials were promised the same"
        return Agreement(what=what, n=len(guesses), rho=None, p_value=None, reason=reason)
    rho = spearman(guesses, worth)
    generator = np.random.default_rng(0)
    drawn = np.array([spearman(generator.permutation(guesses), worth) for _ in range(PERMUTATIONS)])
    p_value = (1 + int((np.abs(drawn) >= abs(rho) - 1e-12).sum())) / (1 + PERMUTATIONS)
    return Agreement(what=what, n=len(guesses), rho=rho, p_value=p_value, reason=None)


def _without(worth: NDArray[np.float64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a parabola over the logarithm of the learning rate leaves unexplained."""
    terms = np.vander(rates - rates.mean(), 3)
    solved, *_ = np.linalg.lstsq(terms, worth, rcond=None)
    rest: NDArray[np.float64] = worth - terms @ solved
    return rest


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's rank correlation; ties share their mean rank.

    >>> round(spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0])), 3)
    0.5
    """
    a, b = _ranks(one), _ranks(other)
    a, b = a - a.mean(), b - b.mean()
    below = math.sqrt(float((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / below if below else 0.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts - 1) / 2)[place]
    return ranks
