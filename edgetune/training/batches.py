"""From rows to what a model is called with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from edgetune.data.encoding import IGNORE
from edgetune.training import packing
from edgetune.training.devices import Choice

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from edgetune.data.templating import Encoded

#: Float32 logits that a processor works on at a time: 2 MB, a usual second-level cache.
CACHED = 1 << 19
#: Rows → tensors. Always holds ``shift_labels`` (what the kept logits shall predict) and ``tokens``.
Collate = Callable[[Sequence[Any]], dict[str, "torch.Tensor"]]
#: (model, batch) → the loss summed over every value of ``shift_labels`` that is learnt.
Loss = Callable[[Any, dict[str, "torch.Tensor"]], "torch.Tensor"]


def choose_packing(model: PreTrainedModel, wanted: str) -> Choice:
    """``prefix`` or ``off``, with the reason.

    Raises:
        RecipeError: prefix packing asked for on a model that cannot do it.
    """
    from edgetune.errors import RecipeError

    reason = packing.unsupported_reason(model)
    if wanted == "prefix" and reason:
        raise RecipeError(f"train.packing is prefix, but {reason}", hint="set train.packing: auto")
    if wanted == "off":
        return Choice("off", "as asked")
    return Choice("off", reason) if reason else Choice("prefix", "the model takes its attention from transformers")


def collate_for(packing_choice: str, pad_id: int) -> Collate:
    """The function that makes batches."""
    if packing_choice == "prefix":
        return packing.pack
    return lambda rows: pad(rows, pad_id)


def pad(rows: Sequence[Encoded], pad_id: int) -> dict[str, torch.Tensor]:
    """A padded batch; the head is applied from the first learnt position of any row on.

    Returns:
        ``input_ids``, ``attention_mask``: (rows, longest); ``logits_to_keep``: (K,) positions;
        ``shift_labels``: (rows, K); ``tokens``: () without padding.
    """
    import torch

    longest = max(len(row.input_ids) for row in rows)
    first = min(next((i for i, label in enumerate(row.labels) if label != IGNORE and i), longest - 1) for row in rows)
    keep = torch.arange(first - 1, longest - 1)

    def padded(values: Sequence[int], filler: int) -> list[int]:
        return [*values, *[filler] * (longest - len(values))]

    labels = torch.tensor([padded(row.labels, IGNORE) for row in rows])
    return {
        "input_ids": torch.tensor([padded(row.input_ids, pad_id) for row in rows]),
        "attention_mask": torch.tensor([padded([1] * len(row.input_ids), 0) for row in rows]),
        "logits_to_keep": keep,
        "shift_labels": labels[:, keep + 1],
        "tokens": torch.tensor(sum(len(row.input_ids) for row in rows)),
    }


def answer_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross entropy summed over the answer tokens of a batch, in float32."""
    inputs = {key: value for key, value in batch.items() if key not in ("shift_labels", "tokens", "labels")}
    logits = model(**inputs, use_cache=False).logits
    return summed_cross_entropy(logits.flatten(0, -2), batch["shift_labels"].flatten())


def summed_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Like ``cross_entropy(logits, targets, reduction="sum")``; the gradient takes over the logits' own memory.

    PyTorch keeps the log-softmax and fills a second tensor of zeros for its gradient. Over a
    vocabulary of 49,152 each is as large as the logits; both are saved here. A processor works
    through a few positions at a time, so that their float32 copies stay in its cache.

    Args:
        logits: (N, vocabulary).
        targets: (N,), IGNORE where nothing is learnt.
    """
    result: torch.Tensor = _cross_entropy().apply(logits, targets)
    return result


@cache
def _cross_entropy() -> Any:
    import torch

    class CrossEntropy(torch.autograd.Function):
        """loss = Σ logsumexp(z) - z[target];  gradient = softmax(z) - onehot(target)."""

        @staticmethod
        def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            learnt = targets != IGNORE
            safe = targets.where(learnt, 0)
            scale = torch.cat([torch.logsumexp(p.float(), dim=-1) for p in torch.split(logits, _rows_at_once(logits))])
            chosen = logits.gather(-1, safe[:, None])[:, 0].float()
            ctx.save_for_backward(logits, scale, safe, learnt)
            return ((scale - chosen) * learnt).sum()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
            logits, scale, safe, learnt = ctx.saved_tensors
            rows = _rows_at_once(logits)
            below = (column[:, None].split(rows) for column in (scale, safe, grad * learnt))
            for part, top, target, weight in zip(logits.split(rows), *below, strict=True):
                gradient = part.float().sub_(top).exp_()
                gradient.scatter_add_(-1, target, torch.full_like(top, -1.0))
                part.copy_(gradient.mul_(weight))
            return logits, None

    return CrossEntropy


def _rows_at_once(logits: torch.Tensor) -> int:
    """How many positions are worked through together: all on a GPU, what a cache holds on a processor."""
    return max(1, CACHED // logits.shape[-1]) if logits.device.type == "cpu" else max(1, len(logits))
