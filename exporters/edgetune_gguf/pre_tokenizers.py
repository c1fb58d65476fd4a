"""The ways of splitting text that llama.cpp knows by name (``tokenizer.ggml.pre``).

The names are those of ``src/llama-vocab.cpp``, one for each distinct behaviour; many more names there
share a pattern with one of these. A name is never trusted: :mod:`edgetune_gguf.vocabulary` compares
token ids, and the order here only decides which is tried first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetune.models.gguf_tokenizer import PATTERNS
from edgetune_gguf.vocabulary_entries import splitting_steps

#: The commonest first.
KNOWN = (
    "gpt-2",
    "smollm",
    "llama-bpe",
    "smaug-bpe",
    "qwen2",
    "gpt-4o",
    "granite-embed-multi-97m",
    "tekken",
    "qwen35",
    "deepseek-v3",
    "deepseek-llm",
    "deepseek-coder",
    "falcon",
    "minicpm5",
    "seed-coder",
    "bailingmoe",
    "tiny_aya",
    "youtu",
    "jais-2",
    "exaone-moe",
    "laguna",
    "ufakzeka",
    "spark2_5",
    "afmoe",
    "superbpe",
    "viking",
    "bloom",
    "chameleon",
    "default",
)


def candidates(state: Mapping[str, Any]) -> tuple[str, ...]:
    """All known names, those that tokenizer.json's own splitting suggests first."""
    return tuple(dict.fromkeys([*_suggested(state), *KNOWN]))


def _suggested(state: Mapping[str, Any]) -> list[str]:
    steps = splitting_steps(state)
    kinds = [step["type"] for step in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return ["gpt-2"]
    if kinds == ["Digits", "ByteLevel"]:
        return ["smollm"]
    patterns = [step["pattern"].get("Regex") for step in steps if step["type"] == "Split"]
    whole = bool(state["model"].get("ignore_merges"))
    found = [name for name, pattern in PATTERNS.items() if [pattern] == patterns and name in KNOWN]
    if {"gpt-4o", "tekken"} & set(found):
        # llama.cpp's versions of these two forget combining marks; this one has them
        found.append("granite-embed-multi-97m")
    # the one that treats whole words as the tokenizer does comes first
    return sorted(found, key=lambda name: (name == "llama-bpe") != whole)
