"""A comparison of methods as tables and charts, in the types that every report is printed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgetune.bench.figuring import interval_note
from edgetune.bench.statistics import NOISY
from edgetune.bench.summary import noise
from edgetune.evaluation.compare import Difference
from edgetune.evaluation.metrics import Score
from edgetune.methods.charts import charts
from edgetune.methods.record import Device, MethodsComparison, Pair
from edgetune.methods.summing import Spread, Summary, summaries, task_at
from edgetune.report.cells import absent, number_cell, score_number, short, text_cell
from edgetune.report.record import Cell, Column, Definition, Section, Table

#: A reason that is longer stands in the notes, not in a cell.
_LONG = 40
FIT_EXPORTED = "whole exported models; of adapters, where they can be kept apart: one exported base with adapters"


@dataclass(frozen=True)
class Line:
    """One line of the table: what is measured, and how it is read off a method.

    Attributes:
        name: for people.
        unit: of it; empty: none.
        cell: of one method.
        text: what it means.
    """

    name: str
    unit: str
    cell: Callable[[Summary], Cell]
    text: str

    @property
    def heading(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def sections(comparison: MethodsComparison) -> tuple[Section, ...]:
    """All that is known, in reading order."""
    found = [_table_section(comparison), _differences_section(comparison)]
    if len({one.share for one in comparison.trainings}) > 1:
        found.append(_capacity_section(comparison))
    return tuple(found)


def lines(comparison: MethodsComparison) -> list[Line]:
    """The lines of the table: resources, the task, what is forgotten, what it costs to use."""
    no_general = comparison.general_reason or "not measured"
    no_device = comparison.device_reason or "not measured"
    found = [
        Line("learning rate", "", lambda one: _rate(comparison, one), "peak, as given or as the recipe's implies"),
        Line("trained", "parameters", _parameters, "numbers that training changes"),
        Line("peak memory", "MB", lambda one: _mb(one.peak), "of the process that trains (on a GPU: of the GPU)"),
        Line("training", "s", lambda one: _spread(one.over_seeds(lambda t: t.seconds)), "evaluations in it included"),
        Line("rows seen", "", lambda one: _spread(one.over_seeds(lambda t: t.examples)), "each pass counted"),
        Line("energy", "J", _energy, "of the processor packages, other programs included"),
        Line("left by training", "MB", lambda one: _mb(one.result_bytes), "the adapter, or the whole model"),
        Line(comparison.metric, "", lambda one: _figure(one.task), f"{comparison.metric_definition}; held-out rows"),
        Line("questions", "change", lambda one: _change(one.questions, no_general), "general questions answered right"),
        Line("plain text", "bits a byte more", lambda one: _change(one.bits, no_general), "more is forgotten"),
        Line("exported", "MB", lambda one: _exported(one, no_device), "all files of the artifact"),
        Line(
            f"exported: {comparison.metric}",
            "change",
            lambda one: _change(one.device.shift if one.device else None, no_device),
            "from the trained model of the first seed to its artifact; [ ] over the held-out rows",
        ),
        Line("in 1 GB, trained", "", lambda one: _count(one.fit_trained, ""), "base and adapters, or whole models"),
        Line("in 1 GB, exported", "", lambda one: _count(one.fit_exported, no_device), FIT_EXPORTED),
    ]
    names = dict.fromkeys(figure.name for one in comparison.devices for figure in one.figures)
    return [*found[:-2], *(_bench_line(comparison, name) for name in names), *found[-2:]]


def _bench_line(comparison: MethodsComparison, name: str) -> Line:
    """A figure of the benchmark of the exported models."""
    figure = next(one for device in comparison.devices for one in device.figures if one.name == name)

    def cell(one: Summary) -> Cell:
        found = _find(one.device, name)
        return found or absent("not measured")

    return Line(f"exported: {name}", figure.unit, cell, figure.definition)


def _find(device: Device | None, name: str) -> Cell | None:
    figure = next((one for one in device.figures if one.name == name), None) if device else None
    if figure is None:
        return None
    return number_cell(figure.median, *(figure.interval or (None, None)))


def _table_section(comparison: MethodsComparison) -> Section:
    found, wanted = summaries(comparison), lines(comparison)
    columns = (Column(name="what"), *(Column(name=one.method) for one in found))
    rows = tuple((text_cell(line.heading), *(line.cell(one) for one in found)) for line in wanted)
    caption = f"{comparison.name}: {comparison.budget.text}, {_plural(len(comparison.seeds), 'seed')}"
    return Section(
        id="methods",
        title="Methods",
        lead=f"Means over seeds; [ ] of them are Student's 95 % intervals. {_base(comparison)}",
        charts=charts(comparison),
        tables=(Table(id="methods", caption=caption, columns=columns, rows=rows),),
        notes=tuple(f"{note}." for note in _notes(comparison)),
        definitions=tuple(Definition(word=line.name, text=line.text) for line in wanted),
    )


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _base(comparison: MethodsComparison) -> str:
    rows = comparison.of(comparison.methods[0])[0].rows
    return f"{rows} training rows; the base's weights take {comparison.base_bytes / 1e6:.0f} MB."


def _notes(comparison: MethodsComparison) -> list[str]:
    """What was left out, where rates come from, and what limits the figures."""
    notes = []
    if floor := comparison.floor:
        said = "the most frequent class of the training rows, for every held-out row"
        notes.append(f"{comparison.metric} to be beaten: {_figure(floor).text}, {said}")
    notes += [f"{one.method} was not trained: {one.reason}" for one in comparison.left_out]
    notes += [f"learning rate of {one.method}: {one.value:g}, {one.why}" for one in comparison.rates]
    notes += [
        "intervals of one method are Student's over its seeds: another training, on the same held-out rows",
    ]
    notes += _exported_notes(comparison)
    if figures := [figure for device in comparison.devices for figure in device.figures]:
        notes.append(f"[ ] of the benchmark is {interval_note(figures)}")
    notes += [said] if (said := noisy(comparison)) else []
    notes += [f"forgetting: {comparison.general_reason}"] if comparison.general_reason else []
    notes += [f"exported models: {comparison.device_reason}"] if comparison.device_reason else []
    if reason := next((one.energy_reason for one in comparison.trainings if one.energy_reason), None):
        notes.append(f"energy: {reason}")
    return [*notes, *comparison.warnings]


def noisy(comparison: MethodsComparison) -> str:
    """Which figures of the benchmark move too much by themselves; empty: none."""
    found: dict[str, list[str]] = {}
    for device in comparison.devices:
        for one in (figure for figure in device.figures if noise(figure) >= NOISY):
            found.setdefault(one.name, []).append(device.method)
    said = "; ".join(f"{name} of {', '.join(methods)}" for name, methods in found.items())
    return f"noisy in the benchmark, so hardly to be told apart: {said}" if said else ""


def _exported_notes(comparison: MethodsComparison) -> list[str]:
    """What exported models are, and what is not asked of them."""
    if not comparison.devices:
        return []
    forms = sorted({f"{one.format} {one.precision}" for one in comparison.devices})
    notes = [
        f"exported as {', '.join(forms)}, merged: there an adapter costs nothing, and saves nothing either",
        "exported: what is changed or timed is the model of the first seed; [ ] of the change is over held-out rows",
    ]
    if parted := [one.method for one in comparison.devices if one.apart]:
        notes.append(
            f"in 1 GB, exported: adapters of {', '.join(parted)} kept apart on one base, not asked or timed so"
        )
    notes += [
        f"of {one.method} kept apart the format only approximates what was learnt: up to {one.apart.missing:.2g} of a "
        "weight's change is missing"
        for one in comparison.devices
        if one.apart and one.apart.missing
    ]
    return notes


def _differences_section(comparison: MethodsComparison) -> Section:
    """Each method against each other one, once."""
    rows = []
    for place, one in enumerate(comparison.methods):
        for other in comparison.methods[place + 1 :]:
            if (pair := comparison.pair(one, other)) is not None:
                text = _signed(pair.value, pair.low, pair.high)
                seeds = Cell(text=text, value=pair.value, low=pair.low, high=pair.high)
                held = Cell(text=_signed(pair.value, pair.row_low, pair.row_high), value=pair.value)
                rows.append((text_cell(f"{one} against {other}"), seeds, held, _sure(pair)))
    names = ("methods", "over seeds", "over held-out rows", "sure")
    table = Table(
        id="differences",
        caption=f"Differences in {comparison.metric}, paired by seed and row",
        columns=tuple(Column(name=name) for name in names),
        rows=tuple(rows),
    )
    lead = "Sure is what both intervals say: over seeds (another training) and over held-out rows (other texts)."
    return Section(id="differences", title="Which differences are sure", lead=lead, tables=(table,))


def _sure(pair: Pair) -> Cell:
    if pair.low is None:
        return text_cell(f"not judged: {_plural(pair.seeds, 'seed')}", "quiet")
    return text_cell("yes") if pair.certain else text_cell("could be chance", "quiet")


def _capacity_section(comparison: MethodsComparison) -> Section:
    """The task's figure as rows grow."""
    shares = sorted({one.share for one in comparison.trainings})
    firsts = [next(one for one in comparison.trainings if one.share == share) for share in shares]
    rows = []
    for method in comparison.methods:
        known = [share for share in shares if comparison.of(method, share)]
        cells = [
            _figure(task_at(comparison, method, share)) if share in known else absent("not trained") for share in shares
        ]
        rows.append((text_cell(method), *cells))
    heads = [f"{one.rows} rows, {one.examples / one.rows:.2g} passes" for one in firsts]
    columns = (Column(name="method"), *(Column(name=head) for head in heads))
    table = Table(id="capacity", caption=f"{comparison.metric} by training rows", columns=columns, rows=tuple(rows))
    lead = f"What more rows bring each method; {comparison.budget.text}, however many rows there are"
    lead += ": of less than one pass, only some of them were seen." if any(o.examples < o.rows for o in firsts) else "."
    return Section(id="capacity", title="More rows", lead=lead, tables=(table,))


def _signed(value: float, low: float | None, high: float | None) -> str:
    interval = "" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]"
    return f"{value:+.3f}{interval}"


def _rate(comparison: MethodsComparison, one: Summary) -> Cell:
    rate = next(rate.value for rate in comparison.rates if rate.method == one.method)
    return Cell(text=f"{rate:g}", value=rate)


def _parameters(one: Summary) -> Cell:
    count = one.trainings[0].trainable_parameters
    return Cell(text=f"{count:,}", value=count)


def _mb(size: float) -> Cell:
    return Cell(text=short(size / 1e6), value=size / 1e6)


def _spread(found: Spread | None) -> Cell:
    """A figure whose interval nobody asks for."""
    return number_cell(found.value if found else None)


def _figure(found: Spread | Score) -> Cell:
    text = score_number(found.value)
    if found.low is not None and found.high is not None:
        text += f" [{score_number(found.low)}, {score_number(found.high)}]"
    return Cell(text=text, value=found.value, low=found.low, high=found.high)


def _energy(one: Summary) -> Cell:
    found = one.over_seeds(lambda training: training.energy_j)
    return number_cell(found.value if found else None, reason="not readable here")


def _change(found: Spread | Difference | None, reason: str) -> Cell:
    if found is None:
        return absent("there is none" if len(reason) > _LONG else reason)
    return Cell(text=_signed(found.value, found.low, found.high), value=found.value, low=found.low, high=found.high)


def _exported(one: Summary, reason: str) -> Cell:
    return _mb(one.device.size_bytes) if one.device else absent(reason)


def _count(count: int | None, reason: str) -> Cell:
    return absent(reason) if count is None else Cell(text=str(count), value=count)
