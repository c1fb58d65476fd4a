"""The vocabulary of a GGUF file, written and then proved: llama.cpp must give the same token ids as the original.

:func:`add_vocabulary` writes ``tokenizer.*`` into a GGUF writer. Which way of splitting text a byte-level
vocabulary needs is not looked up but found: candidates are loaded into libllama one after another and
their ids compared with the original tokenizer's over hostile text. SentencePiece vocabularies are
checked in the same way. :func:`check_vocabulary` does the comparison on a finished file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import console, extras
from edgetune.errors import ExportError
from edgetune.models import load_tokenizer, stop_ids
from edgetune_gguf.hostile_text import chat_text, hostile_texts
from edgetune_gguf.pre_tokenizers import candidates
from edgetune_gguf.vocabulary_check import Mismatch, compare, expected_ids, open_vocabulary
from edgetune_gguf.vocabulary_entries import Vocabulary, vocabulary_of

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PreTrainedTokenizerBase

_PRE, _PREFIX = "tokenizer.ggml.pre", "tokenizer.ggml.add_space_prefix"
_TRIM, _NAME = "tokenizer.ggml.remove_extra_whitespaces", "general.name"
Overrides = Mapping[str, str | bool]


@dataclass(frozen=True)
class VocabularyCheck:
    """What was written and how it was proved.

    Attributes:
        kind: ``gpt2`` (byte-level BPE), ``llama`` (SentencePiece BPE) or ``t5`` (Unigram).
        pre: the way of splitting text, as llama.cpp calls it; ``default`` for SentencePiece.
        strings: texts compared.
        mismatches: of them tokenised in another way; more than 0 only with the exception that ``notes`` states.
        tried: settings tried until one fitted, the fitting one last.
        stop_ids: tokens at which an answer ends, all known as such to llama.cpp.
        notes: what a user of the file should know about its tokenizer.
    """

    kind: str
    pre: str
    strings: int
    mismatches: int
    tried: tuple[str, ...]
    stop_ids: tuple[int, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Trial:
    """One setting that was tried, with the texts that differed."""

    overrides: Overrides
    mismatches: Sequence[Mismatch]

    @property
    def label(self) -> str:
        return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in self.overrides.items())


def add_vocabulary(
    writer: GGUFWriter, tokenizer_folder: Path, architecture: str, vocab_size: int, stops: Sequence[int] = ()
) -> VocabularyCheck:
    """Write ``tokenizer.*`` and prove that llama.cpp tokenises like the original.

    Args:
        writer: receives the keys. Set its name first: where special tokens swallow the space after them
            (Phi-3), " Phi-3" is appended to it, because llama.cpp knows that by the name alone.
        tokenizer_folder: the tokenizer with its chat template.
        architecture: llama.cpp's name of the architecture.
        vocab_size: rows of the embedding.
        stops: ids that end an answer besides those that the tokenizer and its template show.

    Raises:
        ExportError: llama.cpp has no such vocabulary, or none of its ways of splitting text gives the same
            ids; the message shows the first text that differs. Nothing was added to ``writer`` then.
        MissingExtra: the ``gguf`` or ``train`` extra is not installed.
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    vocabulary = vocabulary_of(tokenizer, vocab_size)
    ends = tuple(dict.fromkeys([*stop_ids(tokenizer), *stops]))
    name = str(writer.kv_data[0][_NAME].value) if _NAME in writer.kv_data[0] else "model"
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "vocabulary.gguf"
        with _probe_writer(probe, architecture, name) as blank:
            _write(blank, vocabulary, tokenizer, ends, {_PRE: "default", _PREFIX: True})
        settings = list(_settings(vocabulary, name, strips=_strips(tokenizer)))
        check, chosen = _find(probe, tokenizer, vocabulary, ends, settings)
    _write(writer, vocabulary, tokenizer, ends, chosen)
    return check


def check_vocabulary(file: Path, tokenizer_folder: Path) -> VocabularyCheck:
    """Compare a finished file's tokenizer with the original, as it stands.

    Raises:
        ExportError: ids differ, or a stop token is not known as one.
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    vocabulary = vocabulary_of(tokenizer, len(tokenizer))
    expected = expected_ids(tokenizer, hostile_texts(tokenizer))
    trial = _try(file, {}, expected, vocabulary)
    if trial is None:
        raise ExportError(f"llama.cpp cannot load the vocabulary of {file}", hint="export it again")
    notes = _accept(trial, vocabulary, tokenizer)
    if notes is None:
        raise _refusal([trial], len(expected))
    ends = stop_ids(tokenizer)
    _require_stops(file, {}, tokenizer, ends)
    return VocabularyCheck(vocabulary.kind, "as written", len(expected), len(trial.mismatches), (), ends, notes)


def _find(
    probe: Path,
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: Vocabulary,
    ends: tuple[int, ...],
    settings: Sequence[Overrides],
) -> tuple[VocabularyCheck, Overrides]:
    """Try settings until one gives the original's ids."""
    expected = expected_ids(tokenizer, hostile_texts(tokenizer))
    trials: list[_Trial] = []
    with console.progress("Checking the vocabulary", total=len(settings), unit="settings") as bar:
        for overrides in settings:
            trial = _try(probe, overrides, expected, vocabulary)
            bar.advance()
            if trial is None:
                continue
            trials.append(trial)
            notes = _accept(trial, vocabulary, tokenizer)
            if notes is not None:
                _require_stops(probe, overrides, tokenizer, ends)
                tried = tuple(trial.label for trial in trials)
                pre = str(overrides.get(_PRE, "default"))
                return VocabularyCheck(
                    vocabulary.kind, pre, len(expected), len(trial.mismatches), tried, ends, notes
                ), overrides
    raise _refusal(trials, len(expected))


def _strips(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether special tokens swallow the space after them."""
    return any(token.rstrip for token in tokenizer.added_tokens_decoder.values())


def _settings(vocabulary: Vocabulary, name: str, *, strips: bool) -> Iterator[Overrides]:
    """What llama.cpp may be told about the vocabulary, the likeliest first."""
    if vocabulary.kind == "gpt2":
        yield from ({_PRE: way} for way in candidates(vocabulary.state))
    elif vocabulary.kind == "llama":
        names: list[dict[str, str | bool]] = [{_NAME: f"{name[:60]} Phi-3"}, {}] if strips else [{}]
        yield from ({**named, _PREFIX: prefixed} for named in names for prefixed in (True, False))
    else:
        yield from ({_PREFIX: prefixed, _TRIM: trimmed} for trimmed in (True, False) for prefixed in (True, False))


def _try(
    file: Path, overrides: Overrides, expected: Sequence[tuple[str, tuple[int, ...]]], vocabulary: Vocabulary
) -> _Trial | None:
    with open_vocabulary(file, overrides) as loaded:
        if loaded is None:
            return None
        return _Trial(overrides, compare(loaded, expected, composed=vocabulary.composes))


def _accept(trial: _Trial, vocabulary: Vocabulary, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...] | None:
    """Notes if the trial is good enough to ship, None if not.

    Good enough means no difference at all, with one exception: SentencePiece tokenizers that put a space
    before the very first word only (Mistral v0.3). llama.cpp puts it after every special token or nowhere;
    without it, everything that begins with a special token is right, which every chat prompt does.
    """
    notes = []
    if vocabulary.composes:
        notes.append("the model composes Unicode (NFC) before tokenising, llama.cpp does not: give it composed text")
    if _NAME in trial.overrides:
        notes.append("llama.cpp drops spaces after special tokens only in files with Phi-3 in their name: keep it")
    if trial.mismatches:
        special = tuple(token.content for token in tokenizer.added_tokens_decoder.values())
        chats = bool(tokenizer.chat_template) and chat_text(tokenizer).startswith(special)
        if vocabulary.kind != "llama" or not chats or any(bad.text.startswith(special) for bad in trial.mismatches):
            return None
        notes.append("text that begins with no special token gets no leading space; chat prompts begin with one")
    return tuple(notes)


def _refusal(trials: Sequence[_Trial], strings: int) -> ExportError:
    if not trials:
        return ExportError(
            "llama.cpp cannot load this vocabulary with any of its ways of splitting text",
            hint="install a newer llama-cpp-python",
        )
    best = min(trials, key=lambda trial: len(trial.mismatches))
    return ExportError(
        f"llama.cpp splits text in no way that gives this tokenizer's ids: of {len(trials)} tried, the closest "
        f"({best.label or 'the file'}) differs on {len(best.mismatches)} of {strings} texts",
        hint="this tokenizer needs a newer llama.cpp; a wrong one would quietly spoil the model's answers",
        problems=[str(mismatch) for mismatch in best.mismatches[:3]],
    )


def _require_stops(file: Path, overrides: Overrides, tokenizer: PreTrainedTokenizerBase, ends: tuple[int, ...]) -> None:
    with open_vocabulary(file, overrides) as loaded:
        unknown = [token for token in ends if loaded is not None and not loaded.ends_generation(token)]
    if unknown:
        raise ExportError(
            "llama.cpp would not stop at a token that ends this model's answers",
            hint="a GGUF can name three: make the others part of the text, or drop them from generation_config.json",
            problems=[f"{token}: {tokenizer.convert_ids_to_tokens(token)!r}" for token in unknown],
        )


@contextmanager
def _probe_writer(path: Path, architecture: str, name: str) -> Iterator[GGUFWriter]:
    """A file that will hold nothing but the vocabulary; settings are overridden when it is loaded."""
    gguf = extras.require("gguf", extra="gguf", needed_for="a GGUF file")
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    yield writer
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def _write(
    writer: Any,
    vocabulary: Vocabulary,
    tokenizer: PreTrainedTokenizerBase,
    ends: tuple[int, ...],
    settings: Overrides,
) -> None:
    writer.add_tokenizer_model(vocabulary.kind)
    writer.add_tokenizer_pre(str(settings.get(_PRE, "default")))
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    if vocabulary.scores:
        writer.add_token_scores(list(vocabulary.scores))
    if vocabulary.merges:
        writer.add_token_merges(list(vocabulary.merges))
    if vocabulary.charsmap:
        writer.add_precompiled_charsmap(vocabulary.charsmap)
    writer.add_add_space_prefix(bool(settings.get(_PREFIX, False)))
    if _TRIM in settings:
        writer.add_remove_extra_whitespaces(bool(settings[_TRIM]))
    if _NAME in settings:
        writer.kv_data[0].pop(_NAME, None)
        writer.add_name(str(settings[_NAME]))
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(vocabulary.add_eos)
    for role, index in vocabulary.special.items():
        getattr(writer, f"add_{role}_token_id")(index)
    _write_ends(writer, vocabulary, ends)
    if tokenizer.chat_template:
        writer.add_chat_template(_template(tokenizer))


def _write_ends(writer: Any, vocabulary: Vocabulary, ends: tuple[int, ...]) -> None:
    """Name up to three tokens that end an answer: eos, end of turn (the template's), end of message."""
    if not ends:
        return
    eos = vocabulary.special.get("eos", ends[0])
    if "eos" not in vocabulary.special:
        writer.add_eos_token_id(eos)
    writer.add_eot_token_id(ends[0])
    others = [token for token in ends if token not in (eos, ends[0])]
    if others:
        writer.add_eom_token_id(others[0])


def _template(tokenizer: PreTrainedTokenizerBase) -> Any:
    template = tokenizer.chat_template
    if isinstance(template, dict):
        return [{"name": name, "template": text} for name, text in template.items()]
    return template
