"""The torch classifier: the reference that exported ones are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgetune.errors import ModelError
from edgetune.exporters import TunedModel
from edgetune.models.classifier import open_classifier_base, padding
from edgetune.models.texts import text_ids
from edgetune.runtimes.classifier import Classifier, padded
from edgetune.runtimes.torch_runtime import add_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from edgetune.run import Run


class TorchClassifier:
    """Runs a transformers classifier where it lies.

    Args:
        model: with a head for the classes.
        tokenizer: that it was trained with.
        labels: names of the classes.
        max_tokens: longest text.
    """

    name = "torch"

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, labels: tuple[str, ...], max_tokens: int
    ) -> None:
        self._model: PreTrainedModel | None = model
        self._tokenizer = tokenizer
        self.labels = labels
        self.max_tokens = max_tokens

    def encode(self, text: str) -> list[int]:
        """Token ids, special ones included, cut to ``max_tokens``."""
        return text_ids(self._tokenizer, text, self.max_tokens)

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (texts, classes)."""
        import torch

        assert self._model is not None, "it was closed"
        filler = padding(self._model.config, self._tokenizer)
        ids, mask = padded([self.encode(text) for text in texts], filler)
        device = self._model.device
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        with torch.inference_mode():
            result = self._model(**{name: value.to(device) for name, value in inputs.items()}).logits
        found: NDArray[np.float32] = result.float().cpu().numpy()
        return found

    def close(self) -> None:
        """Let go of the model."""
        self._model = None


def open_torch_classifier(run: Run, *, merge: bool = False, device: str = "cpu") -> Classifier:
    """A run's result in float32.

    Args:
        run: trained.
        merge: add the adapter to the weights; else PEFT computes it beside them, as in training.
        device: where it ends up.

    Raises:
        EdgetuneError: the run is not trained.
        ModelError: it was changed since.
    """
    from edgetune.adapters.tuned import tuned_model
    from edgetune.models import load_tokenizer

    tuned = tuned_model(run)
    model = load_classifier(tuned, merge=merge, device=device)
    if tuned.task == "image-classification":
        from edgetune.models.image_processor import open_processor
        from edgetune.runtimes.torch_image_classifier import TorchImageClassifier

        return TorchImageClassifier(model, open_processor(run.preprocessing_folder), tuned.labels)
    return TorchClassifier(model, load_tokenizer(run.tokenizer_folder), tuned.labels, run.manifest.max_tokens)


def load_classifier(tuned: TunedModel, *, merge: bool = False, device: str = "cpu") -> PreTrainedModel:
    """A trained classifier in float32, in evaluation mode.

    Args:
        tuned: base, adapter and names of the classes.
        merge: add the adapter to the base's weights, by PEFT; else it stays beside them.
        device: where it ends up.

    Raises:
        ModelError: the head is in neither folder, or the adapter does not fit.
    """
    from edgetune.adapters.tensors import list_tensors

    folder, adapter = tuned.base_folder, tuned.adapter_folder
    opened = open_classifier_base(folder, tuned.labels, task=tuned.task, device=device)
    stored = list_tensors(adapter) if adapter is not None else {}
    lost = [name for name in opened.missing if not any(f".{name}." in key for key in stored)]
    if lost:
        raise ModelError(f"{adapter or folder} has no trained head: {', '.join(lost)}", hint="train again")
    return add_adapter(opened.model, adapter, merge=merge) if adapter is not None else opened.model
