"""Everything that is stored about a run, and what of it still holds.

Evidence about other files than those that are there now is left out, and told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune import console
from edgetune.artifact import Artifact, ArtifactManifest, is_artifact, read_artifact
from edgetune.bench.schema import BenchReport
from edgetune.devices import trusting
from edgetune.devices.keeping import FOLDER
from edgetune.devices.report import DeviceReport
from edgetune.errors import ArtifactError, EdgetuneError
from edgetune.evaluation.record import Evaluation, load
from edgetune.evaluation.subjects import artifact_opening, tuned_opening
from edgetune.ladder.record import FILE as LADDER_FILE
from edgetune.ladder.record import Ladder
from edgetune.merging import record as merges
from edgetune.realtime.trusting import contradictions
from edgetune.recipe import Recipe
from edgetune.report.benchmark import Benchmark
from edgetune.run import Run, RunManifest, open_run
from edgetune.runtimes.pairing import on_base
from edgetune.stored import read_if_sound
from edgetune.training import metrics_file
from edgetune.verification import record as verifications
from edgetune.verification.record import Verification


@dataclass(frozen=True)
class Shipped:
    """One artifact with what is stored about it.

    Attributes:
        label: name of its folder, which is short and unique in a run.
        artifact: with its base beneath, where it is an adapter.
        manifest: of it.
        evaluation, verification: None where there is none.
        benches: of its very files, the newest last.
        devices: what is stored of it on devices, the newest last.
    """

    label: str
    artifact: Artifact
    manifest: ArtifactManifest
    evaluation: Evaluation | None
    verification: Verification | None
    benches: tuple[Benchmark, ...] = ()
    devices: tuple[DeviceReport, ...] = ()

    @property
    def bench(self) -> Benchmark | None:
        """The newest benchmark."""
        return self.benches[-1] if self.benches else None

    def newest_with(self, name: str) -> Benchmark | None:
        """The newest benchmark that has a figure: a later one may have left out what was asked for before."""
        return next((bench for bench in reversed(self.benches) if bench.find(name)), None)

    @property
    def swept(self) -> dict[str, Benchmark]:
        """What was varied → the newest benchmark that varied it."""
        return {axis: bench for bench in self.benches for axis in bench.swept}

    @property
    def looked_into(self) -> Benchmark | None:
        """The newest benchmark that read the memory."""
        return next((bench for bench in reversed(self.benches) if bench.report.memory), None)

    @property
    def budget_mb(self) -> float | None:
        """The memory budget that it was held to last."""
        return next((budget for bench in reversed(self.benches) if (budget := bench.budget_mb) is not None), None)

    def older(self, parts: Mapping[str, Benchmark]) -> list[str]:
        """Of each benchmark that is not the newest, a sentence on what is shown of it."""
        found: dict[str, list[str]] = {}
        for name, bench in parts.items():
            if bench is not self.bench:
                found.setdefault(bench.report.created, []).append(name)
        return [
            f"{self.label}: {', '.join(names)} from its benchmark of {created}, as the newest has none."
            for created, names in sorted(found.items())
        ]

    @property
    def held(self) -> dict[str, Benchmark]:
        """Target → the newest benchmark that was held to it."""
        return {bench.target: bench for bench in self.benches if bench.target is not None}

    @property
    def held_on_devices(self) -> dict[tuple[str, str], DeviceReport]:
        """Target, and where: on the device or within its limits on this host → the newest report held to it."""
        return {(report.target, report.place): report for report in self.devices if report.target is not None}

    @property
    def size_bytes(self) -> int:
        """Of everything that a device needs: also of the base beneath an adapter."""
        return self.artifact.size_bytes


@dataclass(frozen=True)
class Evidence:
    """What is known about a run.

    Attributes:
        entries: lines of metrics.jsonl.
        remarks: what was left out, and why.
    """

    run: Run
    manifest: RunManifest
    recipe: Recipe
    entries: tuple[dict[str, Any], ...]
    base: Evaluation | None
    tuned: Evaluation | None
    shipped: tuple[Shipped, ...]
    ladder: Ladder | None
    merge: merges.MergeRecord | None
    remarks: tuple[str, ...]

    @property
    def until(self) -> str:
        """Time of the newest evidence."""
        times = [self.manifest.created]
        times += [one.created for one in (self.base, self.tuned, self.ladder, self.merge) if one]
        for shipped in self.shipped:
            parts = (shipped.manifest, shipped.evaluation, shipped.verification)
            times += [part.created for part in parts if part]
            times += [bench.report.created for bench in shipped.benches]
            times += [report.created for report in shipped.devices]
        return max(times)


class _Reader:
    """Reads one run, and gathers remarks as it goes."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.manifest = run.manifest
        self.remarks: list[str] = []

    def evaluation(self, subject: str, weights_sha256: str | None) -> Evaluation | None:
        path = self.run.evaluation_file(subject)
        if not path.is_file():
            return None
        try:
            found = load(path)
        except EdgetuneError as error:
            self.remarks.append(f"evaluations/{path.name} is left out: {_relative(error.message, self.run.folder)}")
            return None
        heldout = self.manifest.data_sha256.get("heldout")
        if heldout is not None and found.basis.data_sha256 != heldout:
            self.remarks.append(
                f"evaluations/{path.name} is left out: it is of other rows than the run's held-out ones"
            )
        elif weights_sha256 is not None and found.basis.weights_sha256 != weights_sha256:
            self.remarks.append(f"evaluations/{path.name} is left out: it is of other weights than those there now")
        else:
            return found
        return None

    def benches(self) -> list[BenchReport]:
        found = []
        for path in sorted((self.run.folder / "bench").glob("*.json")):
            report = BenchReport.read(path)
            if report is None:
                self.remarks.append(f"bench/{path.name} is left out: it is damaged or of another version")
            elif problems := contradictions(report):
                self.remarks.append(f"bench/{path.name} is left out: it contradicts its own samples: {problems[0]}")
            else:
                found.append(report)
        return sorted(found, key=lambda report: report.created)

    def artifacts(self) -> list[Artifact]:
        folder = self.run.exports_folder
        found = []
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            try:
                if is_artifact(path) and path.is_dir():
                    found.append(on_base(read_artifact(path)))
            except ArtifactError as error:
                self.remarks.append(f"exports/{path.name} is left out: {_relative(error.message, self.run.folder)}")
        return [artifact for artifact in found if not artifact.is_base]

    def devices(self) -> list[DeviceReport]:
        found = []
        for path in sorted((self.run.folder / FOLDER).glob("*.json")):
            try:
                report = DeviceReport.read(path)
            except ArtifactError:
                self.remarks.append(f"devices/{path.name} is left out: it is damaged or no device report")
                continue
            if problems := trusting.contradictions(report):
                self.remarks.append(f"devices/{path.name} is left out: it contradicts its own samples: {problems[0]}")
            else:
                found.append(report)
        return sorted(found, key=lambda report: report.created)

    def shipped(self, artifact: Artifact, benches: Iterable[BenchReport], devices: Iterable[DeviceReport]) -> Shipped:
        assert artifact.manifest is not None, "folders in exports/ have one"
        verification = verifications.load(artifact)
        if verification is None and (artifact.path / verifications.FILE).is_file():
            self.remarks.append(f"exports/{artifact.path.name}/verify.json is left out: damaged, or of other files")
        own = artifact.manifest.sha256[artifact.manifest.main_file]
        return Shipped(
            label=artifact.path.name,
            artifact=artifact,
            manifest=artifact.manifest,
            evaluation=self.evaluation(artifact.name, artifact_opening(artifact).weights_sha256),
            verification=verification,
            benches=tuple(Benchmark(report) for report in benches if report.subject.files == artifact.sha256),
            devices=tuple(report for report in devices if report.subject.sha256 == own),
        )

    def ladder(self) -> Ladder | None:
        path = self.run.folder / LADDER_FILE
        found = read_if_sound(path, Ladder)
        if found is None and path.is_file():
            self.remarks.append(f"{path.name} is left out: it is damaged or of another version")
        return found

    def merge(self) -> merges.MergeRecord | None:
        found = merges.load(self.run.merge_file)
        if found is None and self.run.merge_file.is_file():
            self.remarks.append("merge.json is left out: it is damaged or of another version")
        return found


def read_evidence(folder: Path) -> Evidence:
    """Read all that is stored in a run folder.

    Raises:
        EdgetuneError: it is not a run folder, or its manifest or recipe is damaged.
    """
    run = open_run(folder)
    reader = _Reader(run)
    with console.progress("Reading the evidence"):
        benches, devices = reader.benches(), reader.devices()
        shipped = [reader.shipped(artifact, benches, devices) for artifact in reader.artifacts()]
        trained = reader.manifest.state == "trained" and (run.adapter_folder.is_dir() or run.model_folder.is_dir())
        tuned = reader.evaluation("tuned", tuned_opening(run).weights_sha256 if trained else None)
    known = {one.manifest.sha256[one.manifest.main_file] for one in shipped}
    for what, reports in (("benchmark", benches), ("device report", devices)):
        reader.remarks += [
            f"the {what} of {report.subject.name} of {report.created} is left out: it is of other files"
            for report in reports
            if report.subject.sha256 not in known
        ]
    return Evidence(
        run=run,
        manifest=reader.manifest,
        recipe=run.recipe,
        entries=tuple(metrics_file.read(run.metrics_file)),
        base=reader.evaluation("base", None),
        tuned=tuned,
        shipped=tuple(sorted(shipped, key=lambda one: (-one.size_bytes, one.label))),
        ladder=reader.ladder(),
        merge=reader.merge(),
        remarks=tuple(reader.remarks),
    )


def _relative(message: str, folder: Path) -> str:
    """A message without the folders of this machine: reports are given to others."""
    return message.replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")
