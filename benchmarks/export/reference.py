"""Logits of base and adapter, not merged, in float32 torch: nothing of edgetune's, PEFT's merge or llama.cpp's.

python reference.py BASE ADAPTER TOKENS LOGITS
"""

from __future__ import annotations

import sys

import numpy as np


def main(base: str, adapter: str, tokens: str, logits: str) -> None:
    """Write (rows, positions, vocabulary) for (rows, positions) token ids."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, adapter).eval()
    with torch.no_grad():
        rows = [model(torch.from_numpy(row[None])).logits[0].numpy() for row in np.load(tokens)]
    np.save(logits, np.stack(rows))


if __name__ == "__main__":
    main(*sys.argv[1:5])
