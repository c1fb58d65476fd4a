"""From a run or a model to artifacts, through whatever exporter has the format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edgetune.adapters.tuned import is_adapter_folder, tuned_from_adapter, tuned_from_model, tuned_model
from edgetune.artifact import Artifact, is_artifact
from edgetune.errors import ExportError
from edgetune.exporters import TunedModel, find_exporter, used_importance
from edgetune.exporting_parts import Part, merged_parts, require_task, separate_parts
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
        only_plan: nothing will be written, so nothing is collected and no file is kept.
    """

    model: TunedModel
    output: Path
    exports: tuple[ExportSettings, ...] = ()
    run: Run | None = None
    only_plan: bool = False

    def parts(self, wanted: Wanted, output: Path | None = None) -> list[Part]:
        """The artifacts to write, the base of an adapter before it.

        Args:
            wanted: how.
            output: folder of the artifacts, if not :attr:`output`.

        Raises:
            ExportError: there is no such precision, or nothing to keep apart.
        """
        target = output or self.output
        if wanted.separate and self._weighted:
            raise ExportError(
                "an imatrix is of a whole model, and a base that adapters share is none of theirs",
                hint="leave --imatrix out, or --adapter separate",
            )
        if wanted.separate:
            return separate_parts(self.model, wanted.format, wanted.quants, wanted.with_base, target)
        if wanted.with_base:
            raise ExportError("a merged model needs no base beside it", hint="add --adapter separate")
        if wanted.quants:
            return self.merged(wanted.format, wanted.quants, target)
        return self.usual_parts(wanted.format, target)

    def merged(self, format: str, quants: Sequence[str], output: Path) -> list[Part]:
        """Whole models, each with what its rounding has to know of the inputs: of a run that is collected.

        Raises:
            ExportError: there is no such precision, or it needs a run.
        """
        parts = [part for quant in quants for part in self._merged(format, quant, output)]
        return list({part.folder: part for part in parts}.values())

    def _merged(self, format: str, quant: str, output: Path) -> list[Part]:
        from edgetune.importance.keeping import importance_of

        require_task(find_exporter(format), self.model)
        # A classifier has precisions of its own, and none of them reads an imatrix.
        needed = used_importance(format, (quant,)) if self.model.task == "generation" else None
        if needed is None:  # what nothing reads must not make another artifact of it
            plain = replace(self.model, importance=None, importance_follows=False)
            return merged_parts(plain, format, (quant,), output)
        if needed == "squares" or self._weighted:
            return merged_parts(self.model, format, (quant,), output)
        if self.run is None:
            raise ExportError(
                f"{quant} rounds by what is measured of a model, and nothing but a run has rows to measure it with",
                hint=f"choose another precision, such as {find_exporter(format).default_precision}",
            )
        if needed == "curvature":  # its types are chosen by it: without, there is nothing to plan
            return merged_parts(weighted(self, format, "auto", quants=(quant,)).model, format, (quant,), output)
        collect = partial(importance_of, self.run, format, None, needed)
        return [replace(part, collect=collect) for part in merged_parts(self.model, format, (quant,), output)]

    def usual_parts(self, format: str, output: Path) -> list[Part]:
        """What to write when nobody says: what the recipe asks for, else the format's default."""
        found: list[Part] = []
        for settings in self._asked(format):
            quants = quants_of(settings)
            collected = settings.imatrix and not self._weighted
            source = weighted(self, format, "auto", quants=quants) if collected else self
            found += source.merged(format, quants, output)
        return found

    def usual_quants(self, format: str) -> tuple[str, ...]:
        """The precisions of :meth:`usual_parts`."""
        return tuple(dict.fromkeys(quant for settings in self._asked(format) for quant in quants_of(settings)))

    @property
    def _weighted(self) -> bool:
        return self.model.importance is not None or self.model.importance_follows

    def _asked(self, format: str) -> list[ExportSettings]:
        return [settings for settings in self.exports if settings.format == format] or [ExportSettings(format=format)]


def weighted(source: Source, format: str, imatrix: str, text: Path | None = None, quants: Sequence[str] = ()) -> Source:
    """The same, to be quantised with the importance of its inputs in mind; a plan alone takes what is there.

    Args:
        source: what is exported.
        format: name of an exporter.
        imatrix: a file, or ``auto``: collected from a run's training rows and general text.
        text: that general text; default: Python's documentation.
        quants: precisions that it is for: some need more to be collected.

    Raises:
        ExportError: ``auto`` for what is not a run, or the format has no use for it.
        DataError: no text.
    """
    from edgetune.importance.keeping import adopt, collected_before, importance_of

    named = quants or source.usual_quants(format)
    collected = used_importance(format, named)
    if collected is None:
        raise ExportError(
            f"{', '.join(named)} of the format '{format}' has no use for an imatrix", hint="leave --imatrix out"
        )
    if imatrix != "auto":
        if text is not None:
            raise ExportError("a given imatrix needs no text", hint="leave --imatrix-text out, or use --imatrix auto")
        given = Path(imatrix).expanduser()
        weighed = replace(source.model, importance=given)
        for quant in (quant for quant in named if used_importance(format, (quant,))):
            find_exporter(format).plan(weighed, quant)  # before it is copied: what cannot be used is not kept
        file = adopt(source.run, format, given) if source.run and not source.only_plan else given
    elif source.run is None:
        raise ExportError(
            "only a run has training rows to collect an imatrix from", hint="give an imatrix file: --imatrix FILE"
        )
    elif source.only_plan:
        before = collected_before(source.run, format, text, collected)
        return replace(source, model=replace(source.model, importance=before, importance_follows=before is None))
    else:
        file = importance_of(source.run, format, text, collected)
    return replace(source, model=replace(source.model, importance=file))


def quants_of(settings: ExportSettings) -> tuple[str, ...]:
    """What a recipe's export asks for, else the format's default.

    Raises:
        ExportError: there is no such format.
    """
    return settings.quant or (find_exporter(settings.format).default_precision,)


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
    source = Source(tuned_model(run), output or run.exports_folder, (), run)
    precision = quant or find_exporter(format).default_precision
    (part,) = source.merged(format, (precision,), source.output)
    return part.write()


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
