"""The tokenizer of an ONNX folder, as each of its runtimes reads it; the chat template is the folder's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgetune.errors import ArtifactError
from edgetune.extras import require
from edgetune.runtimes.onnx_folder import OnnxFolder


class GenaiTokenizer:
    """Text in, token ids out, as onnxruntime-genai does it.

    Attributes:
        stop_ids: tokens that end an answer.
        render: applies the chat template in tokenizer_config.json.
    """

    def __init__(self, tokenizer: Any, folder: OnnxFolder) -> None:
        # A BOS is part of the template where a model wants one.
        tokenizer.update_options(add_special_tokens="false")
        self._tokenizer = tokenizer
        self.stop_ids = folder.stop_ids
        self.render = folder.render

    @property
    def beginning(self) -> tuple[int, ...]:
        """What the tokenizer puts first when it is let to."""
        bare = self.encode("a")
        self._tokenizer.update_options(add_special_tokens="true")
        try:
            whole = self.encode("a")
        finally:
            self._tokenizer.update_options(add_special_tokens="false")
        return tuple(whole[: whole.index(bare[0])])

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of ``text``; control tokens written in it are always parsed."""
        del special  # onnxruntime-genai has no way to read them as plain text
        return [int(token) for token in self._tokenizer.encode(text)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of the tokens, control tokens left out."""
        return str(self._tokenizer.decode(np.asarray(tokens, np.int32))) if tokens else ""


class FastTokenizer:
    """Text in, token ids out, by the tokenizers library from tokenizer.json.

    Attributes:
        stop_ids: tokens that end an answer.
        render: applies the chat template in tokenizer_config.json.
    """

    def __init__(self, folder: OnnxFolder) -> None:
        tokenizers = require("tokenizers", extra="onnx", needed_for="running an ONNX folder")
        path = folder.path / "tokenizer.json"
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ArtifactError(f"{path} is damaged: {error}", hint="export it again, or copy it again") from error
        self.stop_ids = folder.stop_ids
        self.render = folder.render

    @property
    def beginning(self) -> tuple[int, ...]:
        """What the file's post-processor puts first."""
        bare, whole = (self._tokenizer.encode("a", add_special_tokens=special).ids for special in (False, True))
        return tuple(whole[: whole.index(bare[0])])

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of ``text``, without a BOS that the text does not name."""
        self._tokenizer.encode_special_tokens = not special
        return [int(token) for token in self._tokenizer.encode(text, add_special_tokens=False).ids]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of the tokens, control tokens left out."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))
