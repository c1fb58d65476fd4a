"""The tokenizer beside a graph, as transformers 4 and 5, transformers.js and Optimum all take it."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from edgetune import files
from edgetune.models import load_tokenizer

#: Each that one folder or another has.
NAMES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
_CONFIG = "tokenizer_config.json"
#: What transformers notes about where a tokenizer was loaded from; no property of the tokenizer.
_LOADED_FROM = ("backend", "is_local", "local_files_only", "name_or_path")


def write_tokenizer(source: Path, folder: Path) -> None:
    """Copy a tokenizer, any template in both places: transformers.js reads it in tokenizer_config.json only."""
    tokenizer = load_tokenizer(source)
    tokenizer.save_pretrained(folder)
    path = folder / _CONFIG
    settings = json.loads(path.read_text(encoding="utf-8"))
    for key in _LOADED_FROM:
        settings.pop(key, None)
    # The one class that every version of transformers and transformers.js knows; the rest is in tokenizer.json.
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    if tokenizer.chat_template is not None:
        settings["chat_template"] = tokenizer.chat_template
    files.write_json(path, settings)


def tokenizer_problems(source: Path, folder: Path) -> list[str]:
    """Files in ``folder`` that are not what :func:`write_tokenizer` makes of the trained model's tokenizer."""
    with TemporaryDirectory() as name:
        right = Path(name)
        write_tokenizer(source, right)
        hashes = dict(files.sha256_files(right))
    return [
        f"{name} is {'another one than the trained model has' if (folder / name).is_file() else 'missing'}"
        for name, digest in hashes.items()
        if not (folder / name).is_file() or files.sha256_file(folder / name) != digest
    ]
