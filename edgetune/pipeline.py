"""The whole way: train, export, evaluate, verify, measure, report. Each step is kept, so a second call goes on."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from edgetune import console, training
from edgetune.artifact import Artifact
from edgetune.bench.environment import is_still
from edgetune.bench.objective import Verdict
from edgetune.bench.plan import Plan
from edgetune.bench.schema import BenchReport
from edgetune.bench.single_stream import bench_subjects
from edgetune.bench.subjects import Measured, artifact_subject
from edgetune.data.labelled import asked_of, own_rows
from edgetune.data.reading import load_rows
from edgetune.devices.device import shipped_devices
from edgetune.devices.keeping import keep
from edgetune.devices.projecting import project_all
from edgetune.errors import ArtifactError, Interrupted
from edgetune.evaluation.record import NOTHING_RAN, Evaluation
from edgetune.evaluation.subjects import evaluate_run
from edgetune.evaluation.text import score_lines
from edgetune.exporting import recipe_parts
from edgetune.exporting_parts import plan_parts
from edgetune.exporting_text import plans_text
from edgetune.realtime.measuring import hold
from edgetune.realtime.planned import require_planned
from edgetune.realtime.trusting import contradictions
from edgetune.realtime.wanted import Wanted, wanted_by_recipe
from edgetune.recipe import BenchSettings, Resolved
from edgetune.report.writing import write_report
from edgetune.run import Run
from edgetune.runtimes.threads import default_threads
from edgetune.verification.choosing import verifier_of
from edgetune.verification.record import Verification
from edgetune.verification.text import summary_line

#: Rows on which the untuned base is evaluated: it seldom stops, so each costs a whole answer's length.
BASE_ROWS = 60
#: What the summary shows of a benchmark, in this order.
BENCH_FIGURES = ("ttft", "decode", "latency", "batch_rate", "peak_rss")


@dataclass(frozen=True)
class Shipped:
    """One artifact with its evidence."""

    artifact: Artifact
    evaluation: Evaluation
    verification: Verification
    bench: BenchReport


@dataclass(frozen=True)
class PipelineResult:
    """What `edgetune run` ends in.

    Attributes:
        run: the run.
        base: the untuned base on some of the held-out rows.
        shipped: artifacts in the recipe's order.
        report: the page that says all of it, with a recommendation.
        example: a held-out request to try.
    """

    run: Run
    base: Evaluation
    shipped: tuple[Shipped, ...]
    report: Path
    example: str | None

    @property
    def unverified(self) -> tuple[Verification, ...]:
        """Of artifacts that are not the trained model."""
        return tuple(one.verification for one in self.shipped if not one.verification.passed)

    @property
    def verdicts(self) -> dict[str, tuple[Verdict, ...]]:
        """Artifact → how each objective of the recipe came out."""
        return {one.artifact.name: one.bench.verdicts for one in self.shipped if one.bench.verdicts}

    def to_text(self) -> str:
        """A summary for people: scores with intervals, size, speed, memory, and a command to talk to it."""
        result = self.run.manifest.result
        lines = [
            f"run        {self.run.folder}",
            (
                f"training   {result['seconds'] / 60:.1f} min, {result['steps']} steps, "
                f"{_speed(self.run)}, peak {result['peak_rss'] / 1e9:.1f} GB"
            ),
            "",
            *score_lines(_base_title(self.base), self.base),
        ]
        for shipped in self.shipped:
            lines += ["", *_shipped(shipped, self.base)]
        lines += ["", f"report     {self.report}"]
        if self.shipped:
            last = self.shipped[-1].artifact
            lines += ["", "try it:", f"  {_command()} {_trial(last, self.example)}"]
        return "\n".join(lines)


def _base_title(evaluation: Evaluation) -> str:
    """What is beaten: the untuned base, or of classes, which it does not know, the most frequent one."""
    return "most frequent class of the training rows" if evaluation.runtime == NOTHING_RAN else "untuned base"


def _speed(run: Run) -> str:
    task = run.recipe.task
    return f"{run.manifest.result[task.speed_key]:.0f} {task.unit}s/s"


def run_recipe(resolved: Resolved, folder: Path, *, allow_scripts: bool = False) -> PipelineResult:
    """Walk a recipe from its data to measured artifacts.

    What is done already and rests on the same inputs is not done again.

    Raises:
        EdgetuneError: see the tree; what was finished stays. After :class:`Interrupted` the same call goes on.
    """
    try:
        return _walk(resolved, folder, allow_scripts=allow_scripts)
    except Interrupted as stop:  # its hint would go on with the training alone
        raise Interrupted(stop.message) from stop
    except KeyboardInterrupt as stop:
        raise Interrupted(f"interrupted; {folder} keeps what is finished") from stop


def _walk(resolved: Resolved, folder: Path, *, allow_scripts: bool) -> PipelineResult:
    wanted = wanted_by_recipe(resolved)  # what is wrong with it is said before training
    require_planned(wanted, _plan(resolved.recipe.bench, wanted))
    run = training.train(resolved, folder, allow_scripts=allow_scripts)
    recipe = run.recipe
    parts = recipe_parts(run)
    console.note(plans_text(parts, plan_parts(parts)))
    artifacts = [part.write() for part in parts]
    base = evaluate_run(run, "base", limit=BASE_ROWS if recipe.task.kind == "generation" else None)
    verifier = verifier_of(run, quick=True)
    shipped = []
    for artifact in artifacts:
        evaluation = evaluate_run(run, artifact.path)
        bench = _bench(run, artifact, recipe.bench, wanted)
        shipped.append(Shipped(artifact, evaluation, verifier.verify(artifact, again=False), bench))
        if recipe.task.kind == "generation":
            _project(artifact)
    return PipelineResult(run, base, tuple(shipped), write_report(run.folder), _example(run))


def _bench(run: Run, artifact: Artifact, settings: BenchSettings, wanted: Wanted) -> BenchReport:
    """Measure an artifact, or take what was measured here of the very same file and held to the same objectives."""
    stored = run.folder / "bench" / f"{artifact.name}.json"
    known = BenchReport.read(stored)
    subject = artifact_subject(artifact)
    plan = _plan(settings, wanted)
    if known is None or not _is_of(known, subject, plan) or contradictions(known):
        (known,) = bench_subjects([subject], plan)
    elif wanted.is_answered_by(known):
        return known
    report = hold(known, subject, wanted, plan, seconds=settings.seconds)
    report.write(stored)
    return report


def _project(artifact: Artifact) -> None:
    """Keep what an artifact would come to on the devices that ship with edgetune; it follows from the file alone."""
    try:
        keep(project_all(artifact, shipped_devices(), (0,)), artifact)
    except ArtifactError as error:  # a mixture of experts, whose bytes a token cannot be told
        console.note(f"not projected: {error.message}")


def _plan(settings: BenchSettings, wanted: Wanted) -> Plan:
    return wanted.filled_in(Plan(prompts=settings.prompts, threads=settings.threads))


def _is_of(report: BenchReport, subject: Measured, plan: Plan) -> bool:
    """Whether a report is of the very same file, measured as the plan says, here and with the same software."""
    had = report.settings
    asked = (subject.subject.files, plan.prompts, plan.threads or default_threads())
    same_context = plan.contexts in ((), (had.context,))
    same_place = is_still(report.environment, subject.runtime)
    return (report.subject.files, had.prompts_wanted, had.threads) == asked and same_context and same_place


def _shipped(shipped: Shipped, base: Evaluation) -> list[str]:
    artifact, bench = shipped.artifact, shipped.bench
    size = artifact.manifest.size_bytes / 1e6 if artifact.manifest else artifact.main_file.stat().st_size / 1e6
    lines = score_lines(artifact.name, shipped.evaluation, beside=base)
    lines.append(f"  {summary_line(shipped.verification)}")
    lines.append(f"  {'size':<22}{size:.1f} MB")
    for figure in bench.figures:
        if figure.name in BENCH_FIGURES and figure.median is not None:
            lines.append(f"  {figure.name:<22}{figure.median:.1f} {figure.unit}  ({figure.definition})")
    lines += [f"  {verdict.text}" for verdict in bench.verdicts]
    return [*lines, *(f"  warning: {warning}" for warning in bench.warnings)]


def _trial(artifact: Artifact, example: str | None) -> str:
    """Words of a command that uses an artifact."""
    path, text = shlex.quote(str(artifact.path)), shlex.quote(example) if example else None
    if artifact.manifest and artifact.manifest.task != "generation":
        return f"classify {path} {text or 'TEXT'}"
    return f"chat {path} --prompt {text}" if text else f"chat {path}"


def _command() -> str:
    """How this very program can be called again: by name, or by path where it is not on PATH."""
    return "edgetune" if shutil.which("edgetune") else shlex.quote(str(Path(sys.executable).with_name("edgetune")))


def _example(run: Run) -> str | None:
    """The first single question of the held-out rows, or the first text."""
    if run.recipe.task.kind != "generation":
        return str(asked_of(own_rows(run, run.heldout_file)[0]))
    for row in load_rows(run.heldout_file).raise_on_problems().rows:
        asked = [message["content"] for message in row.messages if message["role"] == "user"]
        if len(asked) == 1:
            return str(asked[0])
    return None
