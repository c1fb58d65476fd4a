"""SentencePiece BPE as a fast tokenizer, from a ``tokenizer.model`` file or from a GGUF's pieces.

``tokenizer.model`` is a protocol buffer (sentencepiece_model.proto); the few fields needed are read here,
so neither protobuf nor the sentencepiece library is.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Piece types, the same numbers in sentencepiece_model.proto and in GGUF.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
#: SentencePiece writes a space as this.
SPACE = "▁"


@dataclass(frozen=True)
class Pieces:
    """A SentencePiece BPE vocabulary.

    Attributes:
        tokens: text of each piece, spaces written as ▁.
        scores: of each piece; the highest is merged first.
        types: of each piece.
        unknown: id of the unknown piece.
        prefixed: a space is put before text.
    """

    tokens: Sequence[str]
    scores: Sequence[float]
    types: Sequence[int]
    unknown: int
    prefixed: bool


def build(pieces: Pieces) -> Tokenizer:
    """The tokenizer: spaces become ▁, merges follow from the scores, unknown characters become bytes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    vocabulary = {token: index for index, token in enumerate(pieces.tokens)}
    mergeable = {token: index for token, index in vocabulary.items() if pieces.types[index] in (NORMAL, USER_DEFINED)}
    model = models.BPE(
        vocab=vocabulary,
        merges=list(implied_merges(mergeable, pieces.scores)),
        unk_token=pieces.tokens[pieces.unknown],
        fuse_unk=True,
        byte_fallback=BYTE in pieces.types,
    )
    tokenizer = Tokenizer(model)
    first = [normalizers.Prepend(SPACE)] if pieces.prefixed else []
    tokenizer.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", SPACE)])
    last = [decoders.Strip(content=" ", left=1)] if pieces.prefixed else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *last]
    )
    for token, kind in zip(pieces.tokens, pieces.types, strict=True):
        if kind in (UNKNOWN, CONTROL):
            tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)])
        elif kind == USER_DEFINED:
            # one that holds spaces is found after they became ▁
            tokenizer.add_tokens([AddedToken(token, normalized=SPACE in token and not pieces.prefixed, special=False)])
    return tokenizer


def implied_merges(vocabulary: Mapping[str, int], scores: Sequence[float]) -> Iterator[tuple[str, str]]:
    """The merges that a SentencePiece BPE vocabulary implies: the best-scored result first.

    SentencePiece joins any two neighbours whose union is a piece, the highest score first; so each way
    of cutting a piece into two pieces is a merge with that piece's score.
    """
    found = []
    for piece, index in vocabulary.items():
        cuts = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        found += [(-scores[index], index, cut) for cut in cuts if cut[0] in vocabulary and cut[1] in vocabulary]
    found.sort(key=lambda entry: entry[:2])
    return (cut for _, _, cut in found)


def read_model_file(path: Path) -> Pieces:
    """A ``tokenizer.model`` file.

    Raises:
        ModelError: damaged, or a Unigram or word model, whose tokenizer.json cannot be rebuilt here.
    """
    try:
        fields = list(_fields(path.read_bytes()))
        pieces = [_piece(value) for number, value in fields if number == 1]
        trainer = dict(_fields(_last(fields, 2)))
        normaliser = dict(_fields(_last(fields, 3)))
        tokens = [token for token, _, _ in pieces]
        unknown = next(index for index, (_, _, kind) in enumerate(pieces) if kind == UNKNOWN)
    except (struct.error, IndexError, ValueError, UnicodeDecodeError, StopIteration) as error:
        raise ModelError(f"{path} is damaged: not a SentencePiece model", hint="download the model again") from error
    if trainer.get(3, 1) != 2:  # model_type: 1 Unigram, 2 BPE
        raise ModelError(
            f"{path} is not a BPE model, so its tokenizer.json cannot be rebuilt here",
            hint="save it once with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)",
        )
    prefixed = bool(normaliser.get(3, 1))  # add_dummy_prefix
    return Pieces(tokens, [score for _, score, _ in pieces], [kind for _, _, kind in pieces], unknown, prefixed)


def _piece(raw: bytes) -> tuple[str, float, int]:
    fields = dict(_fields(raw))
    return fields[1].decode("utf-8"), struct.unpack("<f", fields.get(2, bytes(4)))[0], fields.get(3, NORMAL)


def _last(fields: Sequence[tuple[int, Any]], number: int) -> bytes:
    found = [value for key, value in fields if key == number]
    return bytes(found[-1]) if found else b""


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """Fields of one protocol-buffer message: number → int, or bytes for the other wire types."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(raw, at)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(wire)
        if size is None:
            if wire != 2:
                raise ValueError(f"wire type {wire}")
            size, at = _varint(raw, at)
        if at + size > len(raw):
            raise IndexError("the message ends early")
        yield number, raw[at : at + size]
        at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def settings_from(folder: Path, pieces: Pieces) -> dict[str, Any]:
    """Named special tokens for a fast tokenizer: tokenizer_config.json's, else the model's own control pieces."""
    path = folder / "tokenizer_config.json"
    stated = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": pieces.tokens[pieces.unknown], "pad_token": "<pad>"}
    found = {}
    for role, usual in names.items():
        token = stated.get(role, usual)
        token = token["content"] if isinstance(token, dict) else token
        if token in pieces.tokens:
            found[role] = token
    return found | {key: stated[key] for key in ("chat_template", "model_max_length") if key in stated}
