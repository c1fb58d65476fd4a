"""How text that answers is learnt: the answer's tokens, given what comes before them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgetune import console
from edgetune.data.reading import load_rows
from edgetune.data.splitting import take
from edgetune.data.templating import Encoded, encode_all
from edgetune.models import context_length, load_config, load_model, load_tokenizer
from edgetune.recipe import Recipe
from edgetune.run import Run
from edgetune.training.batches import Collate, Loss, choose_packing, collate_for
from edgetune.training.lessons import Loaded, Rows, longest_row
from edgetune.training.packing import ATTENTION, register_attention


class GenerationLesson:
    """A :class:`edgetune.training.lessons.Lesson`."""

    def encode(self, run: Run, recipe: Recipe) -> Rows:
        """Prompts and answers through the chat template."""
        settings, tokenizer = recipe.data, load_tokenizer(run.tokenizer_folder)
        context = context_length(
            load_config(Path(run.manifest.base_folder), trust_remote_code=recipe.model.trust_remote_code)
        )
        longest = longest_row(settings.max_tokens, context)

        def encoded(path: Path, limit: int | None, system: str | None) -> Sequence[Encoded]:
            rows = take(load_rows(path).raise_on_problems().rows, limit, recipe.train.seed)
            done = encode_all(rows, tokenizer, system, longest, settings.too_long)
            if done.dropped or done.truncated:
                console.note(
                    f"{path.name}: {done.dropped} rows dropped and {done.truncated} cut, longer than {longest} tokens"
                )
            return done.rows

        pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
        system, replay = recipe.task.system, run.rows_file("replay")
        train = list(encoded(run.train_file, None, system))
        if replay.is_file():
            train += encoded(replay, None, None)  # general rows are not of the task, and have not its system prompt
        return Rows(train, encoded(run.evaluation_rows_file, recipe.train.evaluate_rows, system), pad_id)

    def load(self, run: Run, recipe: Recipe, dtype: str, device: str) -> Loaded:
        """A causal language model."""
        adapter = recipe.method.is_adapter
        # Weights that train themselves stay in float32; Trainer then computes in bfloat16 by autocast.
        model = load_model(
            Path(run.manifest.base_folder),
            dtype=dtype if adapter else "float32",
            device=device,
            trust_remote_code=recipe.model.trust_remote_code,
        )
        packing = choose_packing(model, recipe.train.packing)
        if packing.value == "prefix":
            register_attention()
            model.set_attn_implementation(ATTENTION)
        return Loaded(model, packing, autocast=dtype == "bfloat16" and not adapter)

    def step(self, run: Run, recipe: Recipe, rows: Rows, packing: str) -> tuple[Collate, Loss | None]:
        """Packed or padded batches, and the loss of their answer tokens."""
        del run, recipe
        return collate_for(packing, rows.pad_id), None
