"""ln p of every branch of many trees: in torch packed without padding, elsewhere through the runtime's logits.

In torch several trees become one sequence. A context is laid down once, its branches after it, and a mask keeps apart
what does not belong together; positions count from the start of each tree::

    context 0 | branch 0.0 | branch 0.1 | context 1 | branch 1.0 | …

Every linear layer then computes each token once. ``tests/general/test_likelihood.py`` holds that it equals one row
after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgetune.evaluation.evaluate import Subject
from edgetune.evaluation.loss import LOGITS_BUDGET, runtime_losses, torch_losses
from edgetune.general.trees import Tree, paths

if TYPE_CHECKING:
    import torch

#: Tokens of one sequence. Attention grows with its square, and beyond this costs more than larger products save.
PACK = 512


def likelihoods(subject: Subject, trees: Sequence[Tree], on_done: Callable[[int], None]) -> list[list[float]]:
    """Σ ln p of the tokens of every branch, given its context.

    Args:
        subject: open.
        trees: tokenised by its own tokenizer.
        on_done: told how many trees are done.
    """
    model = getattr(subject.runtime, "model", None)  # that of a torch runtime
    if model is None:
        return _one_by_one(trees, lambda rows: runtime_losses(subject.runtime, rows), on_done)
    if not _packs(model, max(tree.depth for tree in trees)):
        return _one_by_one(trees, lambda rows: torch_losses(model, rows), on_done)
    found: list[list[float]] = []
    for pack in _in_packs(trees, min(PACK, LOGITS_BUDGET // model.config.get_text_config().vocab_size)):
        found += packed(model, pack)
        on_done(len(found))
    return found


def _one_by_one(
    trees: Sequence[Tree], losses: Callable[[list[Any]], list[tuple[float, float]]], on_done: Callable[[int], None]
) -> list[list[float]]:
    found = []
    for tree in trees:
        found.append([-nats for nats, _ in losses(list(paths(tree)))])
        on_done(len(found))
    return found


def _packs(model: Any, depth: int) -> bool:
    """Whether a mask of ours says all that keeps tokens apart in this model."""
    from edgetune.training.packing import unsupported_reason

    text = model.config.get_text_config()
    window = getattr(text, "sliding_window", None)
    attention = getattr(model.config, "_attn_implementation", None)
    return unsupported_reason(model) is None and attention in ("sdpa", "eager") and (not window or depth <= window)


def _in_packs(trees: Sequence[Tree], room: int) -> Iterator[list[Tree]]:
    """Neighbours together, as many as have room; a tree that has none is alone."""
    pack: list[Tree] = []
    for tree in trees:
        if pack and sum(one.size for one in pack) + tree.size > room:
            yield pack
            pack = []
        pack.append(tree)
    if pack:
        yield pack


def packed(model: Any, trees: Sequence[Tree]) -> list[list[float]]:
    """Σ ln p of every branch of some trees, computed as one sequence."""
    import torch

    layout = _Layout(trees)
    device = next(model.parameters()).device
    keep = torch.tensor(layout.asked, device=device)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            output = model(
                input_ids=torch.tensor([layout.ids], device=device),
                position_ids=torch.tensor([layout.positions], device=device),
                attention_mask=layout.mask(model.dtype).to(device),
                use_cache=False,
                logits_to_keep=keep,
            )
    finally:
        model.train(training)
    logits = output.logits[0].float()
    rows, targets = (torch.tensor(part, device=device) for part in (layout.rows, layout.targets))
    gains = logits[rows, targets] - logits.logsumexp(-1)[rows]
    sums = [float(part.double().sum()) for part in gains.cpu().split(layout.lengths)]
    counts = iter(sums)
    return [[next(counts) for _ in tree.branches] for tree in trees]


class _Layout:
    """Where everything is in the sequence.

    Attributes:
        ids, positions: of each token.
        asked: indexes of tokens whose next token is asked for.
        rows, targets: for each token of a branch: the place in ``asked`` of what predicts it, and the token.
        lengths: tokens of each branch.
    """

    def __init__(self, trees: Sequence[Tree]) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.asked: list[int] = []
        self.rows: list[int] = []
        self.targets: list[int] = []
        self.lengths: list[int] = []
        self._trees: list[int] = []
        self._branches: list[int] = []  # 0 is the context
        for number, tree in enumerate(trees):
            self._lay(tree.context, 0, number, 0)
            self.asked.append(len(self.ids) - 1)
            fork = len(self.asked) - 1
            for place, branch in enumerate(tree.branches, start=1):
                start, first = len(self.ids), len(self.asked)
                self._lay(branch[:-1], len(tree.context), number, place)
                self.asked += range(start, len(self.ids))
                self.rows += [fork, *range(first, len(self.asked))]
                self.targets += branch
                self.lengths.append(len(branch))

    def _lay(self, ids: Sequence[int], position: int, tree: int, branch: int) -> None:
        self.ids += ids
        self.positions += range(position, position + len(ids))
        self._trees += [tree] * len(ids)
        self._branches += [branch] * len(ids)

    def mask(self, dtype: torch.dtype) -> torch.Tensor:
        """What is added to the attention scores, shape (1, 1, T, T): 0 where a token is seen."""
        import torch

        order, tree, branch = (torch.tensor(part) for part in (range(len(self.ids)), self._trees, self._branches))
        earlier = order[:, None] >= order[None, :]
        related = (tree[:, None] == tree[None, :]) & ((branch[None, :] == 0) | (branch[:, None] == branch[None, :]))
        hidden = ~(earlier & related)
        return torch.zeros(hidden.shape, dtype=dtype).masked_fill(hidden, torch.finfo(dtype).min)[None, None]
