"""Held-out loss of every contender's adapter, by one and the same plain computation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from job import Job, read_encoded
from loops import hidden_states, padded

from edgetune.data.encoding import IGNORE, Encoded
from edgetune.models import load_model
from edgetune.training.methods import quantise

#: Rows in one forward pass.
ROWS = 16
#: Name of the measurement without any adapter.
BASE = "base"


def measure(jobs: Sequence[Job]) -> None:
    """Write ``heldout.json`` into each job's folder: for each held-out row, in order, nats and answer tokens.

    Teacher forced, float32, on the NF4 base that all were trained against: padded batches, PEFT's
    own layers, PyTorch's cross entropy. The base without an adapter goes into the first job's folder.
    """
    import torch
    from peft import PeftModel

    rows = read_encoded(jobs[0].rows)
    model = load_model(Path(jobs[0].base), dtype="float32")
    quantise(model, packed=False)
    peft: Any = None
    with torch.no_grad():
        for job in jobs:
            name = f"{job.contender}-{job.seed}"
            if peft is None:
                peft = PeftModel.from_pretrained(model, str(job.adapter_folder), adapter_name=name)
                with peft.disable_adapter():
                    _write(Path(job.folder) / f"{BASE}.json", _losses(peft, rows.heldout, rows.pad_id))
            else:
                peft.load_adapter(str(job.adapter_folder), adapter_name=name)
            peft.set_adapter(name)
            peft.eval()
            _write(Path(job.folder) / "heldout.json", _losses(peft, rows.heldout, rows.pad_id))


def _losses(model: Any, rows: Sequence[Encoded], pad_id: int) -> list[tuple[float, int]]:
    """Nats and answer tokens of each row, in order. Rows of like length share a batch."""
    import torch
    from torch.nn.functional import cross_entropy

    order = sorted(range(len(rows)), key=lambda index: len(rows[index].input_ids))
    found: dict[int, tuple[float, int]] = {}
    for start in range(0, len(order), ROWS):
        indexes = order[start : start + ROWS]
        ids, mask, targets = padded([rows[index] for index in indexes], pad_id)
        learnt = targets != IGNORE
        hidden = hidden_states(model, ids, mask)[learnt]
        logits = model.get_base_model().get_output_embeddings()(hidden)
        nats = torch.zeros(targets.shape)
        nats[learnt] = cross_entropy(logits.float(), targets[learnt], reduction="none")
        sums, counts = nats.sum(dim=1).tolist(), learnt.sum(dim=1).tolist()
        found |= dict(zip(indexes, zip(sums, counts, strict=True), strict=True))
    return [found[index] for index in range(len(rows))]


def _write(file: Path, losses: list[tuple[float, int]]) -> None:
    file.write_text(json.dumps(losses), encoding="utf-8")
