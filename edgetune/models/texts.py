"""How a classifier reads a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str, limit: int | None) -> list[int]:
    """Token ids of a text as a classifier reads it.

    Args:
        tokenizer: of the model.
        text: what is classified; control tokens spelled out in it are text.
        limit: longest result, special tokens included; None: as long as it is.
    """
    options = {"truncation": True, "max_length": limit} if limit else {"truncation": False}
    encoded = tokenizer(text, verbose=False, split_special_tokens=True, **options)
    return [int(token) for token in encoded["input_ids"]]
