"""Text as token ids: many texts at once, and the token that ends an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Tokens:
    """Token ids of texts, computed in batches, each distinct text once.

    No beginning-of-sequence token is added unless ``raw``: chat templates write their own, and a
    second one is a well-known way to spoil a model.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, raw: bool = False) -> None:
        self.tokenizer = tokenizer
        self.start = _bos(tokenizer) if raw else []
        self._known: dict[str, list[int]] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Tokenise ``texts`` in one call and forget all others."""
        distinct = list(dict.fromkeys(texts))
        ids = self._call(distinct) if distinct else []
        self._known = dict(zip(distinct, ids, strict=True))

    def of(self, text: str) -> list[int]:
        """Ids of a whole text."""
        if text not in self._known:
            self._known[text] = self._call([text])[0]
        ids = self._known[text]
        return self.start + ids if self.start and ids[:1] != self.start else ids

    def inside(self, text: str) -> list[int]:
        """Ids of a text that follows other text.

        SentencePiece vocabularies put a space before the first word of a text. A control token
        in front, taken off again, keeps them from it.
        """
        before = self.tokenizer.eos_token or ""
        return self._call([before + text])[0][len(self._call([before])[0]) if before else 0 :]

    def decode(self, ids: Sequence[int], *, special: bool = True) -> str:
        """Text of the ids, with or without special tokens."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=not special, clean_up_tokenization_spaces=False)
        return str(text)

    def _call(self, texts: list[str]) -> list[list[int]]:
        # verbose=False: rows longer than the model's context are counted and reported elsewhere.
        ids: list[list[int]] = self.tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, verbose=False
        )["input_ids"]
        return ids


def _bos(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The beginning-of-sequence token, if this tokenizer starts every text with it."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer("a")["input_ids"][:1] == [bos] else []


class Ends:
    """Finds the token that ends an answer: the last one the template writes, white space aside."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._control = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items()}
        self._control |= {number: str(tokenizer.convert_ids_to_tokens(number)) for number in tokenizer.all_special_ids}
        self._blank: dict[int, bool] = {}

    def find(self, ids: Sequence[int], start: int, content: str) -> int | None:
        """Position of the end-of-turn token in ``ids[start:]``, or None where the template writes none.

        Args:
            ids: all up to the end of the answer.
            start: where the answer begins.
            content: what the message itself says: a control token that ends it is not the template's.
        """
        for position in range(len(ids) - 1, start - 1, -1):
            if self._is_blank(ids[position]):
                continue
            token = self._control.get(ids[position])
            return position if token is not None and not content.rstrip().endswith(token) else None
        return None

    def _is_blank(self, id: int) -> bool:
        if id not in self._blank:
            self._blank[id] = str(self._tokenizer.decode([id])).isspace()
        return self._blank[id]
