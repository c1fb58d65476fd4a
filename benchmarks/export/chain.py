"""The usual way from an adapter to a GGUF file: what is run in each of its processes.

python chain.py merge BASE ADAPTER FOLDER
python chain.py quantise FILE FILE TYPE THREADS
"""

from __future__ import annotations

import sys
from pathlib import Path


def merge(base: Path, adapter: Path, folder: Path) -> None:
    """The recipe of PEFT's documentation; the weights stay in the type they are stored in."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def quantise(source: Path, target: Path, kind: str, threads: int) -> None:
    """What ``llama-quantize SOURCE TARGET TYPE THREADS`` does."""
    import llama_cpp

    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind.upper()}")
    settings.nthread = threads
    if llama_cpp.llama_model_quantize(bytes(source), bytes(target), settings) != 0:
        sys.exit(f"llama.cpp could not quantise {source} to {kind}")


if __name__ == "__main__":
    if sys.argv[1] == "merge":
        merge(*map(Path, sys.argv[2:5]))
    else:
        quantise(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
