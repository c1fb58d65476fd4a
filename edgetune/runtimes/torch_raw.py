"""The model's own forward pass with its cache, without anything around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TorchLoop:
    """Calls the model token after token.

    Args:
        model: a transformers causal language model in evaluation mode.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._length = 0
        self._clear()

    def hold(self, length: int) -> bool:
        """Keep only the first ``length`` tokens."""
        if length == 0:
            self._clear()
        elif length < self._length:
            self._cache.crop(length - self._length)  # a negative number: so many are dropped
            self._length = length
        return True

    def extend(self, tokens: Sequence[int]) -> None:
        """Compute tokens of a prompt."""
        import torch

        with torch.inference_mode():
            ids = torch.tensor([list(tokens)], device=self._model.device)
            self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        self._length += len(tokens)

    def step(self, token: int) -> None:
        """Compute one token."""
        self.extend((token,))

    def _clear(self) -> None:
        from transformers import DynamicCache

        self._cache: Any = DynamicCache(config=self._model.config)
        self._length = 0
