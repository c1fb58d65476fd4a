"""How much the model's answers move when a layer is rounded: the curvature of the KL divergence, a number a layer.

To second order the divergence of a changed model is half of ΔW·F·ΔW, where F is Fisher's information: the expected
product of the gradients of ln p(y), with y drawn from the model itself. Errors of rounding are as good as independent,
so its diagonal is all that counts: for y = W x it is E[g_i² x_j²], with g the gradient at the output. With inputs and
gradients taken as independent that is c·E[x_j²] for every row, and c is what is measured here. (Optimal Brain Damage,
LeCun et al., 1990, has the diagonal; HAWQ, Dong et al., 2019, one number a layer to share bits out by.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgetune import console
from edgetune.data.encoding import IGNORE, Encoded
from edgetune.errors import DataError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Rows that gradients are taken over (docs/decisions/0019-types-by-sensitivity.md).
ROWS = 32
#: Tokens of a row, from its end: memory for a backward pass grows with it.
LONGEST = 512


def curvature(model: PreTrainedModel, rows: Sequence[Encoded], seed: int) -> dict[str, float]:
    """Of every linear layer and the embedding, the curvature of the divergence at the answers' positions.

    Args:
        model: as it is to be exported; its weights stay as they are.
        rows: what they learn are answers; those that are longer than :data:`LONGEST` lose their beginning.
        seed: of the tokens that are drawn.

    Returns:
        Module → c, so that an error ΔW costs about c/2·Σ_ij E[x_j²]·ΔW_ij² nats a position. Of an embedding and of a
        head E[x_j²] is part of c; where one matrix is both, both count.

    Raises:
        DataError: no row has an answer.
    """
    import torch

    generator = torch.Generator(device="cpu").manual_seed(seed)
    lessons = [(row.input_ids[-LONGEST:], _before_answers(row.labels[-LONGEST:])) for row in rows]
    positions = sum(len(answered) for _, answered in lessons)
    if not positions:
        raise DataError("no training row has an answer to take gradients of", hint="edgetune data check FILE")
    model.eval()  # type: ignore[no-untyped-call]
    with _watched(model) as sums, console.progress("Taking gradients", total=len(lessons), unit="rows") as bar:
        for ids, answered in lessons:
            if answered:
                _backward(model, ids, answered, generator)
            bar.advance()
        return {name: total / positions for name, total in sums.items()}


def _before_answers(labels: Sequence[int]) -> list[int]:
    """Positions whose next token is learnt."""
    return [at - 1 for at, label in enumerate(labels) if at and label != IGNORE]


def _backward(model: PreTrainedModel, ids: Sequence[int], answered: list[int], generator: torch.Generator) -> None:
    """Gradients of ln p of answers that the model itself draws, token by token."""
    import torch

    kept = torch.tensor(answered, device=model.device)
    with torch.enable_grad():
        inputs = torch.tensor([list(ids)], device=model.device)
        logits = model(input_ids=inputs, use_cache=False, logits_to_keep=kept).logits[0].float()
        drawn = torch.multinomial(logits.detach().softmax(-1).cpu(), 1, generator=generator)[:, 0].to(model.device)
        torch.nn.functional.cross_entropy(logits, drawn, reduction="sum").backward()  # type: ignore[no-untyped-call]


@dataclass
class _Watch:
    """Hooks that add up what passes."""

    sums: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def linear(self, name: str) -> Callable[..., None]:
        """Mean over outputs of the squared gradient, summed over tokens."""

        def hook(_module: object, _inputs: object, output: torch.Tensor) -> None:
            _on_gradient(output, lambda gradient: self._add(name, gradient.float().square().mean(-1).sum()))

        return hook

    def head(self, name: str) -> Callable[..., None]:
        """The same times the mean squared input."""

        def hook(_module: object, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            seen = inputs[0].detach().float().square().mean(-1)
            _on_gradient(output, lambda gradient: self._add(name, (gradient.float().square().mean(-1) * seen).sum()))

        return hook

    def embedding(self, name: str, rows: int) -> Callable[..., torch.Tensor]:
        """Mean over all its rows: a token that is not there has no gradient. Gemma's multiplies what it looks up."""

        def hook(module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
            scale = float(getattr(module, "embed_scale", 1.0)) ** 2 / rows
            start = output.detach().requires_grad_()  # no weight needs a gradient, so it begins here
            _on_gradient(start, lambda gradient: self._add(name, gradient.float().square().mean(-1).sum() * scale))
            return start

        return hook

    def _add(self, name: str, value: torch.Tensor) -> None:
        self.sums[name] += float(value.detach())


def _on_gradient(output: torch.Tensor, add: Callable[[torch.Tensor], None]) -> None:
    output.register_hook(add)  # type: ignore[no-untyped-call]


@contextmanager
def _watched(model: PreTrainedModel) -> Iterator[dict[str, float]]:
    """While open, backward passes add to what is yielded, and no weight gets a gradient of its own."""
    from edgetune.training.methods import linear_layers

    watch = _Watch()
    names = {id(module): name for name, module in model.named_modules()}
    embedding: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    asked = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in asked:
        weight.requires_grad_(False)
    hooks = [layer.register_forward_hook(watch.linear(name)) for name, layer in linear_layers(model).items()]
    hooks.append(embedding.register_forward_hook(watch.embedding(names[id(embedding)], embedding.weight.shape[0])))
    if head is not None:
        hooks.append(head.register_forward_hook(watch.head(names[id(head)])))
    try:
        yield watch.sums
    finally:
        for hook in hooks:
            hook.remove()
        for weight in asked:
            weight.requires_grad_()
