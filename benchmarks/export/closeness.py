"""How far each file is from the tuned model in float32, by next-token distributions on random tokens."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measured import run
from numpy.typing import NDArray

from edgetune import console
from edgetune.artifact import Artifact
from edgetune.evaluation.intervals import RESAMPLES, SEED
from edgetune.runtimes.llama_cpp import LlamaCppRuntime
from edgetune.verification.divergence import Distributions, Divergences, divergences, log_softmax, summarise

HERE = Path(__file__).resolve().parent
ROWS, LENGTH = 16, 64


def compare(base: Path, adapter: Path, ggufs: Mapping[str, Path], work: Path) -> dict[str, Any]:
    """Divergence of each file, and KL at each position."""
    vocabulary = json.loads((base / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    # The weights are random, so text would say no more than random tokens.
    tokens = np.random.default_rng(SEED).integers(0, vocabulary, (ROWS, LENGTH))
    inputs, logits = work / "tokens.npy", work / "logits.npy"
    np.save(inputs, tokens)
    with console.progress("Computing distributions", len(ggufs) + 1, "models") as bar:
        # In a process of its own: its four bytes a parameter go with it.
        command = [sys.executable, str(HERE / "reference.py"), *map(str, (base, adapter, inputs, logits))]
        run(command, os.environ | {"HF_HUB_OFFLINE": "1"}, work / "reference.log")
        bar.advance()
        trained = [log_softmax(row) for row in np.load(logits)]
        found = {}
        for name, path in ggufs.items():
            found[name] = _one(trained, tokens, path)
            bar.advance()
    return found


def _one(trained: list[NDArray[np.float32]], tokens: NDArray[np.int64], path: Path) -> dict[str, Any]:
    rows = []
    runtime = LlamaCppRuntime(Artifact(path, None), context=LENGTH, kv_cache="f32")
    try:
        for own, ids in zip(trained, tokens, strict=True):
            rows.append(divergences(Distributions(own), log_softmax(runtime.logits(ids.tolist()))))
    finally:
        runtime.close()
    return {"divergence": summarise(rows).model_dump(mode="json"), "kl": _positions(rows)}


def _positions(rows: list[Divergences]) -> list[list[float]]:
    return [[float(f"{value:.4g}") for value in row.kl] for row in rows]


def difference(ours: list[list[float]], theirs: list[list[float]]) -> tuple[float, float, float]:
    """Mean of ours - theirs over positions, with a 95 % interval: whole rows are drawn again."""
    apart = np.asarray(ours).mean(axis=1) - np.asarray(theirs).mean(axis=1)
    drawn = np.random.default_rng(SEED).choice(apart, (RESAMPLES, len(apart))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(apart.mean()), float(low), float(high)
