"""What can be evaluated, how it is opened, and when a stored evaluation still holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgetune import __version__, files
from edgetune.adapters.tuned import trained_base
from edgetune.adapters.unchanged import require_as_trained, require_tokenizer
from edgetune.artifact import Artifact, read_artifact, require_whole
from edgetune.data.reading import load_rows
from edgetune.errors import EdgetuneError
from edgetune.evaluation.classification import evaluate_classifier
from edgetune.evaluation.evaluate import Subject, evaluate
from edgetune.evaluation.figures import part
from edgetune.evaluation.loss import torch_losses
from edgetune.evaluation.record import Basis, Evaluation, load_if_covers, store
from edgetune.evaluation.rows import choose_rows
from edgetune.models.base import gguf_path, resolve_base
from edgetune.recipe import ModelSettings, Recipe, TaskSettings, TrainSettings
from edgetune.run import Run
from edgetune.runtimes import open_runtime
from edgetune.runtimes.pairing import on_base

if TYPE_CHECKING:
    from edgetune.runtimes.torch_runtime import TorchRuntime


@dataclass(frozen=True)
class Settings:
    """How to evaluate.

    Attributes:
        metrics: names as in ``task.metrics``.
        max_new_tokens: longest answer.
        system: system prompt for rows that have none; None: what the model itself says.
        limit: at most this many rows, chosen by seed; a smaller limit takes a part of a larger one's rows.
        seed: of that choice.
    """

    metrics: tuple[str, ...] = TaskSettings().metrics
    max_new_tokens: int = TaskSettings().max_new_tokens
    system: str | None = None
    limit: int | None = None
    seed: int = TrainSettings().seed

    @classmethod
    def of(cls, recipe: Recipe, limit: int | None = None) -> Settings:
        """The settings of a recipe; ``limit`` can only tighten ``data.heldout_limit``."""
        limits = [number for number in (limit, recipe.data.heldout_limit) if number is not None]
        return cls(
            metrics=recipe.task.metrics,
            max_new_tokens=recipe.task.max_new_tokens,
            system=recipe.task.system,
            limit=min(limits, default=None),
            seed=recipe.train.seed,
        )


@dataclass(frozen=True)
class Opening:
    """Something that can be opened, known by hash before it is.

    Attributes:
        name: for people and for the stored file.
        weights_sha256: of the weights that would be opened.
        runtime: that would run it.
        open: does it.
        system: system prompt that the thing itself carries.
        chat_template: hash of a template that replaces the model's own.
    """

    name: str
    weights_sha256: str
    runtime: str
    open: Callable[[], Subject]
    system: str | None = None
    chat_template: str | None = None


def evaluate_run(
    run: Run,
    subject: Literal["base", "tuned"] | Path | Artifact,
    *,
    limit: int | None = None,
    data: Path | None = None,
    again: bool = False,
) -> Evaluation:
    """Evaluate a run's base, its tuned model, or one of its artifacts, and store the result in the run.

    A stored evaluation is returned instead if weights, data and settings are the same.

    Args:
        run: base needs its data to be prepared; tuned needs it to be trained.
        subject: ``base``, ``tuned``, or an artifact or its path.
        limit: at most this many rows; ``data.heldout_limit`` holds too.
        data: other rows than the run's held-out ones.
        again: compute it even if it is stored.

    Raises:
        EdgetuneError: the run is not trained yet, or is not what training wrote; else see
            :func:`edgetune.evaluation.evaluate.evaluate`.
    """
    if run.recipe.task.kind != "generation":
        return evaluate_classifier(run, subject, limit=limit, data=data, again=again)
    if isinstance(subject, Path | Artifact):
        artifact = on_base(subject if isinstance(subject, Artifact) else read_artifact(subject))
        require_whole(artifact)
        opening = artifact_opening(artifact)
    else:
        opening = base_opening(run) if subject == "base" else tuned_opening(run)
        if subject == "tuned":
            require_as_trained(run)  # a stored figure is not one of a changed tokenizer
    name = opening.name if data is None else f"{opening.name}-{files.sha256_file(data)[:8]}"
    stored = run.evaluation_file(name)
    return measure(opening, data or run.heldout_file, Settings.of(run.recipe, limit), stored, again=again)


def measure(
    opening: Opening, data: Path, settings: Settings, stored: Path | None = None, *, again: bool = False
) -> Evaluation:
    """Evaluate on a data file, or take what is stored if it rests on the same weights, data and settings.

    A stored evaluation of more rows serves too: its part is returned, and the file stays as it is.

    Args:
        opening: what to evaluate.
        data: rows in any format.
        settings: how.
        stored: where the result is kept; None: nowhere.
        again: do not look at what is stored.
    """
    loaded = load_rows(data).raise_on_problems()
    basis = Basis(
        weights_sha256=opening.weights_sha256,
        data_sha256=files.sha256_file(data),
        rows=choose_rows(len(loaded.rows), settings.limit, settings.seed),
        runtime=opening.runtime,
        metrics=settings.metrics,
        max_new_tokens=settings.max_new_tokens,
        system=settings.system if settings.system is not None else opening.system,
        chat_template=opening.chat_template,
        edgetune=__version__,
    )
    if stored and not again and (known := load_if_covers(stored, basis)):
        return known if known.basis == basis else part(known, basis.rows)
    with opened(opening) as subject:
        if basis.system is None and stored is None:
            # A bare model file may carry one; what a run trained with is in its recipe.
            basis = basis.model_copy(update={"system": subject.runtime.system})
        evaluation = evaluate(subject, loaded.rows, basis)
    if stored:
        store(stored, evaluation)
    return evaluation


def artifact_opening(artifact: Artifact, name: str | None = None, notes: tuple[str, ...] = ()) -> Opening:
    """An exported artifact, or a bare model file."""
    manifest = artifact.manifest
    return Opening(
        name=name or artifact.name,
        weights_sha256=files.sha256_json(artifact.sha256),
        runtime=artifact.runtime,
        open=lambda: Subject(name or artifact.name, open_runtime(artifact), notes=notes),
        system=manifest.system if manifest else None,
    )


def tuned_opening(run: Run) -> Opening:
    """The trained model in torch: the reference that exports are held against."""
    manifest = run.require_trained()
    folder = run.model_folder if run.model_folder.is_dir() else run.adapter_folder
    hashes = {"base": manifest.base_sha256} | dict(files.sha256_files(folder))
    return Opening(
        "tuned",
        files.sha256_json(hashes),
        "torch",
        partial(_open_torch, "tuned", run),
        chat_template=manifest.chat_template_sha256,
    )


def base_opening(run: Run, *, in_torch: bool = False) -> Opening:
    """The untuned base: in llama.cpp where it is a GGUF file, else in torch.

    Args:
        run: with its base prepared.
        in_torch: also a GGUF file, as it was trained on: where nothing but the training shall differ.
    """
    manifest = run.manifest
    if not manifest.base_folder:
        raise EdgetuneError(f"{run.folder} has no base model yet", hint=run.resume_command)
    require_tokenizer(run)
    gguf = None if in_torch else _gguf_base(run)
    if gguf is not None:
        note = f"the base is a GGUF file, so it ran in llama.cpp as it is: {gguf.name}"
        return artifact_opening(Artifact(gguf, None), "base", (note,))
    return Opening(
        "base",
        manifest.base_sha256,
        "torch",
        lambda: _open_torch("base", trained_base(run).folder, run.tokenizer_folder),
        chat_template=manifest.chat_template_sha256,
    )


def model_opening(source: str) -> Opening:
    """A model as ``model.source`` names one: a GGUF file in llama.cpp, anything else in torch.

    Raises:
        ModelError: there is none.
    """
    gguf = gguf_path(source, Path())
    if gguf is not None:
        return artifact_opening(Artifact(gguf, None), source)
    base = resolve_base(ModelSettings(source=source), Path())
    return Opening(source, base.sha256, "torch", partial(_open_torch, source, base.folder))


def _gguf_base(run: Run) -> Path | None:
    """The GGUF file that the base was made from, if it is still there, the same, and has the template trained with."""
    if run.recipe.model.chat_template:
        return None
    path = gguf_path(run.manifest.base_source, Path())
    return path if path and files.sha256_file(path) == run.manifest.base_sha256 else None


def _open_torch(name: str, where: Run | Path, tokenizer: Path | None = None) -> Subject:
    from edgetune.models import load_model, load_tokenizer
    from edgetune.runtimes.torch_runtime import TorchRuntime, open_torch
    from edgetune.training.devices import choose_device

    choice = choose_device("auto")
    device = choice.value
    if tokenizer is None:
        runtime = open_torch(where, device=device)
    else:
        assert isinstance(where, Path)
        runtime = TorchRuntime(load_model(where, dtype="float32", device=device), load_tokenizer(tokenizer))
    return torch_subject(name, runtime, (f"ran on {choice}",))


def torch_subject(name: str, runtime: TorchRuntime, notes: tuple[str, ...] = ()) -> Subject:
    """An open torch model, with losses computed in batches."""
    return Subject(name, runtime, losses=partial(torch_losses, runtime.model), notes=notes)


@contextmanager
def opened(opening: Opening) -> Iterator[Subject]:
    """Open it, and free its memory afterwards."""
    subject = opening.open()
    try:
        yield subject
    finally:
        subject.runtime.close()
