"""The process of one contender: reads its job, trains, says how much memory it took."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # publishing.py

from as_users import run_folder, train_as_users
from heldout import measure
from job import Job
from loops import LADDER, PLAIN, train_loop
from trl_environment import TRL
from trl_sft import train_trl


@dataclass(frozen=True)
class Contender:
    """One way to train.

    Attributes:
        title: for people.
        train: does it.
        needs_trl: runs in TRL's environment.
    """

    title: str
    train: Callable[[Job], None]
    needs_trl: bool = False


#: Compared with each other over the whole number of steps.
CONTENDERS: dict[str, Contender] = {
    "trl": Contender(f"TRL {TRL} SFTTrainer", partial(train_trl, packed=False), needs_trl=True),
    "loop": Contender("plain loop", partial(train_loop, loop=PLAIN)),
    "edgetune": Contender("edgetune", train_as_users),
}
#: Only with --packing: its batches are put together by TRL, so its rows come in another order.
PACKED = {
    "trl-packing": Contender(f"TRL {TRL} SFTTrainer, packing", partial(train_trl, packed=True), needs_trl=True),
}
#: One improvement after the other.
RUNGS: dict[str, Contender] = {
    f"rung-{number}": Contender(title, partial(train_loop, loop=loop))
    for number, (title, loop) in enumerate(LADDER.items())
}
EVERY = CONTENDERS | PACKED | RUNGS


def progress_file(job: Job) -> Path:
    """Where a line appears with each step."""
    return run_folder(job) / "metrics.jsonl" if job.contender == "edgetune" else job.steps_file


def _train(job: Job) -> None:
    import torch

    EVERY[job.contender].train(job)
    scale = 1 if sys.platform == "darwin" else 1024
    outcome = {
        "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale,
        "threads": torch.get_num_threads(),
    }
    job.outcome_file.write_text(json.dumps(outcome), encoding="utf-8")


def main() -> None:
    what, *paths = sys.argv[1:]
    if what == "train":
        _train(Job.read(Path(paths[0])))
    else:
        measure([Job.read(Path(path)) for path in paths])


if __name__ == "__main__":
    main()
