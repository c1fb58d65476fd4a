"""What fits a context: the same rule for every runtime."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.errors import DataError
from edgetune.runtimes.protocol import Decoding


def require_fit(tokens: Sequence[int], context_length: int, *, room: int = 1, hint: str = "shorten the prompt") -> None:
    """Check that tokens can be computed.

    Args:
        tokens: a prompt, or a whole text.
        context_length: tokens the runtime holds.
        room: tokens that must be left for an answer.
        hint: what to do about a text that is too long.

    Raises:
        DataError: there are none, or more than the context holds.
    """
    if not tokens:
        raise DataError("the prompt has no tokens", hint="give at least one message")
    if len(tokens) + room > context_length:
        raise DataError(
            f"a prompt of {len(tokens)} tokens does not fit a context of {context_length} tokens"
            + (" with room for an answer" if room else ""),
            hint=hint,
        )


def longest_answer(prompt: Sequence[int], decoding: Decoding, context_length: int) -> int:
    """Most new tokens: what is asked for, or what the context leaves."""
    return min(decoding.max_new_tokens, context_length - len(prompt))
