"""From a run or a model to artifacts, through whatever exporter has the format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from edgetune import __version__, console, files
from edgetune.adapters.tuned import tuned_from_model, tuned_model
from edgetune.artifact import Artifact, is_artifact, open_artifact, write_manifest
from edgetune.errors import ArtifactError, ExportError
from edgetune.exporters import ExportPlan, TunedModel, find_exporter
from edgetune.models.weights import weight_files
from edgetune.recipe import ExportSettings, ModelSettings
from edgetune.run import Run, is_run, open_run


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

    def precisions(self, format: str) -> tuple[str, ...]:
        """What to write when nobody says: what the recipe asks for, else the format's default."""
        wanted = tuple(quant for settings in self.exports if settings.format == format for quant in settings.quant)
        return wanted or ExportSettings().quant


def find_source(subject: str) -> Source:
    """Open a run folder, or a model: a hub id, a folder, a .gguf file, or ``pkg:PACKAGE/FILE``.

    Raises:
        EdgetuneError: the run is not trained, or the model cannot be read.
        ExportError: it is an artifact already.
    """
    path = Path(subject).expanduser()
    if path.is_dir() and is_run(path):
        run = open_run(path)
        return Source(tuned_model(run), run.exports_folder, run.recipe.exports, run)
    if path.is_dir() and is_artifact(path):
        raise ExportError(f"{path} is an artifact already", hint="give the run it came from, or its .gguf file")
    model = tuned_from_model(ModelSettings(source=subject), Path.cwd())
    return Source(model, Path("exports") / model.name)


def export(run: Run, format: str, quant: str, output: Path | None = None) -> Artifact:
    """Export a run's result in one precision.

    Args:
        run: trained.
        format: name of an exporter, such as ``gguf``.
        quant: one of its precisions.
        output: folder that gets a folder named after the precision; default: the run's ``exports``.

    Raises:
        EdgetuneError, ExportError, ModelError, ResourceError
    """
    return export_model(tuned_model(run), format, quant, output or run.exports_folder)


def export_model(model: TunedModel, format: str, quant: str, output: Path) -> Artifact:
    """Export a model in one precision into ``output/PRECISION``.

    Nothing is written when the artifact there was made from the very same inputs and is whole.
    """
    exporter = find_exporter(format)
    precision = exporter.plan(model, quant).precision
    folder = output / precision
    digest = inputs_sha256(model, format, precision)
    if (present := _unchanged(folder, digest)) is not None:
        console.note(f"{folder} is up to date")
        return present
    artifact = exporter.export(model, precision, folder)
    assert artifact.manifest is not None, "exporters write a manifest"
    return write_manifest(folder, artifact.manifest.model_copy(update={"inputs_sha256": digest}))


def plan_exports(model: TunedModel, format: str, quants: Sequence[str], output: Path) -> list[ExportPlan]:
    """Check all exports before the first one starts, the disk space for all of them included.

    Raises:
        ExportError: a precision is unknown, or the model cannot be exported.
        ResourceError: the disk is too small for all of them.
    """
    exporter = find_exporter(format)
    plans = {plan.precision: plan for plan in (exporter.plan(model, quant) for quant in quants)}
    missing = [plan for plan in plans.values() if not (output / plan.precision).exists()]
    files.require_disk(output, sum(plan.size_bytes for plan in missing), f"exporting {model.name}")
    return list(plans.values())


def inputs_sha256(model: TunedModel, format: str, precision: str) -> str:
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
