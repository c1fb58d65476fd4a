"""Whether a plan measures what objectives are about, said before anything is measured."""

from __future__ import annotations

from collections.abc import Iterator

from edgetune.bench.definitions import SUSTAINED
from edgetune.bench.plan import Plan
from edgetune.energy import EnergyMeter
from edgetune.errors import TargetError
from edgetune.realtime.wanted import Wanted

#: What is varied → the option that varies it.
_OPTIONS = {
    "depth": "--depths",
    "prefill_threads": "--prefill-threads",
    "decode_threads": "--decode-threads",
    "kv_type": "--kv-type",
    "batch": "--batch",
    "threads": "--threads",
    "context": "--context",
}


def require_planned(wanted: Wanted, plan: Plan) -> None:
    """Refuse objectives on what this plan, or this machine, does not measure.

    Raises:
        TargetError: naming each, and the option that would measure it.
    """
    problems = [f"{one.text}: {problem}" for one in wanted.objectives for problem in _problems(one.metric, plan)]
    if problems:
        raise TargetError(
            f"{wanted.name} is not measured by what was asked for",
            hint="edgetune bench --help has the options; docs/reference/metrics.md every metric",
            problems=problems,
        )


def _problems(metric: str, plan: Plan) -> Iterator[str]:
    if metric in SUSTAINED and not plan.sustained:
        yield f"{metric} is measured only with --sustained MINUTES"
    if metric == "energy_per_token" and (missing := EnergyMeter().missing):
        yield f"energy cannot be read on this machine: {missing}"
    varied, value = _place(metric)
    if varied is None:
        return
    if varied not in _OPTIONS:
        yield f"'{varied}' is nothing that is varied: one of {', '.join(_OPTIONS)}"
        return
    values = _values(plan)[varied]
    if value not in values:
        named = f"it is tried with {', '.join(values)}" if values else "it is not varied"
        yield f"no {varied} of '{value}' is measured: {named}; {_OPTIONS[varied]} says which are"


def _place(metric: str) -> tuple[str | None, str]:
    """What a metric says is varied, and its value: of ``decode@depth=512``."""
    _, found, place = metric.partition("@")
    varied, _, value = place.partition("=")
    return (varied if found else None), value


def _values(plan: Plan) -> dict[str, list[str]]:
    """What is varied → the values that are tried."""
    values: dict[str, list[str]] = {name: [] for name in _OPTIONS}
    values["depth"] = [str(depth) for depth in plan.depths]
    for axis, value in (*plan.points(), *plan.classifier_points()):
        if str(value) not in values[axis]:
            values[axis].append(str(value))
    return values
