"""The run: one folder with everything that came out of a recipe.

::

    runs/smart-home-3fa9c2d1/
      recipe.yaml        every resolved value
      origins.json       where each value came from: flag, environment, recipe or default
      manifest.json      hashes, versions, seed, state, what the adapter was trained against
      data/              the rows as used: train.jsonl, heldout.jsonl (messages format), replay.jsonl; images/
      checkpoints/       checkpoint-N/, each with a seal once it is whole
      adapter/ | model/  the result: a PEFT folder, or whole weights (safetensors)
      tokenizer/         the tokenizer and chat template trained with
      preprocessing/     of an image classifier, in its place: how pictures are prepared for the model
      metrics.jsonl      one line an event
      evaluations/       base.json, tuned.json, one for each artifact; general-*.json of the same
      exports/           one artifact folder each
      importance/        how strongly inputs are used, for quantisers: gguf-3fa9c2d1b07e.gguf
      merge.json         which base the adapter was merged into by `edgetune merge`, and why
      merged/            the merged model, a Hugging Face folder
      report/            report.html and what it shows: charts/ as PNG, report.json
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import Field, ValidationError

from edgetune import files
from edgetune.errors import EdgetuneError, InUse, RecipeError
from edgetune.recipe import Recipe, Resolved, to_yaml, validate
from edgetune.stored import Stored, write_stored

#: What rows are for. Only a run whose recipe gives some has rows to replay or for validation.
ROWS = ("train", "replay", "validation", "heldout")
#: created → prepared (data and base are fixed) → trained.
State = Literal["created", "prepared", "training", "trained"]

#: What the adapter's weights were trained on top of; a merge must add them to exactly that.
TrainedAgainst = Literal["base", "nf4"]


class RunManifest(Stored):
    """What a run is made of, as stored in ``manifest.json``."""

    schema_version: Literal[1] = 1
    state: State = "created"
    edgetune: str
    created: str
    """UTC, ISO 8601."""
    seed: int
    versions: dict[str, str] = Field(default={})
    """Installed versions of the packages that touch the numbers."""
    base_source: str = ""
    """As written in the recipe; a path made absolute."""
    base_folder: str = ""
    """Where the base lies as safetensors on this machine (a cache folder, or the user's own)."""
    base_sha256: str = ""
    """Hash over the base's weight files; of the GGUF file where it came from one."""
    base_config_sha256: str = ""
    """Of its config.json; empty in runs from before it was recorded."""
    base_origin: str = ""
    """In words: for instance that the base is a reconstruction of a Q4_1 GGUF."""
    sources_sha256: dict[str, str] = Field(default={})
    """Of each file that the recipe names, when the run was prepared; empty in runs from before it was recorded."""
    script_wrote: tuple[str, ...] = ()
    """Of the keys above and those that came later: what the data script itself wrote; ending in ``/``, a folder."""
    data_sha256: dict[str, str] = Field(default={})
    """train, heldout, replay and so on, as used."""
    tokenizer_sha256: str = ""
    chat_template_sha256: str = ""
    labels: tuple[str, ...] = ()
    """Of a classifier: names of the classes, in the order of the model's outputs."""
    max_tokens: int = 0
    """text-classification: longest text, special tokens included; of a longer one the beginning is read."""
    preprocessing_sha256: str = ""
    """image-classification: of the file that says how pictures are prepared for the model."""
    trained_against: TrainedAgainst | None = None
    quantised_modules: tuple[str, ...] = ()
    """With trained_against nf4: names of the linear layers that were quantised."""
    method: str = ""
    choices: dict[str, str] = Field(default={})
    """Automatic choices (device, dtype, packing, …) with their reasons."""
    result_sha256: dict[str, str] = Field(default={})
    """Hash of each file of the result, as training wrote it; empty in runs from before it was recorded."""
    result: dict[str, Any] = Field(default={})
    """Figures of the training: steps, seconds, best evaluation loss, tokens and rows a second, peak memory in bytes."""


@dataclass(frozen=True)
class Run:
    """A run folder. All its paths come from here."""

    folder: Path

    @property
    def data_folder(self) -> Path:
        return self.folder / "data"

    @property
    def train_file(self) -> Path:
        return self.rows_file("train")

    @property
    def heldout_file(self) -> Path:
        return self.rows_file("heldout")

    @property
    def evaluation_rows_file(self) -> Path:
        """The rows that choose the checkpoint: those for validation, or else the held-out ones."""
        own = self.rows_file("validation")
        return own if own.is_file() else self.heldout_file

    @property
    def row_files(self) -> dict[str, Path]:
        """Every file of rows that the run has, by what it is for."""
        return {name: path for name in ROWS if (path := self.rows_file(name)).is_file()}

    def rows_file(self, name: str) -> Path:
        """Where the rows for one of :data:`ROWS` are."""
        return self.data_folder / f"{name}.jsonl"

    @property
    def adapter_folder(self) -> Path:
        return self.folder / "adapter"

    @property
    def model_folder(self) -> Path:
        return self.folder / "model"

    @property
    def tokenizer_folder(self) -> Path:
        return self.folder / "tokenizer"

    @property
    def preprocessing_folder(self) -> Path:
        """What pictures are prepared with, as transformers stores it."""
        return self.folder / "preprocessing"

    @property
    def inputs_folder(self) -> Path:
        """What turns texts, or pictures, into what the model reads."""
        return self.preprocessing_folder if self.preprocessing_folder.is_dir() else self.tokenizer_folder

    @property
    def checkpoints_folder(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def metrics_file(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def exports_folder(self) -> Path:
        return self.folder / "exports"

    def importance_file(self, name: str) -> Path:
        """Where the importance of inputs is kept, in the way of an exporter."""
        return self.folder / "importance" / name

    @property
    def importance_files(self) -> list[Path]:
        """All that are kept."""
        found = self.importance_file("").glob("[!.]*")  # not what is just being written, or was left half written
        return sorted(file for file in found if file.is_file() and file.suffix != ".json")

    @property
    def merge_file(self) -> Path:
        return self.folder / "merge.json"

    @property
    def merged_folder(self) -> Path:
        return self.folder / "merged"

    @property
    def resume_command(self) -> str:
        """What goes on with this run."""
        return f"edgetune train --resume {shlex.quote(str(self.folder))}"

    def evaluation_file(self, subject: str) -> Path:
        """Where the evaluation of ``base``, ``tuned`` or an artifact's name is stored."""
        return self.folder / "evaluations" / f"{subject}.json"

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe as stored."""
        import yaml

        path = self.folder / "recipe.yaml"
        try:
            return validate(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
        except (OSError, yaml.YAMLError) as error:
            raise RecipeError(f"cannot read {path}: {error}", hint="the run folder is damaged; train again") from error

    @property
    def manifest(self) -> RunManifest:
        """The manifest as stored."""
        path = self.folder / "manifest.json"
        try:
            return RunManifest.model_validate_json(path.read_bytes())
        except OSError as error:
            raise EdgetuneError(
                f"{self.folder} is not a run folder: no manifest.json",
                hint="give the folder that `edgetune train` printed",
            ) from error
        except ValidationError as error:
            if not is_run(self.folder):
                raise EdgetuneError(
                    f"{self.folder} is not a run folder: manifest.json is of something else, and recipe.yaml missing",
                    hint="give the folder that `edgetune train` printed",
                ) from error
            raise EdgetuneError(
                f"{path} is damaged: {error.errors()[0]['msg']}", hint="train again, or restore the run folder"
            ) from error

    def update_manifest(self, **changes: Any) -> RunManifest:
        """Replace fields of the manifest, atomically."""
        manifest = RunManifest.model_validate(self.manifest.model_dump() | changes)
        write_stored(self.folder / "manifest.json", manifest)
        return manifest

    def require_trained(self) -> RunManifest:
        """The manifest, if training has ended.

        Raises:
            EdgetuneError: training has not ended; the hint resumes it.
        """
        manifest = self.manifest
        if manifest.state != "trained":
            raise EdgetuneError(f"{self.folder} is not trained yet (state: {manifest.state})", hint=self.resume_command)
        return manifest

    def require_generating(self, what: str) -> None:
        """Check that the run's model generates text.

        Args:
            what: is for such models only.

        Raises:
            EdgetuneError: it does something else.
        """
        kind = self.recipe.task.kind
        if kind != "generation":
            raise EdgetuneError(
                f"{what} is for models that generate, and {self.folder} is for {kind}",
                hint=f"of a classifier there are: edgetune eval, export, verify, bench and report {self.folder}",
            )


def create_run(resolved: Resolved, folder: Path, *, created: str, version: str) -> Run:
    """Make a new run folder with recipe, origins and manifest.

    Raises:
        RecipeError: ``folder`` exists and is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RecipeError(f"{folder} exists and is not empty", hint="choose another folder with --output")
    recipe = resolved.recipe
    with files.atomic_path(folder) as temporary:
        if folder.exists():
            shutil.rmtree(folder)
        temporary.mkdir()
        (temporary / "recipe.yaml").write_text(to_yaml(recipe), encoding="utf-8")
        (temporary / "origins.json").write_text(json.dumps(_origins(resolved), indent=2) + "\n", encoding="utf-8")
        manifest = RunManifest(
            edgetune=version,
            created=created,
            seed=recipe.train.seed,
            base_source=recipe.model.source,
            method=recipe.method.kind,
        )
        (temporary / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return Run(folder)


def open_run(folder: Path) -> Run:
    """Open an existing run folder.

    Raises:
        EdgetuneError: it is not a run folder, or its manifest is damaged.
    """
    run = Run(folder)
    _ = run.manifest
    return run


def is_run(folder: Path) -> bool:
    """Whether ``folder`` looks like a run."""
    return (folder / "manifest.json").is_file() and (folder / "recipe.yaml").is_file()


def run_around(path: Path) -> Run | None:
    """The run that a path is or lies in: the nearest one."""
    where = path.resolve()
    return next((Run(folder) for folder in (where, *where.parents) if is_run(folder)), None)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let no other process train in ``folder`` meanwhile. The lock, a file beside it, ends with this process.

    Raises:
        InUse: another process trains there.
    """

    def refuse(holder: str) -> NoReturn:
        raise InUse(
            f"{folder} is being trained by another edgetune: {holder}",
            hint="wait until it has ended, or train in another folder: --output FOLDER",
        )

    whole = folder.resolve()
    with files.locked(whole.with_name(f".{whole.name}.lock"), refuse):
        yield


def _origins(resolved: Resolved) -> Mapping[str, Mapping[str, Any]]:
    values = resolved.recipe.model_dump(mode="json")

    def value(key: str) -> Any:
        node: Any = values
        for part in key.split("."):
            node = node[part]
        return node

    return {key: {"value": value(key), "origin": origin} for key, origin in sorted(resolved.origins.items())}
