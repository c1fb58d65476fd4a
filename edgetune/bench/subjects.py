"""What can be measured: artifacts, adapters on their base, and a run's trained model in torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgetune import files
from edgetune.artifact import Artifact, require_whole
from edgetune.bench.plan import Plan
from edgetune.bench.schema import Subject
from edgetune.errors import ArtifactError
from edgetune.recipe import TaskKind
from edgetune.run import Run, is_run, open_run
from edgetune.runtimes.choosing import require_artifact
from edgetune.runtimes.pairing import on_base
from edgetune.runtimes.threads import default_threads

#: Runtimes that open the same folder.
_ALIKE = frozenset({"onnxruntime", "onnxruntime-genai"})


@dataclass(frozen=True)
class Measured:
    """One thing to measure.

    Attributes:
        name: for people.
        runtime: that runs it.
        path: where it lies; the prompts are those of the run around it.
        job: what a measured process is told of it.
        weights: files to drop from the page cache before a cold start.
        subject: what the report says of it.
        task: what it does.
    """

    name: str
    runtime: str
    path: Path
    job: Mapping[str, Any]
    weights: Sequence[Path] = field(default_factory=tuple)
    subject: Subject = field(kw_only=True)
    task: TaskKind = field(default="generation", kw_only=True)

    @property
    def classifies(self) -> bool:
        """Whether it tells a class instead of writing tokens."""
        return self.task != "generation"

    @property
    def is_llama(self) -> bool:
        """Whether llama.cpp runs it, which can be told more than the others."""
        return self.runtime == "llama.cpp"

    def opening(self, plan: Plan) -> dict[str, Any]:
        """How it is opened, in the words of a job.

        Where prompts have threads of their own, these stay what they are while those for single tokens are varied.
        """
        asked = plan.opening
        if self.is_llama and asked["prefill_threads"] is None:
            asked["prefill_threads"] = plan.threads or default_threads()
        return asked


def artifact_subject(artifact: Artifact, runtime: str | None = None) -> Measured:
    """An artifact, or an adapter on its base.

    Args:
        artifact: to measure.
        runtime: another than its manifest names.

    Raises:
        ArtifactError: damaged, an adapter without a base, or not for that runtime.
    """
    opened = on_base(artifact)
    require_whole(opened)
    if runtime is not None:
        opened = in_runtime(opened, runtime)
    whole = [opened, *([opened.beneath] if opened.beneath else [])]
    hashes = opened.sha256
    manifest = opened.manifest
    subject = Subject(
        name=opened.name,
        path=opened.main_file.name,
        sha256=hashes.get(opened.main_file.name) or files.sha256_file(opened.main_file),
        files=hashes,
        size_bytes=opened.size_bytes,
        precision=manifest.precision if manifest else None,
    )
    job: dict[str, Any] = {"artifact": str(opened.path), "runtime": opened.runtime}
    if opened.beneath:
        job["base"] = str(opened.beneath.path)
    task: TaskKind = manifest.task if manifest is not None else "generation"
    return Measured(opened.name, opened.runtime, opened.path, job, _weights(whole), subject=subject, task=task)


def tuned_subject(run: Run) -> Measured:
    """A run's trained model in torch, the reference of its exports.

    Raises:
        MissingExtra: torch is not installed.
        EdgetuneError: the run is not trained, or the base that its adapter needs is gone.
    """
    from edgetune.adapters.tuned import trained_base
    from edgetune.extras import require
    from edgetune.models.weights import weight_files

    require("torch", extra="train", needed_for="measuring the trained model itself")
    run.require_generating("measuring the trained model in torch")
    manifest = run.require_trained()
    folder = run.model_folder if run.model_folder.is_dir() else run.adapter_folder
    hashes = dict(files.sha256_files(folder))
    beneath = weight_files(trained_base(run).folder) if manifest.trained_against is not None else []
    weights = [*(folder / name for name in hashes), *beneath]
    subject = Subject(
        name=f"{run.folder.name} in torch",
        path=folder.name,
        sha256=files.sha256_text(json.dumps(hashes, sort_keys=True)),
        files=hashes | {"base": manifest.base_sha256},
        size_bytes=sum(path.stat().st_size for path in weights),
        precision="f32",
    )
    job = {"artifact": str(run.folder), "torch": True}
    return Measured(subject.name, "torch", run.folder, job, tuple(weights), subject=subject)


def choose_subjects(
    paths: Sequence[Path],
    names: Sequence[str] = (),
    *,
    base: Path | None = None,
    runtime: str | None = None,
    torch: bool = False,
) -> list[Measured]:
    """What the words of a command line mean.

    Args:
        paths: artifacts and runs.
        names: with a run: which exports; default: the largest.
        base: of adapters: measure them on this one.
        runtime: of ONNX folders: another than their own.
        torch: also measure the trained model of each run in torch.

    Raises:
        ArtifactError: nothing there, or two have one name.
    """
    found: list[Measured] = []
    if names and not any(map(is_run, paths)):
        raise ArtifactError(
            f"--artifact {names[0]} names an export of a run, and {paths[0]} is none", hint="leave --artifact out"
        )
    beneath = require_artifact(base) if base is not None else None
    for path in paths:
        if path.suffix == ".json" and not path.exists():
            raise ArtifactError(f"no such artifact: {path}", hint=f"reports are written with --output {path}")
        for name in names if names and is_run(path) else (None,):
            artifact = require_artifact(path, name)
            if beneath is not None and artifact.is_adapter:
                artifact = on_base(artifact, beneath)
            found.append(artifact_subject(artifact, runtime))
        if torch and is_run(path):
            found.append(tuned_subject(open_run(path)))
    if base is not None and not any("base" in one.job for one in found):
        raise ArtifactError(f"--base {base} is for adapters, and none of these is one", hint="leave --base out")
    if torch and not any(one.runtime == "torch" for one in found):
        raise ArtifactError("--torch needs a run: nothing else has a trained model", hint="edgetune bench RUN --torch")
    return _with_names(found)


def in_runtime(artifact: Artifact, runtime: str) -> Artifact:
    """The same artifact for another runtime that opens the same files.

    Raises:
        ArtifactError: it does not.
    """
    if runtime == artifact.runtime:
        return artifact
    manifest = artifact.manifest
    if {runtime, artifact.runtime} <= _ALIKE and manifest is not None and manifest.task == "generation":
        beneath = in_runtime(artifact.beneath, runtime) if artifact.beneath else None
        return replace(artifact, manifest=manifest.model_copy(update={"runtime": runtime}), beneath=beneath)
    raise ArtifactError(
        f"{artifact.path} is for {artifact.runtime} and cannot be run in {runtime}",
        hint=f"leave --runtime out, or give one of: {', '.join(sorted(_ALIKE))} for an ONNX folder that writes text",
    )


def _with_names(found: Sequence[Measured]) -> list[Measured]:
    """Each with a name of its own: figures of two that are called alike could not be told apart."""
    given = [one.name for one in found]
    result = []
    for number, one in enumerate(found, start=1):
        name = one.name if given.count(one.name) == 1 else f"{one.name} ({number})"
        result.append(replace(one, name=name, subject=one.subject.model_copy(update={"name": name})))
    return result


def _weights(whole: Sequence[Artifact]) -> tuple[Path, ...]:
    """The files that are read at a start: a bare model file, or all that a manifest lists."""
    listed = [one.path / name for one in whole if one.manifest for name in one.manifest.sha256]
    return (*listed, *(one.path for one in whole if not one.manifest))
