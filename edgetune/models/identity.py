"""What a model and its tokenizer are: context, stop ids, hashes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune.errors import ModelError
from edgetune.files import sha256_json, sha256_text

if TYPE_CHECKING:
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerBase

#: A string that no template writes of its own accord; what follows it ends an answer.
_PROBE = "edgetune probe"


def context_length(config: PretrainedConfig) -> int:
    """Longest sequence in tokens that the model was built for.

    Raises:
        ModelError: its configuration does not say.
    """
    text = config.get_text_config()
    for key in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"):
        value = getattr(text, key, None)
        if isinstance(value, int) and value > 0:
            return value
    raise ModelError(
        f"the configuration of this {config.model_type} model does not say its context length",
        hint="add max_position_embeddings to config.json",
    )


def stop_ids(
    tokenizer: PreTrainedTokenizerBase, config: GenerationConfig | PretrainedConfig | None = None
) -> tuple[int, ...]:
    """Every token id that ends an assistant turn, the template's own end-of-turn token first.

    The union of: the token that the chat template writes right after an assistant message,
    ``eos_token_id`` of ``config`` (a model's ``generation_config``, else its config), and the
    tokenizer's own eos token.

    Raises:
        ModelError: the chat template cannot render a question and an answer.
    """
    found = [_template_end(tokenizer), *_ids(getattr(config, "eos_token_id", None)), *_ids(tokenizer.eos_token_id)]
    return tuple(dict.fromkeys(token for token in found if token is not None))


def _ids(value: Any) -> list[int]:
    if value is None:
        return []
    return [int(item) for item in value] if isinstance(value, Iterable) else [int(value)]


def _template_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that the chat template writes right after an assistant message, if it writes one."""
    if not tokenizer.chat_template:
        return None
    from jinja2 import TemplateError

    talk = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _PROBE}]
    try:
        rendered = str(tokenizer.apply_chat_template(talk, tokenize=False))
    except (TemplateError, TypeError, ValueError) as error:
        raise ModelError(
            f"the chat template cannot render a question and an answer: {error}",
            hint="give another one as model.chat_template",
        ) from error
    _, found, after = rendered.rpartition(_PROBE)
    if not found or not after.strip():
        return None
    first = tokenizer(after.lstrip(), add_special_tokens=False)["input_ids"][0]
    token = tokenizer.added_tokens_decoder.get(first)
    return int(first) if token is not None else None


def hash_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of the chat template; of the empty text when there is none."""
    template = tokenizer.chat_template
    if isinstance(template, dict):  # several named templates
        return sha256_json(template)
    return sha256_text(template or "")


def hash_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of all that decides token ids: the whole tokenizer.json where there is one, else the vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return sha256_json(tokenizer.get_vocab())
    state = json.loads(backend.to_str())
    state["padding"] = state["truncation"] = None  # set by calls, not part of the tokenizer
    return sha256_text(json.dumps(state, sort_keys=True, ensure_ascii=False))


def hash_config(folder: Path) -> str:
    """SHA-256 of a model folder's config.json, however it is laid out, but for who wrote it."""
    config = json.loads((folder / "config.json").read_bytes())
    for key in ("transformers_version", "_name_or_path"):
        config.pop(key, None)
    return sha256_json(config)
