"""edgetune as its users run it: a recipe given to ``edgetune.train``."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from job import Job, Step
from publishing import REPOSITORY

import edgetune
from edgetune.training import metrics_file

RECIPE = REPOSITORY / "recipes" / "smart-home" / "recipe.yaml"


def run_folder(job: Job) -> Path:
    """Where edgetune writes."""
    return Path(job.folder) / "run"


def train_as_users(job: Job) -> None:
    """Train the smart-home recipe on the job's rows; step times come from the run's own metrics.jsonl."""
    run = edgetune.train(
        RECIPE,
        output=run_folder(job),
        data={"prepare": None, "train": f"{job.messages}/train.jsonl", "heldout": f"{job.messages}/heldout.jsonl"},
        method={"rank": job.rank, "alpha": job.alpha},
        train={
            "max_steps": job.steps,
            "max_minutes": None,
            "learning_rate": job.learning_rate,
            "adam_beta2": job.adam_beta2,
            "scheduler": job.scheduler,
            "warmup_share": job.warmup,
            "max_grad_norm": job.max_grad_norm,
            "batch_size": job.batch_size,
            "seed": job.seed,
            "device": "cpu",
            "dtype": "float32",
            "log_every": 1,
            "evaluate_every": job.steps,
            "evaluate_rows": job.batch_size,
        },
    )
    steps = steps_of(metrics_file.read(run.metrics_file))
    job.steps_file.write_text("".join(json.dumps(asdict(step)) + "\n" for step in steps), encoding="utf-8")
    shutil.copytree(run.adapter_folder, job.adapter_folder)


def steps_of(events: list[dict[str, Any]]) -> list[Step]:
    """Steps from the running totals in metrics.jsonl, written after each of them."""
    steps: list[Step] = []
    seconds, tokens, computed, rows = 0.0, 0, 0, 0
    for event in events:
        if event["event"] != "step":
            continue
        end = event["elapsed_s"]
        computed_so_far, rows_so_far = round(event["computed_tokens_per_s"] * end), round(event["rows_per_s"] * end)
        steps.append(
            Step(
                end - seconds,
                rows_so_far - rows,
                event["tokens"] - tokens,
                computed_so_far - computed,
                event["loss"],
            )
        )
        seconds, tokens, computed, rows = end, event["tokens"], computed_so_far, rows_so_far
    return steps
