"""Two evaluations of general ability, compared item by item."""

from __future__ import annotations

from edgetune.errors import DataError
from edgetune.evaluation.compare import Comparison, Difference
from edgetune.evaluation.intervals import mcnemar, paired_bootstrap
from edgetune.general.figures import Figure, figures_of
from edgetune.general.record import GeneralEvaluation


def compare(before: GeneralEvaluation, after: GeneralEvaluation) -> Comparison:
    """Compare on the items that both have.

    Raises:
        DataError: other questions or another text, or none in common.
    """
    if before.basis.data_sha256 != after.basis.data_sha256:
        raise DataError(
            f"'{before.subject}' and '{after.subject}' were given different questions or texts",
            hint="evaluate both with the same --general and --general-text",
        )
    known = {figure.name: figure for figure in figures_of(before)}
    found = [_difference(known[figure.name], figure) for figure in figures_of(after) if figure.name in known]
    differences = tuple(one for one in found if one)
    if not differences:
        raise DataError(
            f"'{before.subject}' and '{after.subject}' have no question in common",
            hint="evaluate both with the same --general-limit",
        )
    lost, gained, n = _moved(before, after)
    return Comparison(
        before=before.subject,
        after=after.subject,
        n=n,
        differences=differences,
        lost=lost,
        gained=gained,
        p_value=mcnemar(lost, gained),
        test="exact McNemar test",
        notes=_notes(before, after),
    )


def _difference(before: Figure, after: Figure) -> Difference | None:
    common = [item for item in after.ratios if item in before.ratios]
    if not common:
        return None
    first, second = ([figure.ratios[item] for item in common] for figure in (before, after))
    interval = paired_bootstrap(first, second, of=after.of)
    return Difference(after.name, before.value(first), after.value(second), *interval)


def _moved(before: GeneralEvaluation, after: GeneralEvaluation) -> tuple[int, int, int]:
    """Questions lost, gained, and in common, each task judged by its usual figure."""
    metrics = after.basis.metrics
    first, second = (
        {(one.task, one.row): one.right(metrics[one.task]) for one in each.choices} for each in (before, after)
    )
    pairs = [(first[item], right) for item, right in second.items() if item in first]
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs), len(pairs)


def _notes(before: GeneralEvaluation, after: GeneralEvaluation) -> tuple[str, ...]:
    notes = []
    if before.basis.rows != after.basis.rows:
        notes.append("compared on the questions and passages that both have")
    if before.basis.runtime != after.basis.runtime:
        notes.append(
            f"'{before.subject}' ran in {before.basis.runtime}, '{after.subject}' in {after.basis.runtime}: "
            "the runtime and its precision are part of the difference"
        )
    return tuple(notes)
