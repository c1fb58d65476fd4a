"""The canonical adapter as a plain PEFT folder: LoRA, whatever it was before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgetune import files
from edgetune.adapters.canonical import CanonicalLora
from edgetune.adapters.lora import CONFIG, PREFIX
from edgetune.errors import ExportError
from edgetune.extras import require


def write_peft(lora: CanonicalLora, folder: Path, base: str | None = None) -> dict[str, float]:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors``, whole or not at all.

    Every module has alpha equal to its rank, which is scale 1: the true scale is in its B.

    Args:
        lora: the adapter.
        folder: to write.
        base: ``base_model_name_or_path``.

    Returns:
        Of each approximated weight, the share of its change that is missing.

    Raises:
        ExportError: it holds what a LoRA cannot say.
    """
    lora.require_low_rank("a plain LoRA folder")
    kinds = {module.transposed for module in lora.modules.values() if not module.embedding}
    if len(kinds) > 1:
        raise ExportError("the adapter mixes weights stored (in, out) and (out, in)", hint="train again")
    safetensors = require("safetensors.numpy", extra="train", needed_for="writing an adapter")
    tensors: dict[str, NDArray[np.float32]] = {}
    ranks: dict[str, int] = {}
    residuals: dict[str, float] = {}
    for module, factors in lora.all_factors():
        name = module.weight.removesuffix(".weight")
        a, b = ("lora_embedding_A", "lora_embedding_B") if module.embedding else ("lora_A.weight", "lora_B.weight")
        tensors |= {f"{PREFIX}{name}.{a}": factors.a, f"{PREFIX}{name}.{b}": factors.b}
        ranks[name] = factors.rank
        if not module.exact:
            residuals[module.weight] = factors.residual
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": max(ranks.values()),
        "lora_alpha": max(ranks.values()),
        # Anchored: PEFT takes a key for the end of any name.
        "rank_pattern": {f"^{name}": rank for name, rank in ranks.items()},
        "alpha_pattern": {f"^{name}": rank for name, rank in ranks.items()},
        "target_modules": sorted(ranks),
        "fan_in_fan_out": True in kinds,
        "bias": "none",
        "inference_mode": True,
    }
    with files.atomic_path(folder) as temporary:
        temporary.mkdir()
        safetensors.save_file(tensors, temporary / "adapter_model.safetensors", metadata={"format": "pt"})
        files.write_text(temporary / CONFIG, json.dumps(settings, indent=2) + "\n")
    return residuals
