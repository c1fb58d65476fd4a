"""The artifacts of one export: what each is made of, what it will be, and writing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgetune import __version__, console, files
from edgetune.adapters.tuned import base_alone
from edgetune.artifact import Artifact, open_artifact, write_manifest
from edgetune.errors import ArtifactError, ExportError
from edgetune.exporters import Exporter, ExportPlan, TunedModel, WritesAdapters, find_exporter
from edgetune.models.weights import weight_files


@dataclass(frozen=True)
class Part:
    """One artifact to write.

    Attributes:
        model: what it is made of.
        format: name of an exporter.
        precision: one of the exporter's.
        folder: the artifact's.
        kind: a whole model, an adapter alone, or the base that one is put on.
        collect: what its rounding has to know of the inputs, collected when it is written; None: nothing more.
    """

    model: TunedModel
    format: str
    precision: str
    folder: Path
    kind: Literal["model", "adapter", "base"] = "model"
    collect: Callable[[], Path] | None = None

    def plan(self) -> ExportPlan:
        """Check it and predict the result.

        Raises:
            ExportError: the precision is unknown, or it cannot be exported.
        """
        exporter = find_exporter(self.format)
        if self.kind == "model":
            return exporter.plan(self.model, self.precision)
        writer = adapter_writer(exporter)
        plan = writer.plan_adapter if self.kind == "adapter" else writer.plan_base
        return plan(self.model, self.precision)

    def write(self) -> Artifact:
        """Write it, unless the artifact in the folder was made from the very same inputs and is whole.

        Raises:
            EdgetuneError, ExportError, ModelError, ResourceError
        """
        model = replace(self.model, importance=self.collect()) if self.collect else self.model
        digest = inputs_sha256(model, self.format, self.precision, kind=self.kind)
        if (present := _unchanged(self.folder, digest)) is not None:
            console.note(f"{self.folder} is up to date")
            return present
        artifact = self._writer()(model, self.precision, self.folder)
        assert artifact.manifest is not None, "exporters write a manifest"
        return write_manifest(self.folder, artifact.manifest.model_copy(update={"inputs_sha256": digest}))

    def _writer(self) -> Callable[[TunedModel, str, Path], Artifact]:
        exporter = find_exporter(self.format)
        if self.kind == "model":
            return exporter.export
        writer = adapter_writer(exporter)
        return writer.export_adapter if self.kind == "adapter" else writer.export_base


def merged_parts(model: TunedModel, format: str, quants: Sequence[str], output: Path) -> list[Part]:
    """A whole model in some precisions, each named once."""
    exporter = find_exporter(format)
    require_task(exporter, model)
    folders = {plan.precision: plan.folder for plan in (exporter.plan(model, quant) for quant in quants)}
    return [Part(model, format, precision, output / folder) for precision, folder in folders.items()]


def separate_parts(
    model: TunedModel, format: str, quants: Sequence[str], with_base: str | None, output: Path
) -> list[Part]:
    """The adapter of a model alone, and the base that it runs on if asked for.

    Args:
        model: with an adapter.
        format: name of an exporter that writes adapters.
        quants: precisions of the adapter; none: the format's default.
        with_base: precision of the base; None: it is not written.
        output: folder of the artifacts.

    Raises:
        ExportError: the model has no adapter, or the format cannot keep one apart.
    """
    exporter = find_exporter(format)
    if model.task != "generation":
        raise ExportError(
            "a classifier's adapter has a head that no runtime puts on a base",
            hint="export it without --adapter separate: the head is in the model then",
        )
    base = base_alone(model)
    writer = adapter_writer(exporter)
    precisions = quants or writer.adapter_precisions[:1]
    parts = [Part(model, format, name, output / f"adapter-{name}", "adapter") for name in precisions]
    if with_base is None:
        return parts
    precision = writer.plan_base(base, with_base).precision
    return [Part(base, format, precision, output / f"base-{precision}", "base"), *parts]


def require_task(exporter: Exporter, model: TunedModel) -> None:
    """Check that a format can hold what the model does.

    Raises:
        ExportError: it cannot.
    """
    known: Sequence[str] = getattr(exporter, "tasks", ("generation",))
    if model.task not in known:
        raise ExportError(
            f"the format '{exporter.format}' cannot hold a model for {model.task}", hint="--format onnx can"
        )


def plan_parts(parts: Sequence[Part]) -> list[ExportPlan]:
    """Check all before the first is written, the disk space for all of them included.

    Raises:
        ExportError: a precision is unknown, or the model cannot be exported.
        ResourceError: the disk is too small for all of them.
    """
    plans = [part.plan() for part in parts]
    needed = sum(plan.size_bytes for part, plan in zip(parts, plans, strict=True) if not part.folder.exists())
    if parts:
        files.require_disk(parts[0].folder.parent, needed, f"exporting {parts[-1].model.name}")
    return plans


def write_parts(parts: Sequence[Part]) -> list[Artifact]:
    """Write all, in the order given back.

    Adapters are written before their base: whether DoRA has few enough ranks is known when they are computed, and a
    refusal shall leave nothing behind.

    Raises:
        EdgetuneError, ExportError, ModelError, ResourceError
    """
    written = {part.folder: part.write() for part in sorted(parts, key=lambda part: part.kind != "adapter")}
    return [written[part.folder] for part in parts]


def inputs_sha256(model: TunedModel, format: str, precision: str, *, kind: str = "model") -> str:
    """Hash over everything that decides an artifact's content.

    Of the base the known hash counts; the weights of a model that was trained whole are read.
    """
    parts: dict[str, object] = {
        "edgetune": __version__,
        "format": format,
        "precision": precision,
        "facts": [model.name, model.base_source, model.base_sha256, model.system, model.licence, model.run],
        "trained_against": model.trained_against,
        "quantised": [model.quantised_from, *sorted(model.quantised_modules)],
        "config": _hashes(model.base_folder),
        "tokenizer": _hashes(model.tokenizer_folder),
    }
    if kind != "model":
        parts["kind"] = kind
    if model.labels:
        parts["classes"] = [model.task, *model.labels, model.max_tokens]
    if model.calibration is not None:
        parts["calibration"] = files.sha256_file(model.calibration)
    if model.importance is not None:
        parts["importance"] = files.sha256_file(model.importance)
    if model.adapter_folder is not None:
        parts["adapter"] = dict(files.sha256_files(model.adapter_folder))
    elif model.run is not None:
        parts["weights"] = [files.sha256_file(file) for file in weight_files(model.base_folder)]
    return files.sha256_json(parts)


def _hashes(folder: Path) -> dict[str, str]:
    """Of the small files in a model or tokenizer folder: settings, vocabulary, template."""
    kinds = (".json", ".jinja", ".model", ".txt")
    return {file.name: files.sha256_file(file) for file in sorted(folder.iterdir()) if file.suffix in kinds}


def _unchanged(folder: Path, digest: str) -> Artifact | None:
    """The artifact in ``folder`` if it is whole and was made from the same inputs."""
    try:
        present = open_artifact(folder, check_hashes=True)
    except ArtifactError:
        return None
    return present if present.manifest and present.manifest.inputs_sha256 == digest else None


def adapter_writer(exporter: Exporter) -> WritesAdapters:
    """The same exporter, as one that keeps adapters apart.

    Raises:
        ExportError: it does not.
    """
    if not isinstance(exporter, WritesAdapters):
        raise ExportError(
            f"the format '{exporter.format}' cannot keep an adapter apart from its base",
            hint="export it without --adapter separate",
        )
    return exporter
