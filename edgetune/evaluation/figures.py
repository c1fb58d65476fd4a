"""Figures from answers: of all rows, or again of some of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from edgetune.evaluation.class_scores import CLASSES, class_scores
from edgetune.evaluation.intervals import count_groups
from edgetune.evaluation.metrics import LOSS_DEFINITION, Metric, Score, chosen, perplexity, score
from edgetune.evaluation.record import Answer, Evaluation


def scores_of(answers: Sequence[Answer], metrics: Sequence[Metric]) -> tuple[Score, ...]:
    """Every figure that the answers allow: plain text has a loss only."""
    scored = [answer for answer in answers if answer.ratios["loss"][1]]
    scores = []
    if scored:
        nats = [answer.ratios["loss"] for answer in scored]
        loss = score("loss", LOSS_DEFINITION, nats, proportion=False, groups=_groups(scored))
        scores += [loss, perplexity(loss)]
    asked = [answer for answer in answers if answer.correct is not None]
    if asked:
        for metric in metrics:
            ratios = [answer.ratios[metric.name] for answer in asked]
            proportion, groups = metric.proportion, _groups(asked)
            scores.append(score(metric.name, metric.definition, ratios, proportion=proportion, groups=groups))
        scores.append(_stopped(asked))
    return tuple(scores)


def part(evaluation: Evaluation, rows: Collection[int]) -> Evaluation:
    """The same evaluation on some of its rows: figures and intervals made again from what each row gave.

    Args:
        evaluation: of which nothing is computed anew.
        rows: indexes in the rows file; those it was not evaluated on are left aside.
    """
    wanted = frozenset(rows)
    answers = tuple(answer for answer in evaluation.answers if answer.row in wanted)
    basis = evaluation.basis.model_copy(update={"rows": tuple(answer.row for answer in answers)})
    return evaluation.model_copy(
        update={
            "basis": basis,
            "answers": answers,
            "groups": count_groups(_groups(answers)),
            "scores": (
                class_scores(answers) if basis.metrics == CLASSES else scores_of(answers, chosen(basis.metrics))
            ),
        }
    )


def _groups(answers: Sequence[Answer]) -> list[str | None]:
    return [answer.group for answer in answers]


def _stopped(answers: Sequence[Answer]) -> Score:
    ratios = [(float(answer.finish == "stop"), 1.0) for answer in answers]
    definition = "share of answers that ended with a stop token before the longest answer allowed"
    return score("stopped", definition, ratios, proportion=True, groups=_groups(answers))
