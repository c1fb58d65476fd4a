"""A tiny random BERT, its tokenizer, labelled rows and a recipe that trains in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from recipefiles import tiny_recipe
from rowfiles import write_rows
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from edgetune.recipe import Resolved

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
GOOD, BAD = ("good", "fine", "lovely", "great"), ("bad", "poor", "awful", "dull")
REST = ("a", "the", "film", "plot", "was", "is", "and", "very", "story", "end")


def tokenizer() -> PreTrainedTokenizerFast:
    """Whole words, between [CLS] and [SEP]."""
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *GOOD, *BAD, *REST))}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ids = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    # As sentence-transformers stores them: what is baked into the file must not reach the model.
    backend.enable_truncation(4)
    backend.enable_padding(length=24, pad_id=0, pad_token="[PAD]")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
    )


def write_base(folder: Path, model: Any = None) -> Path:
    """A model folder without a head."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(GOOD) + len(BAD) + len(REST),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )
    (model or BertModel(config)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """``count`` different texts; every second one is positive."""
    found = []
    for n in range(start, start + count):
        words, label = (GOOD, "positive") if n % 2 else (BAD, "negative")
        rest = " ".join(REST[(n // 3**k) % len(REST)] for k in range(2))
        found.append({"text": f"{words[n % 4]} {rest} {words[(n // 4) % 4]} {n}", "label": label})
    return found


def write_recipe(folder: Path, base: Path, **sections: Any) -> Resolved:
    """A recipe for a few steps on the CPU; ``sections`` change it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "train.jsonl", rows(64))
    write_rows(folder / "heldout.jsonl", rows(24, start=64))
    train = {"batch_size": 16, "max_steps": 48, "evaluate_every": 16, "log_every": 8}
    return tiny_recipe(folder, base, {"task": {"kind": "text-classification"}, "train": train}, sections)
