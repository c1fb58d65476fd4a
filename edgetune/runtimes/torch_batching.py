"""A padded batch that answers in step, with its key-value cache: the torch side of batched decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetune.runtimes.llama_batching import common_prefix

if TYPE_CHECKING:
    import torch


class RowGroup:
    """Rows decoded together.

    What all rows begin with is computed once. The rest is padded on the left, so that the last column is
    every row's newest token; the mask hides the padding and the positions skip it::

        prefix prefix  pad  pad  own  own
        prefix prefix  own  own  own  own

    With a sliding window that would move the window by the padding, so there padding comes first and nothing
    is shared.

    Args:
        model: a transformers causal language model.
        prompts: token ids, none empty.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        import torch
        from transformers import DynamicCache

        self._model = model
        self._cache = DynamicCache(config=model.config)
        shared = 0 if _has_window(model.config) else min(common_prefix(prompts), min(map(len, prompts)) - 1)
        if shared:
            self._forward(torch.tensor([list(prompts[0][:shared])], device=model.device), None, None)
            self._cache.batch_repeat_interleave(len(prompts))
        width = max(len(prompt) for prompt in prompts) - shared
        ids = torch.zeros((len(prompts), width), dtype=torch.long)
        self._mask = torch.ones((len(prompts), shared + width), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            own = list(prompt[shared:])
            ids[row, width - len(own) :] = torch.tensor(own)
            self._mask[row, shared : shared + width - len(own)] = 0
        self._mask = self._mask.to(model.device)
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)[:, shared:]
        self._next_position = positions[:, -1:] + 1
        self._logits = self._forward(ids.to(model.device), self._mask, positions)

    def logits(self) -> NDArray[np.float32]:
        """Logits after the newest token of each row: shape (rows, vocabulary)."""
        result: NDArray[np.float32] = self._logits.float().cpu().numpy()
        return result

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all other rows."""
        import torch

        if len(rows) == len(self._mask):
            return
        chosen = torch.tensor(list(rows), device=self._mask.device)
        self._cache.batch_select_indices(chosen)
        self._mask = self._mask[chosen]
        self._next_position = self._next_position[chosen]

    def feed(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Append one token to each row and return :meth:`logits`."""
        import torch

        column = torch.tensor(list(tokens), device=self._mask.device)[:, None]
        self._mask = torch.cat([self._mask, torch.ones_like(column)], dim=1)
        self._logits = self._forward(column, self._mask, self._next_position)
        self._next_position = self._next_position + 1
        return self.logits()

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor | None) -> torch.Tensor:
        """Logits of the last column, shape (rows, vocabulary); the cache grows by the columns of ``ids``."""
        result = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = result.logits[:, -1]
        return logits


def _has_window(config: Any) -> bool:
    """Whether some layer only looks a fixed distance back."""
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None) or []
    if kinds:
        return any(kind != "full_attention" for kind in kinds)
    return bool(getattr(text, "sliding_window", None)) and getattr(text, "use_sliding_window", True)
