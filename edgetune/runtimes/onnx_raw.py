"""The own loops of onnxruntime-genai and onnxruntime, without anything around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgetune.extras import require

#: Tokens of a prompt that are computed at once, as in the runtimes.
CHUNK = 256


class GenaiLoop:
    """``append_tokens``, then ``generate_next_token``, which runs the graph and chooses the likeliest token.

    A token that was chosen and not computed yet is one more than is held: it goes when tokens are to be computed
    after what is held.

    Args:
        generator: of onnxruntime-genai, with a shortest length, so that no stop token ends it.
    """

    def __init__(self, generator: Any) -> None:
        self._generator = generator
        self._length = 0
        self._chosen = False

    def hold(self, length: int) -> bool:
        """Keep only the first ``length`` tokens."""
        if length < self._length or self._chosen:
            self._length, self._chosen = min(length, self._length), False
            self._generator.rewind_to(self._length)
        return True

    def extend(self, tokens: Sequence[int]) -> None:
        """Compute tokens of a prompt and choose the first of an answer, which costs no run of the graph."""
        self.hold(self._length)
        for start in range(0, len(tokens), CHUNK):
            self._generator.append_tokens(np.asarray(tokens[start : start + CHUNK], np.int32))
        self._generator.generate_next_token()
        self._length, self._chosen = self._length + len(tokens), True

    def step(self, token: int) -> None:
        """Compute the token that was chosen last and choose the next."""
        del token
        self._generator.generate_next_token()
        self._length, self._chosen = self._length + 1, True


class SessionLoop:
    """Runs a session over and over; the cache stays in onnxruntime's own values and is never copied.

    Args:
        session: of a graph as :mod:`edgetune.runtimes.onnx_plain` describes it.
        options: of a run, or None.
        past: an empty cache: name of an input → array.
    """

    def __init__(self, session: Any, options: Any | None, past: dict[str, Any]) -> None:
        onnxruntime = require("onnxruntime", extra="onnx", needed_for="running an ONNX folder")
        self._value: Any = onnxruntime.OrtValue.ortvalue_from_numpy
        self._session = session
        self._options = options
        self._names = [output.name for output in session.get_outputs()]
        self._wants_positions = "position_ids" in {value.name for value in session.get_inputs()}
        self._empty = {name: self._value(array) for name, array in past.items()}
        self._past = dict(self._empty)
        self._length = 0

    @property
    def length(self) -> int:
        """Tokens held."""
        return self._length

    def hold(self, length: int) -> bool:
        """Keep only the first ``length`` tokens."""
        if length == 0:
            self._past = dict(self._empty)
        elif length < self._length:
            cut = {name: np.ascontiguousarray(value.numpy()[:, :, :length]) for name, value in self._past.items()}
            self._past = {name: self._value(array) for name, array in cut.items()}
        self._length = min(length, self._length)
        return True

    def extend(self, tokens: Sequence[int]) -> None:
        """Compute tokens of a prompt, all at once as the runtime does."""
        end = self._length + len(tokens)
        feed = {
            "input_ids": self._value(np.asarray([tokens], np.int64)),
            "attention_mask": self._value(np.ones((1, end), np.int64)),
            **self._past,
        }
        if self._wants_positions:
            feed["position_ids"] = self._value(np.arange(self._length, end, dtype=np.int64)[None])
        found = dict(zip(self._names, self._session.run_with_ort_values(self._names, feed, self._options), strict=True))
        self._past = {name: found[name.replace("past_key_values", "present")] for name in self._empty}
        self._length = end

    def step(self, token: int) -> None:
        """Compute one token."""
        self.extend((token,))
