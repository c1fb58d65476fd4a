"""Small tokenizers of every kind, trained in a moment on text with all the trouble in it."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Any

from edgetune_gguf.hostile_text import FIXED
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEXT = (inspect.getsource(textwrap) + "\n".join(FIXED)).split("\n\n") + list(FIXED) * 3 + [" 1234 56 2024 007 99 "] * 9


def byte_level(
    folder: Path,
    *,
    pattern: str | None = None,
    steps: list[Any] | None = None,
    gpt2_split: bool = True,
    ignore_merges: bool = False,
    composes: bool = False,
    size: int = 1200,
    extra: tuple[AddedToken, ...] = (),
    template: str = CHATML,
) -> PreTrainedTokenizerFast:
    """Byte-level BPE, split by a pattern, by given steps, or in GPT-2's way."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if pattern is not None:
        steps, gpt2_split = [pre_tokenizers.Split(Regex(pattern), behavior="isolated")], False
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=gpt2_split)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, last]) if steps else last
    tokenizer.normalizer = normalizers.NFC() if composes else None
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.add_special_tokens([token for token in extra if token.special])
    tokenizer.add_tokens([token for token in extra if not token.special])
    return _save(tokenizer, folder, template, bos="<|im_start|>", eos="<|im_end|>", pad="<|endoftext|>")


def sentencepiece_bpe(
    folder: Path,
    *,
    prepend: str = "normalizer",
    bytes_too: bool = True,
    extra: tuple[AddedToken, ...] = (),
    template: str | None = None,
) -> PreTrainedTokenizerFast:
    """Llama 2's kind: ▁ for spaces, byte fallback, BOS before text.

    Args:
        folder: where it is saved.
        prepend: what puts ▁ before text: ``normalizer`` (every piece between special tokens),
            ``first`` (only the very beginning), ``never`` (Gemma).
        bytes_too: with the 256 byte tokens.
        extra: further tokens.
        template: chat template.
    """
    special = ["<unk>", "<s>", "</s>"]
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)] if bytes_too else []
    trainer = trainers.BpeTrainer(
        vocab_size=1000 + len(alphabet), special_tokens=[*special, *alphabet], show_progress=False, limit_alphabet=120
    )
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(TEXT, trainer)
    vocabulary = dict(trained.get_vocab())
    scores = {token: -float(index) for token, index in vocabulary.items()}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=implied_merges(vocabulary, scores),
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    replace = normalizers.Replace(" ", "▁")
    if prepend == "first":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        steps = [normalizers.Prepend("▁")] if prepend == "normalizer" else []
        tokenizer.normalizer = normalizers.Sequence([*steps, replace])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    tokenizer.add_special_tokens([token for token in extra if token.special])
    tokenizer.add_tokens([token for token in extra if not token.special])
    return _save(tokenizer, folder, template, bos="<s>", eos="</s>", unk="<unk>")


def implied_merges(vocabulary: dict[str, int], scores: dict[str, float]) -> list[tuple[str, str]]:
    """Every cut of every piece into two pieces, best result first: how SentencePiece merges."""
    cuts = [
        (-scores[piece], piece[:at], piece[at:])
        for piece in vocabulary
        for at in range(1, len(piece))
        if piece[:at] in vocabulary and piece[at:] in vocabulary and not piece.startswith("<0x")
    ]
    return [(left, right) for _, left, right in sorted(cuts)]


def unigram(folder: Path, *, prepend: str) -> PreTrainedTokenizerFast:
    """SentencePiece Unigram: pieces with scores, no merges; ▁ put before text ``always`` or ``never``."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend)
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return _save(tokenizer, folder, None, eos="</s>", unk="<unk>", pad="<pad>")


#: What makes a SentencePiece model like Gemma's: no space before text, runs of spaces and turns as pieces.
GEMMA = {
    "user_defined_symbols": ["<start_of_turn>", "<end_of_turn>", "\n\n", "▁▁", "▁▁▁"],
    "add_dummy_prefix": False,
    "pad_id": 0,
    "eos_id": 1,
    "bos_id": 2,
    "unk_id": 3,
}


def sentencepiece_model(folder: Path, kind: str = "bpe", **options: Any) -> Any:
    """Train a ``tokenizer.model`` with the sentencepiece library and return the library's own processor."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_prefix=str(folder / "tokenizer"),
        model_type=kind,
        vocab_size=1000,
        character_coverage=0.98,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))


def _save(tokenizer: Tokenizer, folder: Path, template: str | None, **roles: str) -> PreTrainedTokenizerFast:
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        **{f"{role}_token": token for role, token in roles.items()},
    )
    fast.chat_template = template
    fast.save_pretrained(folder)
    return fast
