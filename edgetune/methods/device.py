"""What the models of all methods cost where they run: exported alike, and timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgetune import console
from edgetune.bench.plan import Plan
from edgetune.bench.schema import BenchReport
from edgetune.bench.single_stream import bench_subjects
from edgetune.bench.subjects import Measured, artifact_subject
from edgetune.errors import EdgetuneError, Interrupted
from edgetune.evaluation.compare import Difference
from edgetune.exporters import find_exporter
from edgetune.methods.exported import apart_of, artifact_of, has_adapter, shift_of
from edgetune.methods.record import Apart, Device
from edgetune.recipe import Recipe
from edgetune.run import Run

#: A short look: how the methods differ, not how fast the machine is.
PLAN = Plan(prompts=8, rounds=3, starts=0, memory_rounds=1, depths=())
#: Of answers, where there are any.
NEW_TOKENS = 24
#: What is kept of a benchmark.
FIGURES = ("latency", "batch_rate", "ttft", "decode", "peak_rss")


def format_of(recipe: Recipe) -> tuple[str, str]:
    """Format and precision that every method is exported in.

    The recipe's first format in its usual eight bits; where the recipe asks for others only, in the last of them.
    """
    if not recipe.exports:
        usual = "gguf" if recipe.task.kind == "generation" else "onnx"
        return usual, find_exporter(usual).default_precision
    first = recipe.exports[0]
    exporter = find_exporter(first.format)
    asked = [exporter.precision(quant) for quant in first.quant] or [exporter.default_precision]
    return first.format, exporter.default_precision if exporter.default_precision in asked else asked[-1]


def plan_for(recipe: Recipe) -> Plan:
    """How the exported models are timed: a class has no tokens."""
    return replace(PLAN, new_tokens=NEW_TOKENS) if recipe.task.kind == "generation" else PLAN


def time_all(runs: Mapping[str, Run], recipe: Recipe, folder: Path) -> list[Device]:
    """Time the exported model of each method, all in turns, or take what is stored of the very same files.

    Args:
        runs: method → a run whose model is exported.
        recipe: that was compared.
        folder: where benchmarks are kept, ``METHOD.json`` each.
    """
    kind, precision = format_of(recipe)
    subjects = [_named(artifact_subject(artifact_of(run, kind, precision)), method) for method, run in runs.items()]
    reports = [BenchReport.read(folder / f"{subject.name}.json") for subject in subjects]
    known = [one for one in reports if one is not None]
    if not _are_of(known, subjects):
        known = bench_subjects(subjects, plan_for(recipe))
        for report in known:
            report.write(folder / f"{report.subject.name}.json")
    return [
        Device(
            method=method,
            seed=run.manifest.seed,
            format=kind,
            precision=precision,
            runtime=subject.runtime,
            size_bytes=subject.subject.size_bytes,
            figures=tuple(figure for figure in report.figures if figure.name in FIGURES),
        )
        for (method, run), subject, report in zip(runs.items(), subjects, known, strict=True)
    ]


@dataclass(frozen=True)
class Exporting:
    """All methods exported alike, asked and timed. What fails is said, and the rest goes on.

    Attributes:
        recipe: that was compared.
        folder: where benchmarks are kept.
        look: do one of :data:`edgetune.methods.exported.EXPORTS` with a run, in a process of its own.
        lack: say what could not be had, and why.
    """

    recipe: Recipe
    folder: Path
    look: Callable[[Run, str], None]
    lack: Callable[[str, EdgetuneError], None]

    def devices(self, runs: Mapping[str, Run]) -> list[Device]:
        """What each method's model costs where it runs, and what it does there.

        Args:
            runs: method → a run that is trained.
        """
        written: dict[str, Run] = {}
        with console.progress("Exporting", total=len(runs), unit="models") as bar:
            for method, run in runs.items():
                with self._going_on(f"{method} was not exported"):
                    self.look(run, "whole")
                    written[method] = run
                bar.advance()
        return [
            one.model_copy(update={"shift": self._shift(one, run), "apart": self._apart(one, run)})
            for one in self._timed(written)
            for run in [written[one.method]]
        ]

    @contextmanager
    def _going_on(self, otherwise: str) -> Iterator[None]:
        """Say what could not be had, and why: hours of trainings are not lost for it."""
        try:
            yield
        except Interrupted:
            raise
        except EdgetuneError as error:
            self.lack(otherwise, error)

    def _timed(self, runs: Mapping[str, Run]) -> list[Device]:
        timed: list[Device] = []
        with self._going_on("what was exported was not timed"):
            timed = time_all(runs, self.recipe, self.folder) if runs else []
        return timed

    def _shift(self, device: Device, run: Run) -> Difference | None:
        """What exporting changed in the task's figure."""
        shift = None
        with self._going_on(f"the exported model of {device.method} was not asked"):
            self.look(run, "asked")
            shift = shift_of(run, artifact_of(run, device.format, device.precision))
        return shift

    def _apart(self, device: Device, run: Run) -> Apart | None:
        """What its adapter takes kept apart; None: it has none, or it cannot be."""
        apart = None
        if has_adapter(run):
            with self._going_on(f"the adapter of {device.method} was not exported apart"):
                self.look(run, "apart")
                apart = apart_of(run, device.format, device.precision)
        return apart


def _named(subject: Measured, method: str) -> Measured:
    """Called as the method: of one recipe all artifacts have one name."""
    return replace(subject, name=method, subject=subject.subject.model_copy(update={"name": method}))


def _are_of(reports: Sequence[BenchReport], subjects: Sequence[Measured]) -> bool:
    """Whether all were measured in one session, each of the very same file."""
    hashes = [report.subject.sha256 for report in reports]
    sessions = {report.settings.session for report in reports}
    return hashes == [subject.subject.sha256 for subject in subjects] and len(sessions) == 1
