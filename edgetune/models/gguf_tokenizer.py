"""A tokenizer built straight from a GGUF file's vocabulary: tokenizer.json and tokenizer_config.json.

Two kinds are known: byte-level BPE (``tokenizer.ggml.model`` = ``gpt2``), whose way of splitting text
is named by ``tokenizer.ggml.pre``, and SentencePiece BPE (``llama``), whose merges follow from the
pieces' scores. The split patterns below are the ones the models' own tokenizer.json files carry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import extras
from edgetune.errors import ModelError
from edgetune.models import sentencepiece_tokenizer
from edgetune.models.gguf_file import GgufFile
from edgetune.models.sentencepiece_tokenizer import CONTROL, UNKNOWN, USER_DEFINED

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _TAIL
_QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}" + _CASED_TAIL
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?|\p{{N}}{{1,3}}" + _CASED_TAIL
)
#: Split pattern by ``tokenizer.ggml.pre``.
PATTERNS: Mapping[str, str] = (
    dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "dbrx", "smaug-bpe", "glm4", "chatglm-bpe"), _LLAMA3)
    | dict.fromkeys(("qwen2", "stablelm2", "hunyuan", "deepseek-r1-qwen"), _QWEN2)
    | dict.fromkeys(("gpt-4o", "llama4"), _GPT4O)
    | {"tekken": _TEKKEN}
)
#: GPT-2's own splitting, and the same with every digit on its own.
GPT2_LIKE = ("gpt-2", "mpt", "olmo", "jais", "phi-2", "granite-docling")
DIGITS_APART = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
#: A token that the vocabulary holds whole is taken before any merge.
IGNORE_MERGES = ("llama-bpe", "llama3", "llama-v3")
#: Composed Unicode before splitting.
COMPOSED = ("qwen2", "deepseek-r1-qwen")


def write_tokenizer(file: GgufFile, folder: Path) -> None:
    """Write the tokenizer files of a GGUF model into ``folder``.

    Raises:
        ModelError: a vocabulary kind or a way of splitting text that is not known.
        MissingExtra: the tokenizers package is not installed.
    """
    extras.require("tokenizers", extra="train", needed_for="a GGUF base model")
    kind = file.metadata.get("tokenizer.ggml.model")
    if kind == "gpt2":
        tokenizer = _byte_level(file)
    elif kind == "llama":
        tokenizer = _sentencepiece(file)
    else:
        raise ModelError(
            f"{file.path} has a vocabulary of kind '{kind}', which cannot be a base",
            hint="known kinds: gpt2 (byte-level BPE) and llama (SentencePiece); or give the safetensors folder",
        )
    _add_special(tokenizer, file)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = json.dumps(_tokenizer_config(file), indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(config + "\n", encoding="utf-8")


def _tokens(file: GgufFile) -> list[str]:
    return list(file.metadata["tokenizer.ggml.tokens"])


def _types(file: GgufFile) -> list[int]:
    return list(file.metadata.get("tokenizer.ggml.token_type") or [1] * len(_tokens(file)))


def _byte_level(file: GgufFile) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers

    pre = str(file.metadata.get("tokenizer.ggml.pre", ""))
    vocabulary = {token: index for index, token in enumerate(_tokens(file))}
    merges = [_pair(merge) for merge in file.metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre in IGNORE_MERGES))
    tokenizer.pre_tokenizer = _pre_tokenizer(pre, file.path)
    tokenizer.decoder = decoders.ByteLevel()
    if pre in COMPOSED:
        tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right


def _pre_tokenizer(pre: str, path: Path) -> Any:
    from tokenizers import Regex
    from tokenizers import pre_tokenizers as p

    if pre in GPT2_LIKE:
        return p.ByteLevel(add_prefix_space=False)
    if pre in DIGITS_APART:
        return p.Sequence([p.Digits(individual_digits=True), p.ByteLevel(add_prefix_space=False)])
    if pre not in PATTERNS:
        known = sorted([*PATTERNS, *GPT2_LIKE, *DIGITS_APART])
        raise ModelError(
            f"{path} splits text in the way '{pre}', which is not known, so its tokenizer cannot be rebuilt",
            hint=f"give the model's safetensors folder instead; known ways: {', '.join(known)}",
        )
    split = p.Split(Regex(PATTERNS[pre]), behavior="isolated")
    return p.Sequence([split, p.ByteLevel(add_prefix_space=False, use_regex=False)])


def _sentencepiece(file: GgufFile) -> Tokenizer:
    pieces = sentencepiece_tokenizer.Pieces(
        tokens=_tokens(file),
        scores=file.metadata["tokenizer.ggml.scores"],
        types=_types(file),
        unknown=file.metadata.get("tokenizer.ggml.unknown_token_id", 0),
        prefixed=bool(file.metadata.get("tokenizer.ggml.add_space_prefix", True)),
    )
    return sentencepiece_tokenizer.build(pieces)


def _add_special(tokenizer: Tokenizer, file: GgufFile) -> None:
    """Mark control and user-defined tokens, and begin text with BOS where the file asks for it."""
    from tokenizers import AddedToken, processors

    added = (
        []
        if file.metadata["tokenizer.ggml.model"] == "llama"
        else [
            AddedToken(token, normalized=False, special=kind != USER_DEFINED)
            for token, kind in zip(_tokens(file), _types(file), strict=True)
            if kind in (UNKNOWN, CONTROL, USER_DEFINED)
        ]
    )
    tokenizer.add_special_tokens([token for token in added if token.special])
    tokenizer.add_tokens([token for token in added if not token.special])
    if _adds_bos(file):
        bos = file.metadata["tokenizer.ggml.bos_token_id"]
        token = _tokens(file)[bos]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{token} $A", pair=f"{token} $A {token}:1 $B:1", special_tokens=[(token, bos)]
        )


def _adds_bos(file: GgufFile) -> bool:
    """Whether text is begun with BOS: as the file says, else llama.cpp's default for its kind."""
    default = file.metadata.get("tokenizer.ggml.model") == "llama" or (
        file.metadata.get("tokenizer.ggml.pre") in IGNORE_MERGES
    )
    stated = file.metadata.get("tokenizer.ggml.add_bos_token", default)
    return bool(stated) and "tokenizer.ggml.bos_token_id" in file.metadata


def _tokenizer_config(file: GgufFile) -> dict[str, Any]:
    tokens = _tokens(file)
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": file.setting("context_length"),
        "clean_up_tokenization_spaces": False,
    }
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        index = file.metadata.get(f"tokenizer.ggml.{key}_token_id")
        if index is not None and index < len(tokens):
            config[f"{name}_token"] = tokens[index]
    if "tokenizer.chat_template" in file.metadata:
        config["chat_template"] = file.metadata["tokenizer.chat_template"]
    return config
