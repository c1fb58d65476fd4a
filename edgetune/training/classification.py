"""How a class is learnt: one number a text, from the end of the encoder through a new head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import console
from edgetune.data.conversation import Conversation
from edgetune.data.encoding import Encoded
from edgetune.data.labelled import asked_of, balanced_weights, label_of, own_rows
from edgetune.data.splitting import take
from edgetune.errors import DataError
from edgetune.models import load_config, load_tokenizer
from edgetune.models.classifier import open_classifier_base, padding
from edgetune.models.texts import text_ids
from edgetune.recipe import Recipe
from edgetune.run import Run
from edgetune.runtimes.classifier import padded
from edgetune.training.batches import Collate, Loss
from edgetune.training.devices import Choice
from edgetune.training.lessons import Loaded, Rows

if TYPE_CHECKING:
    import torch


#: What models are called with: texts with the first two, images with the last.
INPUTS = ("input_ids", "attention_mask", "pixel_values")


class ClassificationLesson:
    """A :class:`edgetune.training.lessons.Lesson`."""

    def encode(self, run: Run, recipe: Recipe) -> Rows:
        """Texts as token ids, and the number of each one's class."""
        names, longest, tokenizer = run.manifest.labels, run.manifest.max_tokens, load_tokenizer(run.tokenizer_folder)

        def encoded(path: Path, limit: int | None) -> tuple[Sequence[Conversation], Sequence[Encoded]]:
            rows = take(own_rows(run, path), limit, recipe.train.seed)
            texts = [str(asked_of(row)) for row in rows]
            ids = [text_ids(tokenizer, text, None) for text in texts]
            fitting = _fit([len(one) for one in ids], rows, longest, recipe.data.too_long, path.name)
            done = [
                Encoded(tuple(text_ids(tokenizer, texts[i], longest)), (names.index(label_of(rows[i])),))
                for i in fitting
            ]
            return [rows[i] for i in fitting], done

        kept, train = encoded(run.train_file, None)
        if lost := set(names) - set(map(label_of, kept)):
            raise DataError(
                f"{run.train_file.name}: every row of class {', '.join(sorted(lost))} is longer than {longest} tokens",
                hint="set data.too_long: truncate, or a larger data.max_tokens",
            )
        _, evaluation = encoded(run.evaluation_rows_file, recipe.train.evaluate_rows)
        weights = balanced_weights(kept, names) if recipe.train.class_weights == "balanced" else ()
        config = load_config(Path(run.manifest.base_folder), trust_remote_code=recipe.model.trust_remote_code)
        return Rows(train, evaluation, padding(config, tokenizer), weights)

    def load(self, run: Run, recipe: Recipe, dtype: str, device: str) -> Loaded:
        """An encoder (or a causal model) with a head for the run's classes.

        Its weights are float32 whatever is trained: the head trains whole, and steps as small as its are lost in
        bfloat16.
        """
        opened = open_classifier_base(
            Path(run.manifest.base_folder),
            run.manifest.labels,
            device=device,
            trust_remote_code=recipe.model.trust_remote_code,
        )
        packing = Choice("off", "each text is classified by itself")
        return Loaded(opened.model, packing, autocast=dtype == "bfloat16", head=opened.head)

    def step(self, run: Run, recipe: Recipe, rows: Rows, packing: str) -> tuple[Collate, Loss | None]:
        """Padded batches, and the cross entropy of their classes."""
        del run, recipe, packing
        return (lambda batch: collate(batch, rows.pad_id)), class_loss(rows.weights)


def _fit(lengths: Sequence[int], rows: Sequence[Conversation], longest: int, too_long: str, name: str) -> list[int]:
    """Indexes of the rows to use; what is done about long ones is told.

    Raises:
        DataError: there are some, and the recipe wants none.
    """
    long = [i for i, length in enumerate(lengths) if length > longest]
    if long and too_long == "error":
        raise DataError(
            f"{name}: {len(long)} rows are longer than {longest} tokens",
            hint="shorten them, or set data.too_long: truncate",
            problems=[f"{rows[i].where}: {lengths[i]} tokens" for i in long],
        )
    if long:
        console.note(f"{name}: {len(long)} rows {'dropped' if too_long == 'drop' else 'cut'}, above {longest} tokens")
    dropped = set(long) if too_long == "drop" else set()
    kept = [i for i in range(len(rows)) if i not in dropped]
    if not kept:
        raise DataError(f"{name}: every row is longer than {longest} tokens", hint="set data.too_long: truncate")
    return kept


def collate(rows: Sequence[Encoded], pad_id: int) -> dict[str, torch.Tensor]:
    """A padded batch.

    Returns:
        ``input_ids``, ``attention_mask``: (rows, longest); ``shift_labels``: (rows,) classes; ``tokens``: () without
        padding.
    """
    import torch

    ids, mask = padded([row.input_ids for row in rows], pad_id)
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "shift_labels": torch.tensor([row.labels[0] for row in rows]),
        "tokens": torch.tensor(int(mask.sum())),
    }


def class_loss(weights: Sequence[float]) -> Loss:
    """Cross entropy summed over rows, in float32; with ``weights``, each row's counts as much as its class."""

    def loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        import torch

        inputs = {name: batch[name] for name in INPUTS if name in batch}
        logits = model(**inputs).logits.float()
        weight = torch.tensor(weights, device=logits.device) if weights else None
        result: torch.Tensor = torch.nn.functional.cross_entropy(
            logits, batch["shift_labels"], weight=weight, reduction="sum"
        )
        return result

    return loss
