"""What turns texts, or pictures, into what the model reads: fixed in a run when it is prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edgetune import files
from edgetune.images.preprocessing import CONFIG, Preprocessing
from edgetune.models import Base, hash_template, hash_tokenizer, load_tokenizer
from edgetune.models.image_processor import checked_preprocessing
from edgetune.recipe import Resolved
from edgetune.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Inputs(Protocol):
    """What the base's files say of how it is fed."""

    def write(self, run: Run) -> dict[str, str]:
        """Store it in a run; returns the fields of the manifest that hold its hashes."""
        ...


def inputs_of(resolved: Resolved, base: Base) -> Inputs:
    """The tokenizer, or how pictures are prepared.

    Raises:
        ModelError: the base does not say, or it cannot be used.
    """
    if resolved.recipe.task.kind == "image-classification":
        return PictureInputs(checked_preprocessing(base.folder, resolved.recipe.data.image_size))
    template = resolved.recipe.model.chat_template
    return TextInputs(load_tokenizer(base.folder, resolved.locate(template) if template else None))


@dataclass(frozen=True)
class TextInputs:
    """A tokenizer with its chat template."""

    tokenizer: PreTrainedTokenizerBase

    def write(self, run: Run) -> dict[str, str]:
        """As transformers saves it; the hashes are those of what was saved."""
        with files.atomic_path(run.tokenizer_folder) as temporary:
            self.tokenizer.save_pretrained(temporary)
        saved = load_tokenizer(run.tokenizer_folder)
        return {"tokenizer_sha256": hash_tokenizer(saved), "chat_template_sha256": hash_template(saved)}


@dataclass(frozen=True)
class PictureInputs:
    """How pictures are prepared, every value written out."""

    preprocessing: Preprocessing

    def write(self, run: Run) -> dict[str, str]:
        """As ``preprocessor_config.json``."""
        file = run.preprocessing_folder / CONFIG
        files.write_json(file, self.preprocessing.to_config())
        return {"preprocessing_sha256": files.sha256_file(file)}
