"""How far each file is from the tuned model in float32, by next-token distributions on random tokens.

python closeness.py BASE ADAPTER FILE    writes the reference's log-probabilities
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune import console
from edgetune.artifact import Artifact
from edgetune.evaluation.intervals import RESAMPLES, SEED
from edgetune.runtimes.llama_cpp import LlamaCppRuntime
from edgetune.verification.divergence import Distributions, Divergences, divergences, log_softmax, summarise

ROWS, LENGTH = 8, 128


def tokens(vocabulary: int) -> NDArray[np.int64]:
    """(rows, positions) token ids: the weights are random, so text would say no more."""
    return np.random.default_rng(SEED).integers(0, vocabulary, (ROWS, LENGTH))


def reference(base: Path, adapter: Path, file: Path) -> None:
    """Log-probabilities of base and adapter, not merged, in float32 torch: nothing of edgetune's or llama.cpp's."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, adapter).eval()
    with torch.no_grad():
        rows = [log_softmax(model(torch.from_numpy(row[None])).logits[0].numpy()) for row in _rows(model)]
    np.save(file, np.stack(rows))


def _rows(model: Any) -> NDArray[np.int64]:
    return tokens(model.config.vocab_size)


def compare(base: Path, adapter: Path, ggufs: Mapping[str, Path], work: Path) -> dict[str, Any]:
    """Divergence of each file, and KL at each position."""
    file = work / "reference.npy"
    with console.progress("Computing distributions", len(ggufs) + 1, "models") as bar:
        # In a process of its own: its four bytes a parameter go with it.
        subprocess.run([sys.executable, __file__, str(base), str(adapter), str(file)], check=True)
        bar.advance()
        trained = np.load(file, mmap_mode="r")
        found = {}
        for name, path in ggufs.items():
            found[name] = _one(trained, path)
            bar.advance()
    return found


def _one(trained: NDArray[np.float32], path: Path) -> dict[str, Any]:
    rows = []
    runtime = LlamaCppRuntime(Artifact(path, None), context=LENGTH, kv_cache="f32")
    try:
        for own, ids in zip(trained, tokens(trained.shape[-1]), strict=True):
            rows.append(divergences(Distributions(np.asarray(own)), log_softmax(runtime.logits(ids.tolist()))))
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


if __name__ == "__main__":
    reference(*map(Path, sys.argv[1:4]))
