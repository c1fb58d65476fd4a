"""From a run or a model to artifacts, through whatever exporter has the format."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from edgetune import __version__, console, files
from edgetune.adapters.tuned import base_alone, is_adapter_folder, tuned_from_adapter, tuned_from_model, tuned_model
from edgetune.artifact import Artifact, is_artifact, open_artifact, write_manifest
from edgetune.errors import ArtifactError, ExportError
from edgetune.exporters import Exporter, ExportPlan, TunedModel, WritesAdapters, find_exporter
from edgetune.models.weights import weight_files
from edgetune.recipe import ExportSettings, ModelSettings
from edgetune.run import Run, is_run, open_run


@dataclass(frozen=True)
class Wanted:
    """What to write.

    Attributes:
        format: name of an exporter.
        quants: precisions; none: the default.
        separate: the adapter alone, and not merged.
        with_base: with ``separate``: also the base, in this precision.
    """

    format: str
    quants: tuple[str, ...] = ()
    separate: bool = False
    with_base: str | None = None


@dataclass(frozen=True)
class Source:
    """What was named on the command line.

    Attributes:
        model: what an exporter gets.
        output: where artifacts go unless told otherwise, a folder for each precision.
        exports: what the run's recipe wants exported.
        run: that it is, if it is one.
    """

    model: TunedModel
    output: Path
    exports: tuple[ExportSettings, ...] = ()
    run: Run | None = None

    def parts(self, wanted: Wanted, output: Path | None = None) -> list[Part]:
        """The artifacts to write, the base of an adapter before it.

        Args:
            wanted: how.
            output: folder of the artifacts, if not :attr:`output`.

        Raises:
            ExportError: there is no such precision, or nothing to keep apart.
        """
        target = output or self.output
        if wanted.separate and self.model.importance is not None:
            raise ExportError(
                "an imatrix is of a whole model, and a base that adapters share is none of theirs",
                hint="leave --imatrix out, or --adapter separate",
            )
        if wanted.separate:
            return separate_parts(self.model, wanted.format, wanted.quants, wanted.with_base, target)
        if wanted.with_base:
            raise ExportError("a merged model needs no base beside it", hint="add --adapter separate")
        if wanted.quants:
            return merged_parts(self.model, wanted.format, wanted.quants, target)
        return self.usual_parts(wanted.format, target)

    def usual_parts(self, format: str, output: Path) -> list[Part]:
        """What to write when nobody says: what the recipe asks for, else the format's default."""
        asked = [settings for settings in self.exports if settings.format == format] or [ExportSettings(format=format)]
        found: list[Part] = []
        for settings in asked:
            collected = settings.imatrix and self.model.importance is None
            model = weighted(self, format, "auto").model if collected else self.model
            found += merged_parts(model, format, quants_of(settings), output)
        return found


def weighted(source: Source, format: str, imatrix: str, text: Path | None = None) -> Source:
    """The same, to be quantised with the importance of its inputs in mind.

    Args:
        source: what is exported.
        format: name of an exporter.
        imatrix: a file, or ``auto``: collected from a run's training rows and general text.
        text: that general text; default: Python's documentation.

    Raises:
        ExportError: ``auto`` for what is not a run, or the format has no use for it.
        DataError: no text.
    """
    from edgetune.importance.keeping import adopt, importance_of

    if imatrix != "auto":
        if text is not None:
            raise ExportError("a given imatrix needs no text", hint="leave --imatrix-text out, or use --imatrix auto")
        given = Path(imatrix).expanduser()
        file = adopt(source.run, format, given) if source.run else given
    elif source.run is None:
        raise ExportError(
            "only a run has training rows to collect an imatrix from", hint="give an imatrix file: --imatrix FILE"
        )
    else:
        file = importance_of(source.run, format, text)
    return replace(source, model=replace(source.model, importance=file))


def quants_of(settings: ExportSettings) -> tuple[str, ...]:
    """What a recipe's export asks for, else the format's default.

    Raises:
        ExportError: there is no such format.
    """
    return settings.quant or (find_exporter(settings.format).default_precision,)


@dataclass(frozen=True)
class Part:
    """One artifact to write.

    Attributes:
        model: what it is made of.
        format: name of an exporter.
        precision: one of the exporter's.
        folder: the artifact's.
        kind: a whole model, an adapter alone, or the base that one is put on.
    """

    model: TunedModel
    format: str
    precision: str
    folder: Path
    kind: Literal["model", "adapter", "base"] = "model"

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
        digest = inputs_sha256(self.model, self.format, self.precision, kind=self.kind)
        if (present := _unchanged(self.folder, digest)) is not None:
            console.note(f"{self.folder} is up to date")
            return present
        artifact = self._writer()(self.model, self.precision, self.folder)
        assert artifact.manifest is not None, "exporters write a manifest"
        return write_manifest(self.folder, artifact.manifest.model_copy(update={"inputs_sha256": digest}))

    def _writer(self) -> Callable[[TunedModel, str, Path], Artifact]:
        exporter = find_exporter(self.format)
        if self.kind == "model":
            return exporter.export
        writer = adapter_writer(exporter)
        return writer.export_adapter if self.kind == "adapter" else writer.export_base


def find_source(subject: str, base: str | None = None) -> Source:
    """Open a run folder, a PEFT folder, or a model: a hub id, a folder, a .gguf file, or ``pkg:PACKAGE/FILE``.

    Args:
        subject: what to open.
        base: of a PEFT folder, if not the one that its settings name.

    Raises:
        EdgetuneError: the run is not trained, or the model cannot be read.
        ExportError: it is an artifact already.
    """
    path = Path(subject).expanduser()
    if path.is_dir() and is_run(path):
        if base is not None:
            raise ExportError("a run knows its base", hint="leave --base out")
        run = open_run(path)
        return Source(tuned_model(run), run.exports_folder, run.recipe.exports, run)
    if path.is_dir() and is_artifact(path):
        raise ExportError(f"{path} is an artifact already", hint="give the run it came from, or its .gguf file")
    if is_adapter_folder(path):
        model = tuned_from_adapter(path, base)
    elif base is not None:
        raise ExportError(f"{subject} has no adapter that --base could belong to", hint="leave --base out")
    else:
        model = tuned_from_model(ModelSettings(source=subject), Path.cwd())
    return Source(model, Path("exports") / model.name)


def export(run: Run, format: str, quant: str | None = None, output: Path | None = None) -> Artifact:
    """Export a run's result in one precision.

    Args:
        run: trained.
        format: name of an exporter, such as ``gguf``.
        quant: one of its precisions; default: eight bits.
        output: folder that gets a folder named after the precision; default: the run's ``exports``.

    Raises:
        EdgetuneError, ExportError, ModelError, ResourceError
    """
    precision = quant or find_exporter(format).default_precision
    return export_model(tuned_model(run), format, precision, output or run.exports_folder)


def export_model(model: TunedModel, format: str, quant: str, output: Path) -> Artifact:
    """Export a model in one precision into ``output/PRECISION``.

    Nothing is written when the artifact there was made from the very same inputs and is whole.
    """
    (part,) = merged_parts(model, format, (quant,), output)
    return part.write()


def recipe_parts(run: Run) -> list[Part]:
    """Everything that a run's recipe wants exported, in its order.

    Raises:
        ExportError: there is no such format or precision, or it cannot be written.
    """
    source = Source(tuned_model(run), run.exports_folder, run.recipe.exports, run)
    formats = dict.fromkeys(settings.format for settings in run.recipe.exports)
    return [part for kind in formats for part in source.usual_parts(kind, run.exports_folder)]


def merged_parts(model: TunedModel, format: str, quants: Sequence[str], output: Path) -> list[Part]:
    """A whole model in some precisions, each named once."""
    exporter = find_exporter(format)
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
    base = base_alone(model)
    writer = adapter_writer(exporter)
    precisions = quants or writer.adapter_precisions[:1]
    parts = [Part(model, format, name, output / f"adapter-{name}", "adapter") for name in precisions]
    if with_base is None:
        return parts
    precision = writer.plan_base(base, with_base).precision
    return [Part(base, format, precision, output / f"base-{precision}", "base"), *parts]


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
    if model.importance is not None:
        parts["importance"] = files.sha256_file(model.importance)
    if model.adapter_folder is not None:
        parts["adapter"] = dict(files.sha256_files(model.adapter_folder))
    elif model.run is not None:
        parts["weights"] = [files.sha256_file(file) for file in weight_files(model.base_folder)]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
