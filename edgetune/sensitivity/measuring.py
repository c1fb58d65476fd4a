"""From a recipe to the sensitivity of the layers of its base that an adapter could change."""

from __future__ import annotations

import random
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import console, extras
from edgetune.errors import DataError, RecipeError
from edgetune.memory import memory_errors
from edgetune.recipe import Recipe, Resolved
from edgetune.run import Run
from edgetune.sensitivity.gradients import GROUPS, Found, Work, averaged, find, in_turns
from edgetune.sensitivity.record import LayerGradients, Sensitivity
from edgetune.training.batches import Loss, answer_loss
from edgetune.training.devices import choose_device, choose_dtype
from edgetune.training.lessons import Loaded, Rows, lesson_of
from edgetune.training.memory import available_memory
from edgetune.training.methods import adaptable_layers, quantise
from edgetune.training.preparing import prepare_run

if TYPE_CHECKING:
    import torch

#: A random head decides which way the body is pulled; the figures of a classifier are means over so many heads.
HEADS = 3
#: ``encoder.layer.3.attention.self.query`` → block 3, kind ``attention.self.query``.
_IN_BLOCK = re.compile(r".*?\.(\d+)\.(.+)")


def measure(resolved: Resolved, rows: int, *, allow_scripts: bool = False) -> Sensitivity:
    """Take gradients over some of the recipe's training rows. No weight changes.

    Args:
        resolved: a recipe whose method is an adapter.
        rows: at most so many training rows, chosen by seed.
        allow_scripts: as in training.

    Raises:
        RecipeError: the method trains no adapter.
        DataError, ModelError, ResourceError: as in training.
    """
    method = resolved.recipe.method
    if not method.is_adapter:
        raise RecipeError(
            f"method.kind is {method.kind}: modules and rank are chosen for adapters only", hint="add --method lora"
        )
    extras.require("transformers", extra="train", needed_for="measuring gradients")
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgetune-") as scratch, memory_errors("fewer --rows, or a smaller model"):
        run = prepare_run(resolved, Path(scratch) / "run", allow_scripts=allow_scripts)
        return _measure(run, resolved.recipe, rows, start)


def _measure(run: Run, recipe: Recipe, wanted: int, start: float) -> Sensitivity:
    rows = lesson_of(recipe).encode(run, recipe)
    groups = _groups(rows.train, wanted, recipe.train.seed)
    device = choose_device(recipe.train.device).value
    dtype = choose_dtype(recipe.train.dtype, device).value
    draws: list[dict[str, Found]] = []
    heads = 0
    while not draws or len(draws) < heads:
        loaded = _load(run, recipe, dtype, device, len(draws))
        heads = HEADS if loaded.head else 0
        layers = adaptable_layers(loaded.model, loaded.head)
        with console.progress(f"Taking gradients, head {len(draws) + 1}" if heads else "Taking gradients") as bar:
            draws.append(_find(loaded, layers, _batches(run, recipe, rows, loaded, groups), bar))
    return Sensitivity(
        recipe=recipe.name,
        base_sha256=run.manifest.base_sha256,
        base_source=run.manifest.base_source,
        data_sha256=run.manifest.data_sha256["train"],
        rows=sum(map(len, groups)),
        groups=len(groups),
        heads=heads,
        seed=recipe.train.seed,
        device=device,
        dtype=dtype,
        seconds=round(time.monotonic() - start, 1),
        layers=_layers(layers, draws),
    )


def _groups(rows: Sequence[Any], wanted: int, seed: int) -> list[Sequence[Any]]:
    """Some rows, chosen by seed, in groups of one size.

    Rows that teach alike, such as those of one class, are spread over the groups evenly: under a random head a group
    with more of one class than of another pulls at the weights by that alone.

    Raises:
        DataError: too few rows.
    """
    size = min(wanted, len(rows)) // GROUPS
    if not size:
        raise DataError(
            f"{len(rows)} training rows are too few: gradients are compared between {GROUPS} groups of rows",
            hint="give more rows",
        )
    order = random.Random(seed).sample(range(len(rows)), len(rows))  # noqa: S311  # not a secret
    alike = sorted(order, key=lambda place: rows[place].labels)
    chosen = [alike[(order[0] + k * len(rows) // (size * GROUPS)) % len(rows)] for k in range(size * GROUPS)]
    return [[rows[place] for place in chosen[k::GROUPS]] for k in range(GROUPS)]


def _load(run: Run, recipe: Recipe, dtype: str, device: str, draw: int) -> Loaded:
    """The base as the adapter would see it: rounded where it is trained rounded, its new head drawn from a seed."""
    from transformers import set_seed

    set_seed(recipe.train.seed + draw)
    loaded = lesson_of(recipe).load(run, recipe, dtype, device)
    if recipe.method.kind == "qlora":
        quantise(loaded.model, packed=False)
    return loaded


@dataclass(frozen=True)
class _Batches:
    """Batches of each group of rows, on the model's device, and their loss."""

    groups: Sequence[Sequence[dict[str, torch.Tensor]]]
    loss: Loss


def _batches(run: Run, recipe: Recipe, rows: Rows, loaded: Loaded, groups: Sequence[Sequence[Any]]) -> _Batches:
    collate, loss = lesson_of(recipe).step(run, recipe, rows, loaded.packing.value)
    size = min(recipe.train.micro_batch_size or recipe.train.batch_size, len(groups[0]))

    def batch(some: Sequence[Any]) -> dict[str, torch.Tensor]:
        return {key: value.to(loaded.model.device) for key, value in collate(some).items()}

    made = [[batch(group[at : at + size]) for at in range(0, len(group), size)] for group in groups]
    return _Batches(made, loss or answer_loss)


def _find(
    loaded: Loaded, layers: Mapping[str, torch.nn.Module], batches: _Batches, bar: console.Bar
) -> dict[str, Found]:
    if not layers:
        raise RecipeError("the model has no layers that an adapter could change", hint="add --method full")
    weights = {name: layer.get_parameter("weight") for name, layer in layers.items()}
    turns = in_turns({name: weight.numel() for name, weight in weights.items()}, available_memory(loaded.model.device))
    bar.update(0, total=len(turns) * sum(map(len, batches.groups)))
    work = Work(loaded.model, batches.groups, batches.loss, loaded.autocast, bar.advance)
    return find(work, weights, turns)


def _layers(layers: Mapping[str, torch.nn.Module], draws: Sequence[Mapping[str, Found]]) -> tuple[LayerGradients, ...]:
    done = []
    for name, layer in layers.items():
        weight = layer.get_parameter("weight").detach()
        norm = float(weight.float().norm())
        if not norm:
            console.note(f"{name} holds nothing but zeros: no gradient is large or small beside them; left out")
            continue
        place, found = _IN_BLOCK.fullmatch(name), averaged([draw[name] for draw in draws])
        done.append(
            LayerGradients(
                name=name,
                block=int(place[1]) if place else None,
                kind=place[2] if place else name,
                outputs=len(weight),
                inputs=weight[0].numel(),
                weight_norm=norm,
                products=found.products,
                kept=found.kept,
            )
        )
    return tuple(done)
