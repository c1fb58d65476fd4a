"""The importance of inputs that belongs to a run: collected once, kept beside its results."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from edgetune import __version__, console, files
from edgetune.adapters.tuned import tuned_model
from edgetune.data.encoding import Encoded
from edgetune.errors import DataError, ExportError
from edgetune.exporters import Collected, Importance, UsesImportance, find_exporter
from edgetune.importance.collecting import collect, passages, rows_within
from edgetune.importance.curving import ROWS, curvature
from edgetune.memory import memory_errors
from edgetune.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Tokens of the training rows, and as many of general text (docs/decisions/0009-few-bits.md).
TOKENS = 10_000
#: Longest row where the recipe does not say.
_LONGEST = 2048
#: After the format, in the name of a file.
_NAMES: dict[Collected, str] = {"squares": "", "curvature": "-curved", "products": "-products"}
#: Kept beside others of its kind, since what was rounded by it is verified by it. Products are large, and nothing is.
_STAYING: tuple[Collected, ...] = ("squares", "curvature")
#: Before the name of a text that nobody chose.
_PYTHON = "Python's documentation (pydoc_data)"


@dataclass(frozen=True)
class Text:
    """General text, so that what the training rows never use is not thought useless.

    Attributes:
        name: where it is from, for people.
        text: the whole of it.
    """

    name: str
    text: str


def general_text(file: Path | None) -> Text:
    """The text of a file; without one the documentation of Python's language, which every Python carries.

    Raises:
        DataError: the file cannot be read as text, or is empty.
    """
    if file is None:
        from pydoc_data.topics import topics

        return Text(_PYTHON, "\n\n".join(topics[name] for name in sorted(topics)))
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file} as text: {error}", hint="give a text file in UTF-8") from error
    if not text.strip():
        raise DataError(f"{file} is empty", hint="give some pages of text")
    return Text(file.name, text)


def importance_of(run: Run, format: str, text_file: Path | None = None, collected: Collected = "squares") -> Path:
    """The run's importance file for a format; collected unless it is there, of the same weights, rows and text.

    One of other weights, rows or text stays beside it where artifacts are verified by it.

    Args:
        run: trained.
        format: of an exporter that uses it.
        text_file: general text; default: see :func:`general_text`.
        collected: how much; each is kept apart.

    Raises:
        ExportError: there is no such exporter, or it has no use for it.
        DataError: no text, or rows that cannot be encoded.
        ModelError: the trained model cannot be loaded.
    """
    place = _place(run, format, text_file, collected)
    file = place.file
    if place.is_filled:
        console.note(f"importance of inputs: {file}, as collected before")
        return file
    found = _collect(run, place.text, collected)
    file.parent.mkdir(exist_ok=True)
    _user(format).write_importance(tuned_model(run), found, file)
    files.write_text(place.seal, json.dumps({"basis": place.basis, "sha256": files.sha256_file(file)}) + "\n")
    console.note(f"importance of inputs: {file}, over {found.tokens} tokens of {' and '.join(found.texts)}")
    return file


def collected_before(
    run: Run, format: str, text_file: Path | None = None, collected: Collected = "squares"
) -> Path | None:
    """What :func:`importance_of` would give if it is there already; None: it would have to be collected.

    Raises:
        ExportError, DataError: as there.
    """
    place = _place(run, format, text_file, collected)
    return place.file if place.is_filled else None


@dataclass(frozen=True)
class _Place:
    """Where a run keeps what was collected of certain weights, rows and text, and the hash over these."""

    file: Path
    basis: str
    text: Text

    @property
    def seal(self) -> Path:
        return self.file.with_suffix(".json")

    @property
    def is_filled(self) -> bool:
        expected = {"basis": self.basis, "sha256": files.sha256_file(self.file)} if self.file.is_file() else None
        return expected is not None and _sealed(self.seal) == expected


def _place(run: Run, format: str, text_file: Path | None, collected: Collected) -> _Place:
    run.require_generating("an imatrix")
    suffix, text = _user(format).importance_suffix, general_text(text_file)
    basis = _basis(run, text)
    part = f"-{basis[:12]}" if collected in _STAYING else ""
    return _Place(run.importance_file(f"{format}{_NAMES[collected]}{part}{suffix}"), basis, text)


def adopt(run: Run, format: str, file: Path) -> Path:
    """Keep a copy of an importance file that was made elsewhere, so that what it is used for can be verified.

    Raises:
        ExportError: the format has no use for it, or there is no such file.
    """
    suffix = _user(format).importance_suffix
    if not file.is_file():
        raise ExportError(f"no such imatrix: {file}", hint="collect one: --imatrix auto")
    kept = run.importance_file(f"{format}-{files.sha256_file(file)[:12]}{suffix}")
    kept.parent.mkdir(exist_ok=True)
    if not kept.is_file():
        with files.atomic_path(kept) as temporary:
            shutil.copyfile(file, temporary)
    return kept


def kept_importance(run: Run, sha256: str | None) -> Path | None:
    """The run's importance file with that hash."""
    if sha256 is None:
        return None
    return next((file for file in run.importance_files if files.sha256_file(file) == sha256), None)


def _user(format: str) -> UsesImportance:
    exporter = find_exporter(format)
    if not isinstance(exporter, UsesImportance):
        raise ExportError(f"the format '{format}' has no use for an imatrix", hint="leave --imatrix out")
    return exporter


def _collect(run: Run, text: Text, collected: Collected) -> Importance:
    from edgetune.models import load_tokenizer
    from edgetune.runtimes.torch_runtime import open_torch
    from edgetune.training.devices import choose_device

    seed, tokenizer = run.recipe.train.seed, load_tokenizer(run.tokenizer_folder)
    rows = _training_rows(run, tokenizer)
    own = rows_within([row.input_ids for row in rows], TOKENS, seed)
    general = passages(
        tokenizer(text.text, add_special_tokens=False, verbose=False)["input_ids"], sum(map(len, own)), seed
    )
    runtime = open_torch(run, device=choose_device("auto").value)
    try:
        curved: dict[str, float] = {}
        with memory_errors("choose a precision that needs less to be known of the model"):
            if collected != "squares":  # first: products stay in memory
                chosen = Random(seed).sample(list(rows), min(len(rows), ROWS))  # noqa: S311  # no secret
                curved = curvature(runtime.model, chosen, seed)
            names = ("training rows", text.name)
            found = collect(runtime.model, [*own, *general], names, products=collected == "products")
        return replace(found, curvature=curved)
    finally:
        runtime.close()


def _training_rows(run: Run, tokenizer: PreTrainedTokenizerBase) -> Sequence[Encoded]:
    from edgetune.data.reading import load_rows
    from edgetune.data.templating import encode_all

    recipe = run.recipe
    rows = load_rows(run.train_file).raise_on_problems().rows
    longest = recipe.data.max_tokens or _LONGEST
    return encode_all(rows, tokenizer, recipe.task.system, longest, "truncate").rows


def _basis(run: Run, text: Text) -> str:
    """Hash over all that decides what is collected."""
    from edgetune.evaluation.subjects import tuned_opening

    parts = (
        __version__, tuned_opening(run).weights_sha256, files.sha256_file(run.train_file), text.text, TOKENS,
        run.recipe.task.system, run.recipe.train.seed,
    )  # fmt: skip
    return files.sha256_text(repr(parts))


def _sealed(seal: Path) -> dict[str, str] | None:
    try:
        found = json.loads(seal.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
