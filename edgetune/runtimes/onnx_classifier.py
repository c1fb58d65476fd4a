"""Classifiers in plain onnxruntime: for phones, boards and servers. Needs the ``onnx`` extra, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.artifact import Artifact
from edgetune.errors import ArtifactError, DataError
from edgetune.extras import require
from edgetune.runtimes.classifier import Features, padded
from edgetune.runtimes.onnx_session import logits_of, open_session, require_classes, require_task
from edgetune.runtimes.threads import chosen_threads

TOKENIZER = "tokenizer.json"


class OnnxClassifier:
    """Runs one exported classifier on the CPU. Not thread-safe.

    Args:
        artifact: an export for text-classification.
        threads: default: the physical cores this process may use.

    Raises:
        ArtifactError: it is no classifier, or damaged.
        MissingExtra: the onnx extra is not installed.
    """

    name = "onnxruntime"

    def __init__(self, artifact: Artifact, *, threads: int | None = None) -> None:
        manifest = require_task(artifact, "text-classification")
        self.labels: tuple[str, ...] = manifest.labels
        self.max_tokens: int = manifest.context_length
        self.threads = chosen_threads(threads)
        self._path = artifact.path
        self._tokenizer = open_tokenizer(artifact.path / TOKENIZER, self.max_tokens)
        self._session: Any = open_session(artifact.main_file, self.threads, needed_for="running a classifier")
        self._filler = int(self._session.get_modelmeta().custom_metadata_map.get("edgetune.pad_id", 0))
        require_classes(self._session, self.labels, artifact.path)

    def encode(self, text: str) -> list[int]:
        """Token ids, special ones included, cut to ``max_tokens``."""
        return list(self._tokenizer.encode(text).ids)

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (texts, classes)."""
        return self.compute(self.features(texts))

    def features(self, inputs: Sequence[str]) -> Features:
        """Token ids and which of them count, each (texts, longest).

        Raises:
            DataError: something is no text, or an empty one.
        """
        for number, text in enumerate(inputs, start=1):
            which = f"text {number}" if len(inputs) > 1 else "the text"
            if not isinstance(text, str):
                raise DataError(f"{which} is {type(text).__name__}, not text", hint="give texts as str")
            if not _is_unicode(text):
                raise DataError(f"{which} is not UTF-8", hint="write it as UTF-8")
            if not text.strip():
                raise DataError(f"{which} is empty: there is nothing to tell", hint="leave empty texts out")
        encoded = [self.encode(text) for text in inputs]
        if not all(encoded):  # some tokenizers add none of their own, and drop what cannot be seen
            raise DataError(f"there are no tokens in {inputs[encoded.index([])]!r}", hint="leave it out")
        ids, mask = padded(encoded, self._filler)
        return {"input_ids": ids, "attention_mask": mask}

    def compute(self, features: Features) -> NDArray[np.float32]:
        """The graph alone: shape (texts, classes)."""
        return logits_of(self._session, features, self._path)

    def close(self) -> None:
        """Free the model."""
        self._session = None


def _is_unicode(text: str) -> bool:
    """Whether it was read from UTF-8, and not from other bytes that were kept as they are."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def open_tokenizer(file: Path, max_tokens: int) -> Any:
    """A tokenizer as a classifier reads with it: its own special tokens around the text, cut, never padded.

    What the file itself says of cutting and padding is of how it was trained once, and is left aside. Control tokens
    spelled out in a text are text.

    Raises:
        ArtifactError: it cannot be read.
    """
    tokenizers = require("tokenizers", extra="onnx", needed_for="running a classifier")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise ArtifactError(f"cannot read {file}: {error}", hint="export it again, or copy the whole folder") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    tokenizer.encode_special_tokens = True
    return tokenizer
