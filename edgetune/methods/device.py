"""What the models of all methods cost where they run: exported alike, and timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

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

T = TypeVar("T")

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
                if self._had(f"{method} was not exported", partial(self._whole, run)):
                    written[method] = run
                bar.advance()
        if not written:
            return []
        timed = self._had("what was exported was not timed", partial(time_all, written, self.recipe, self.folder))
        return [self._completed(one, written[one.method]) for one in timed or ()]

    def _had(self, otherwise: str, work: Callable[[], T]) -> T | None:
        """What some work gives; None, and said, where it fails: hours of trainings are not lost for it."""
        try:
            return work()
        except Interrupted:
            raise
        except EdgetuneError as error:
            self.lack(otherwise, error)
            return None

    def _whole(self, run: Run) -> bool:
        self.look(run, "whole")
        return True

    def _completed(self, device: Device, run: Run) -> Device:
        """With what exporting changed in the task's figure, and with what its adapter takes kept apart."""
        wanted = (run, device.format, device.precision)

        def shift() -> Difference | None:
            self.look(run, "asked")
            return shift_of(run, artifact_of(*wanted))

        def apart() -> Apart:
            self.look(run, "apart")
            return apart_of(*wanted)

        found: dict[str, object] = {"shift": self._had(f"the exported model of {device.method} was not asked", shift)}
        if has_adapter(run):
            found["apart"] = self._had(f"the adapter of {device.method} was not exported apart", apart)
        return device.model_copy(update=found)


def _named(subject: Measured, method: str) -> Measured:
    """Called as the method: of one recipe all artifacts have one name."""
    return replace(subject, name=method, subject=subject.subject.model_copy(update={"name": method}))


def _are_of(reports: Sequence[BenchReport], subjects: Sequence[Measured]) -> bool:
    """Whether all were measured in one session, each of the very same file."""
    hashes = [report.subject.sha256 for report in reports]
    sessions = {report.settings.session for report in reports}
    return hashes == [subject.subject.sha256 for subject in subjects] and len(sessions) == 1
