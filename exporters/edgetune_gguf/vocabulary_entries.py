"""A Hugging Face tokenizer as the tables that a GGUF file holds: tokens, types, scores, merges, special ids."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgetune.errors import ExportError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: ``tokenizer.ggml.model``: byte-level BPE, SentencePiece BPE, SentencePiece Unigram.
Kind = Literal["gpt2", "llama", "t5"]

#: ``tokenizer.ggml.token_type``.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
#: SentencePiece writes a space as this.
SPACE = "▁"
#: Score of a token that no merge makes, so that it never is the best merge.
NEVER = -1e6

_NEEDS = "llama.cpp reads byte-level BPE, SentencePiece BPE with byte tokens, and SentencePiece Unigram"


@dataclass(frozen=True)
class Vocabulary:
    """What ``tokenizer.ggml.*`` holds.

    Attributes:
        kind: ``tokenizer.ggml.model``.
        tokens: one for each row of the embedding; rows without a token are filled with ``[PADn]``.
        types: of each token.
        scores: of each token (llama, t5), else empty.
        merges: ``left right``, best first (gpt2), else empty.
        special: ``bos``, ``eos``, ``unk``, ``pad`` → id, those that exist.
        add_bos: whether plain text is begun with BOS.
        add_eos: whether plain text is ended with EOS.
        composes: the tokenizer composes Unicode (NFC) first, which llama.cpp does not do.
        charsmap: SentencePiece's compiled normaliser (t5), else empty.
        state: the whole tokenizer.json.
    """

    kind: Kind
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    scores: tuple[float, ...]
    merges: tuple[str, ...]
    special: Mapping[str, int]
    add_bos: bool
    add_eos: bool
    composes: bool
    charsmap: bytes
    state: Mapping[str, Any]


def vocabulary_of(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> Vocabulary:
    """The tables for a tokenizer whose model has ``vocab_size`` embedding rows.

    Raises:
        ExportError: llama.cpp has no such kind of vocabulary, the tokenizer has more tokens than the
            model has rows, or entries are not unique (llama.cpp would abort the whole process).
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ExportError(
            f"the tokenizer is a {type(tokenizer).__name__}, which has no tokenizer.json",
            hint="save it once as a fast tokenizer: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)",
        )
    state: dict[str, Any] = json.loads(backend.to_str())
    kind = _kind(state)
    tokens, types = _tokens(tokenizer, state, vocab_size, spaces_escaped=kind != "gpt2")
    _require_loadable(kind, tokens)
    add_bos, add_eos = _adds(tokenizer)
    return Vocabulary(
        kind=kind,
        tokens=tuple(tokens),
        types=tuple(types),
        scores=() if kind == "gpt2" else tuple(_scores(state, tokens)),
        merges=tuple(" ".join(merge) for merge in _merges(state)) if kind == "gpt2" else (),
        special=_special(tokenizer, vocab_size),
        add_bos=add_bos,
        add_eos=add_eos,
        composes=any(step["type"] == "NFC" for step in _steps(state["normalizer"], "normalizers")),
        charsmap=_charsmap(state),
        state=state,
    )


def _steps(part: Mapping[str, Any] | None, inner: str) -> Iterator[Mapping[str, Any]]:
    """The steps of a normaliser or pre-tokenizer, sequences flattened."""
    if part is None:
        return
    if part["type"] == "Sequence":
        for step in part[inner]:
            yield from _steps(step, inner)
    else:
        yield part


def splitting_steps(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The pre-tokenizer's steps in order."""
    return list(_steps(state["pre_tokenizer"], "pretokenizers"))


def _kind(state: Mapping[str, Any]) -> Kind:
    model = state["model"]["type"]
    byte_level = any(step["type"] == "ByteLevel" for step in splitting_steps(state))
    if model == "BPE" and byte_level:
        return "gpt2"
    if model == "BPE" and state["model"].get("byte_fallback"):
        return "llama"
    if model == "Unigram":
        return "t5"
    raise ExportError(
        f"llama.cpp has no such vocabulary: {model} {'without bytes' if model == 'BPE' else ''}".rstrip(), hint=_NEEDS
    )


def _tokens(
    tokenizer: PreTrainedTokenizerBase, state: Mapping[str, Any], vocab_size: int, *, spaces_escaped: bool
) -> tuple[list[str], list[int]]:
    by_id = {index: token for token, index in tokenizer.get_vocab().items()}
    if max(by_id) >= vocab_size:
        over = sorted(index for index in by_id if index >= vocab_size)
        raise ExportError(
            f"the tokenizer has {len(over)} tokens that the model has no row for: it has {vocab_size} rows",
            hint="the tokenizer and the model must belong together; train again with the model's own tokenizer",
            problems=[f"{index}: {by_id[index]!r}" for index in over[:12]],
        )
    added = tokenizer.added_tokens_decoder
    unknown = state["model"].get("unk_token")
    tokens, types = [], []
    for index in range(vocab_size):
        token = by_id.get(index)
        kind = UNUSED if token is None else NORMAL
        if token is not None and index in added:
            kind = CONTROL if added[index].special else USER_DEFINED
            # llama.cpp looks for these in the text before it writes spaces as ▁
            token = token.replace(SPACE, " ") if spaces_escaped and kind == USER_DEFINED else token
        if token is not None and token == unknown and spaces_escaped:
            kind = UNKNOWN
        if token is not None and spaces_escaped and _is_byte(token):
            kind = BYTE
        tokens.append(f"[PAD{index}]" if token is None else token)
        types.append(kind)
    return tokens, types


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _require_loadable(kind: Kind, tokens: list[str]) -> None:
    """Refuse what libllama answers with an abort of the process."""
    double = [token for token, count in Counter(tokens).items() if count > 1]
    empty = [index for index, token in enumerate(tokens) if not token]
    if double or empty:
        raise ExportError(
            "the vocabulary cannot be stored: llama.cpp needs every token to be unique and not empty",
            hint="give the duplicates of the tokenizer other names",
            problems=[f"{token!r} appears more than once" for token in double[:12]]
            + [f"token {index} is empty" for index in empty[:12]],
        )
    missing = [byte for byte in range(256) if f"<0x{byte:02X}>" not in set(tokens)] if kind == "llama" else []
    if missing:
        raise ExportError(
            f"the SentencePiece vocabulary lacks {len(missing)} of the 256 byte tokens, which llama.cpp needs",
            hint="use a tokenizer trained with byte_fallback",
        )


def _merges(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for merge in state["model"]["merges"]:
        left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
        yield left, right


def _scores(state: Mapping[str, Any], tokens: list[str]) -> Iterator[float]:
    """Scores by id: Unigram's own; for BPE minus the rank of the first merge that makes the token.

    llama.cpp joins the neighbours whose union has the highest score, so scores that fall with the rank
    of the merge reproduce the order of merging.
    """
    if state["model"]["type"] == "Unigram":
        own: dict[str, float] = dict(state["model"]["vocab"])
        yield from (own.get(token, 0.0) for token in tokens)
        return
    ranks: dict[str, float] = {}
    for rank, (left, right) in enumerate(_merges(state)):
        ranks.setdefault(left + right, -float(rank))
    yield from (ranks.get(token, NEVER) for token in tokens)


def _special(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> dict[str, int]:
    names = {"bos": "bos_token_id", "eos": "eos_token_id", "unk": "unk_token_id", "pad": "pad_token_id"}
    found = {name: getattr(tokenizer, attribute) for name, attribute in names.items()}
    return {name: int(index) for name, index in found.items() if index is not None and index < vocab_size}


def _adds(tokenizer: PreTrainedTokenizerBase) -> tuple[bool, bool]:
    """Whether BOS and EOS are put around plain text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a", add_special_tokens=True)["input_ids"]
    before = whole[: max(0, len(whole) - len(plain))]
    return (
        bool(before) and whole[0] == tokenizer.bos_token_id,
        len(whole) > len(plain) and whole[-1] == tokenizer.eos_token_id,
    )


def _charsmap(state: Mapping[str, Any]) -> bytes:
    for step in _steps(state["normalizer"], "normalizers"):
        if step["type"] == "Precompiled":
            return base64.b64decode(step["precompiled_charsmap"])
    return b""
