"""Models with a head that chooses one of some classes: a base that gets a new head, or one that has been trained.

The head is what lies outside the body, and whatever of the body a base lacks (some are stored without their pooler). It
is drawn at random where the base has none for these classes, so it must be trained and stored whole. Everything else
must be in the weights, as for any other model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgetune.errors import ModelError
from edgetune.models.identity import context_length
from edgetune.models.loading import load_config, read_weights, require_complete
from edgetune.recipe import TaskKind

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

#: transformers' automatic class for each kind of task.
KINDS: Mapping[TaskKind, str] = {
    "text-classification": "AutoModelForSequenceClassification",
    "image-classification": "AutoModelForImageClassification",
}
#: Between the body and the head: some bases are stored without it.
POOLER = "pooler"


@dataclass(frozen=True)
class Opened:
    """A classifier in memory.

    Attributes:
        model: with as many outputs as there are classes.
        head: names of the modules that must be trained and stored whole.
        missing: those of them that are drawn at random, as the files do not have them.
    """

    model: PreTrainedModel
    head: tuple[str, ...]
    missing: tuple[str, ...]


def open_classifier_base(  # noqa: PLR0913  # what can be said of a model
    folder: Path,
    labels: Sequence[str],
    *,
    task: TaskKind = "text-classification",
    dtype: str | torch.dtype = "float32",
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> Opened:
    """A base with a head for these classes. Where the base has none of that size, it is drawn from torch's seed.

    Args:
        folder: of the base, or of a trained classifier.
        labels: names of the classes, in the order of the outputs.
        task: what is classified.
        dtype: of the weights.
        device: where it ends up.
        trust_remote_code: run Python code that lies in the folder.

    Raises:
        ModelError: something else than the head is missing, the architecture has no such head, or a file is damaged.
    """
    config = load_config(folder, trust_remote_code=trust_remote_code)
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: number for number, name in enumerate(labels)}
    model, info = read_weights(KINDS[task], folder, config, dtype=dtype, trust_remote_code=trust_remote_code)
    if task == "text-classification":
        _require_padding(model, folder)
    body = f"{model.base_model_prefix}."
    resized = {name for name, *_ in info["mismatched_keys"] if not name.startswith(body)}
    new = {name for name in info["missing_keys"] if not name.startswith(body) or f".{POOLER}." in name}
    rest = {**info, "mismatched_keys": [one for one in info["mismatched_keys"] if one[0] not in resized]}
    require_complete(folder, set(info["missing_keys"]) - new - resized, rest)
    missing = _modules(model, new | resized, body)
    outside = {
        name
        for name, part in model.named_children()
        if f"{name}." != body and next(part.parameters(), None) is not None
    }
    head = tuple(name for name, _ in model.named_modules() if name in outside.union(missing))
    return Opened(model.to(device).eval(), head, missing)


def reads_images(model: PreTrainedModel) -> bool:
    """Whether a model is called with pixels."""
    return model.main_input_name == "pixel_values"


def longest_text(config: PretrainedConfig) -> int:
    """Longest sequence in tokens, special ones included.

    RoBERTa and its kin number positions from after the padding token's on.
    """
    kin = "roberta" in config.model_type or config.model_type in ("camembert", "mpnet")
    return context_length(config) - (((config.pad_token_id or 0) + 1) if kin else 0)


def padding(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that fills short rows up. A model that looks at its last token finds that by it."""
    known = config.pad_token_id if config.pad_token_id is not None else tokenizer.pad_token_id
    return int(known or 0)


def _require_padding(model: PreTrainedModel, folder: Path) -> None:
    """A model that looks at its last token must know which one that is."""
    if hasattr(model, "score") and model.config.pad_token_id is None:
        raise ModelError(
            f"the model in {folder} has no padding token, so the end of a text cannot be told from its padding",
            hint="set pad_token_id in its config.json to a token that texts do not hold",
        )


def _modules(model: PreTrainedModel, tensors: set[str], body: str) -> tuple[str, ...]:
    """The modules that hold some tensors: whole children of the model, or of its body."""
    names = set()
    for name in tensors:
        depth = 2 if name.startswith(body) else 1
        names.add(".".join(name.split(".")[:depth]))
    return tuple(name for name, _ in model.named_modules() if name in names)
