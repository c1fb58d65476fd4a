"""What the benchmark asks of a contender's process, and what it hears back."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgetune.data.encoding import Encoded
from edgetune.training import metrics_file


@dataclass(frozen=True)
class Job:
    """One training, the same for every contender but for ``contender`` and ``folder``.

    Attributes:
        contender: name of one of those in ``contenders.py``.
        folder: where the process writes all it makes.
        rows: file with the encoded rows, see :func:`read_encoded`.
        messages: folder with the same rows as messages: train.jsonl, heldout.jsonl.
        base: folder of the base model.
        steps: optimiser steps.
        batch_size: rows in one step.
    """

    contender: str
    folder: str
    rows: str
    messages: str
    base: str
    steps: int
    batch_size: int
    rank: int
    alpha: float
    learning_rate: float
    adam_beta2: float
    warmup: float
    scheduler: str
    max_grad_norm: float
    seed: int

    @property
    def steps_file(self) -> Path:
        """One line a step, appended as it ends."""
        return Path(self.folder) / "steps.jsonl"

    @property
    def adapter_folder(self) -> Path:
        """The trained adapter, in PEFT's format."""
        return Path(self.folder) / "adapter"

    @property
    def outcome_file(self) -> Path:
        """What the process says at its end: peak memory and threads."""
        return Path(self.folder) / "outcome.json"

    def write(self) -> Path:
        """Store the job in its folder."""
        path = Path(self.folder) / "job.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> Job:
        """The job stored in a file."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Step:
    """One optimiser step.

    Attributes:
        seconds: since the step before ended (or training began): data, forward, backward, update, logging.
        rows: in the batch.
        tokens: of those rows, without padding; what rows share counts once a row.
        computed: token positions the model ran over, padding included, shared ones once.
        loss: mean over the batch's answer tokens, before the update.
    """

    seconds: float
    rows: int
    tokens: int
    computed: int
    loss: float


@dataclass
class Stopwatch:
    """Writes one line for each step."""

    file: Path
    _last: float = field(default_factory=time.perf_counter)

    def start(self) -> None:
        """Training begins now."""
        self._last = time.perf_counter()

    def step(self, *, rows: int, tokens: int, computed: int, loss: float) -> None:
        """A step has ended."""
        end = time.perf_counter()
        step = Step(end - self._last, rows, tokens, computed, loss)
        self._last = end
        with self.file.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(asdict(step)) + "\n")


def read_steps(file: Path) -> list[Step]:
    """The steps that have ended so far."""
    return [Step(**entry) for entry in metrics_file.read(file)]


def write_encoded(file: Path, train: Sequence[Encoded], heldout: Sequence[Encoded], pad_id: int) -> None:
    """Store rows as token ids and labels."""

    def plain(rows: Sequence[Encoded]) -> list[dict[str, Any]]:
        return [{"input_ids": row.input_ids, "labels": row.labels} for row in rows]

    content = {"train": plain(train), "heldout": plain(heldout), "pad_id": pad_id}
    file.write_text(json.dumps(content), encoding="utf-8")


@dataclass(frozen=True)
class EncodedRows:
    """Rows as token ids and labels."""

    train: tuple[Encoded, ...]
    heldout: tuple[Encoded, ...]
    pad_id: int


def read_encoded(file: str) -> EncodedRows:
    """Rows as stored by :func:`write_encoded`."""
    content = json.loads(Path(file).read_text(encoding="utf-8"))

    def rows(name: str) -> tuple[Encoded, ...]:
        return tuple(Encoded(tuple(row["input_ids"]), tuple(row["labels"])) for row in content[name])

    return EncodedRows(rows("train"), rows("heldout"), content["pad_id"])
