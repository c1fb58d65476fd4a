"""TRL's SFTTrainer doing QLoRA as its users do. Runs in the environment of ``trl_environment.py``.

Two of its defaults are switched off: gradient checkpointing, which would slow it down to save memory,
and bfloat16 autocast, because here everybody computes in float32. All else is as documented.
"""

from __future__ import annotations

from typing import Any

from job import EncodedRows, Job, Stopwatch, read_encoded

from edgetune.training.schedule import Clock, schedule


def train_trl(job: Job, *, packed: bool) -> None:
    """Train an adapter with TRL, and store it."""
    import torch
    from peft import LoraConfig
    from transformers import BitsAndBytesConfig, PreTrainedTokenizerFast

    rows = read_encoded(job.rows)
    trainer = _trainer_class()(
        job,
        model=job.base,
        args=_arguments(job, _tokens_a_batch(rows, job) if packed else None),
        train_dataset=_dataset(rows),
        processing_class=PreTrainedTokenizerFast.from_pretrained(job.base),
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        ),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=job.rank, lora_alpha=job.alpha, lora_dropout=0.0, target_modules="all-linear"
        ),
    )
    trainer.train()
    trainer.save_model(str(job.adapter_folder))


def _dataset(rows: EncodedRows) -> Any:
    """The rows as TRL's preparation would leave them; given ready-made, so that all learn the very same tokens."""
    from datasets import Dataset

    return Dataset.from_list([{"input_ids": list(row.input_ids), "labels": list(row.labels)} for row in rows.train])


def _tokens_a_batch(rows: EncodedRows, job: Job) -> int:
    """Tokens that a padded batch holds on average, without its padding."""
    return round(sum(len(row.input_ids) for row in rows.train) / len(rows.train) * job.batch_size)


def _arguments(job: Job, packed_length: int | None) -> Any:
    """Settings; with ``packed_length``, one packed sequence of so many tokens takes the place of a batch."""
    from trl import SFTConfig

    return SFTConfig(
        output_dir=f"{job.folder}/trainer",
        max_steps=job.steps,
        per_device_train_batch_size=1 if packed_length else job.batch_size,
        dataloader_drop_last=True,
        learning_rate=job.learning_rate,
        max_grad_norm=job.max_grad_norm,
        weight_decay=0.0,
        optim="adamw_torch",
        adam_beta2=job.adam_beta2,
        seed=job.seed,
        data_seed=job.seed,
        packing=packed_length is not None,
        max_length=packed_length or 1024,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        model_init_kwargs={"dtype": "float32"},
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        log_level="error",
    )


def _trainer_class() -> type:
    import torch
    from transformers import TrainerCallback
    from trl import SFTTrainer

    class Ticks(TrainerCallback):
        """Calls the trainer back at its beginning and after each step."""

        def __init__(self, owner: Any) -> None:
            self.owner = owner

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.owner.watch.start()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.owner.watch.step(**self.owner.seen)

    class TimedTrainer(SFTTrainer):
        """SFTTrainer with a stopwatch, and with edgetune's learning rate so that both train alike."""

        def __init__(self, job: Job, **options: Any) -> None:
            super().__init__(**options)
            self.job = job
            self.watch = Stopwatch(job.steps_file)
            self.seen: dict[str, Any] = {}
            self.add_callback(Ticks(self))

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
            # TRL drops and adds keys of `inputs`, so it is looked at before.
            seen = _count(inputs)
            loss = super().training_step(model, inputs, num_items_in_batch)
            self.seen = {**seen, "loss": loss.item()}
            return loss

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            factor = schedule(num_training_steps, self.job.warmup, self.job.scheduler, Clock(limit=None))
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)
            self._created_lr_scheduler = True
            return self.lr_scheduler

    return TimedTrainer


def _count(inputs: Any) -> dict[str, int]:
    """Rows, tokens and computed positions of a batch, padded or packed."""
    ids = inputs["input_ids"]
    if "attention_mask" in inputs:
        return {"rows": len(ids), "tokens": int(inputs["attention_mask"].sum()), "computed": ids.numel()}
    return {"rows": int((inputs["position_ids"] == 0).sum()), "tokens": ids.numel(), "computed": ids.numel()}
