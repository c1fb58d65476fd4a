"""The folder around a graph: what transformers.js, onnxruntime-genai and plain onnxruntime look for.

::

    config.json              of the model; "transformers.js_config" says which graph there is
    generation_config.json   the tokens that end an answer
    genai_config.json        for onnxruntime-genai
    tokenizer.json, tokenizer_config.json (with the chat template), chat_template.jinja
    onnx/model_q4.onnx       the graph, and model_q4.onnx_data where it is larger than 2 GB
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgetune import files
from edgetune.models import load_tokenizer
from edgetune.models.text_config import ModelConfig
from edgetune_onnx.precision import Precision

CONFIG, GENERATION, GENAI = "config.json", "generation_config.json", "genai_config.json"
GRAPHS = "onnx"
#: ONNX Runtime's level of logging that shows errors and no warnings.
_ERRORS = 3
#: Greedy search, nothing penalised, as onnxruntime-genai's builder writes it where no setting says otherwise.
_SEARCH = {
    "diversity_penalty": 0.0,
    "do_sample": False,
    "early_stopping": True,
    "length_penalty": 1.0,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "repetition_penalty": 1.0,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
}
#: Whether the cache is written in place, which is for the builder to know.
SHARES_BUFFER = "past_present_share_buffer"


def config_json(config: ModelConfig, base_folder: Path, *, tied: bool) -> dict[str, Any]:
    """The model's config.json, in the type that the graph computes in."""
    raw: dict[str, Any] = json.loads((base_folder / CONFIG).read_text(encoding="utf-8"))
    for key in ("quantization_config", "torch_dtype", "_name_or_path"):
        raw.pop(key, None)
    return raw | {"architectures": [config.architecture], "tie_word_embeddings": tied, "dtype": "float32"}


def generation_json(config: ModelConfig, stop_ids: Sequence[int]) -> dict[str, Any]:
    """generation_config.json: greedy, ending where the trained model's answers end."""
    known = {key: config.raw[key] for key in ("bos_token_id", "pad_token_id") if config.raw.get(key) is not None}
    return known | {"eos_token_id": list(stop_ids), "do_sample": False}


def javascript_json(precision: Precision, names: Sequence[str]) -> dict[str, Any]:
    """What transformers.js must be told, so that ``pipeline("text-generation", folder)`` takes this graph."""
    found: dict[str, Any] = {"dtype": precision.dtype}
    if precision.kind == "fp16":
        found["kv_cache_dtype"] = {"fp16": "float16"}
    if len(names) > 1:
        found["use_external_data_format"] = {names[0]: len(names) - 1}
    return found


def genai_json(config: ModelConfig, stop_ids: Sequence[int], graph: str, *, places: bool = False) -> dict[str, Any]:
    """What genai_config.json must say under ``model``; the builder's own file says more.

    With ``places`` for adapters ONNX Runtime would warn of each of them, at every start.
    """
    # Whoever runs it chooses a provider; else a processor could not.
    session: dict[str, Any] = {"log_id": "onnxruntime-genai", "provider_options": []}
    if places:
        session["log_severity_level"] = _ERRORS
    return {
        "context_length": config.context,
        "eos_token_id": list(stop_ids),
        "vocab_size": config.vocabulary,
        "decoder": {
            "filename": graph,
            "head_size": config.head_dim,
            "hidden_size": config.hidden,
            "num_attention_heads": config.heads,
            "num_hidden_layers": config.layers,
            "num_key_value_heads": config.kv_heads,
            "session_options": session,
        },
    }


def genai_tokens(config: ModelConfig, tokenizer_folder: Path, stop_ids: Sequence[int]) -> dict[str, Any]:
    """Family and further tokens of genai_config.json, as the builder finds them: in config.json, else the tokenizer."""
    tokenizer = load_tokenizer(tokenizer_folder)

    def first(name: str, otherwise: int) -> int:
        found = (config.raw.get(name), getattr(tokenizer, name, None), otherwise)
        return next(int(value) for value in found if value is not None)

    return {
        "type": config.architecture.partition("For")[0].lower(),
        "bos_token_id": first("bos_token_id", 1),
        "pad_token_id": first("pad_token_id", stop_ids[0]),
    }


def search_json(config: ModelConfig) -> dict[str, Any]:
    """``search`` of genai_config.json: greedy, up to the whole context."""
    return _SEARCH | {"max_length": config.context}


def write_configs(
    folder: Path,
    config: Mapping[str, Any],
    generation: Mapping[str, Any],
    genai: Mapping[str, Any],
    search: Mapping[str, Any],
) -> None:
    """Write config.json and generation_config.json, and mend the builder's genai_config.json in ``folder``."""
    files.write_json(folder / CONFIG, config)
    files.write_json(folder / GENERATION, generation)
    path = folder / GENAI
    written = json.loads(path.read_text(encoding="utf-8"))
    decoder = written["model"]["decoder"] | genai["decoder"]
    model = {**written["model"], **genai, "decoder": decoder}
    own = {**search, SHARES_BUFFER: written["search"][SHARES_BUFFER]}
    files.write_json(path, {"model": model, "search": own})
