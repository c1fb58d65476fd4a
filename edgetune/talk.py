"""A conversation in a terminal: answers stream to stdout, everything else goes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgetune import console
from edgetune.assistant import Assistant
from edgetune.errors import DataError
from edgetune.runtimes import open_runtime
from edgetune.runtimes.choosing import choose_artifact
from edgetune.runtimes.protocol import Decoding, Message
from edgetune.verification.record import warning

if TYPE_CHECKING:
    from edgetune.runtimes.protocol import Runtime

RESET, LEAVE = "/reset", "/exit"


def open_assistant(
    path: Path,
    *,
    artifact: str | None = None,
    system: str | None = None,
    threads: int | None = None,
    decoding: Decoding | None = None,
) -> Assistant:
    """Open what ``path`` means for talking: an artifact, a run's export, or a run's trained model in torch.

    Raises:
        ArtifactError, EdgetuneError, MissingExtra
    """
    return Assistant(_open(path, artifact, threads), system=system, decoding=decoding)


def _open(path: Path, name: str | None, threads: int | None) -> Runtime:
    choice = choose_artifact(path, name)
    if choice is not None:
        if choice.reason:
            console.note(f"using {choice.artifact.path} ({choice.reason})")
        if text := warning(choice.artifact):
            console.note(f"warning: {text}")
        return open_runtime(choice.artifact, threads=threads)
    from edgetune.runtimes.torch_runtime import open_torch

    console.note(f"{path} has no exports: using the trained model in torch")
    return open_torch(path)


def say(assistant: Assistant, question: str | list[Message]) -> str:
    """Stream one answer to stdout and return it."""
    answer = ""
    for piece in assistant.stream(question):
        sys.stdout.write(piece)
        sys.stdout.flush()
        answer += piece
    console.data("")
    return answer


def talk(assistant: Assistant, *, remember: bool = True) -> None:
    """Answer line after line until Ctrl-D or Ctrl-C at the prompt; Ctrl-C within an answer ends that answer.

    Args:
        assistant: what answers.
        remember: keep the conversation; off, each line is asked by itself.
    """
    console.note(f"{RESET} begins a new conversation, Ctrl-D leaves")
    history: list[Message] = []
    for line in _lines():
        if line == RESET:
            history = []
            console.note("new conversation")
            continue
        asked: list[Message] = [*history, {"role": "user", "content": line}]
        answer = _answer(assistant, asked)
        if remember and answer is not None:
            history = [*asked, {"role": "assistant", "content": answer}]


def _answer(assistant: Assistant, asked: list[Message]) -> str | None:
    """The answer, or None if the user stopped it or the conversation no longer fits."""
    try:
        return say(assistant, asked)
    except KeyboardInterrupt:
        console.note(" (stopped)")
    except DataError as error:  # the conversation goes on without this turn
        console.note(f"error: {error.message}")
        console.note(f"hint: {RESET} begins a new conversation")
    return None


def _lines() -> Iterator[str]:
    """What the user types, without empty lines, until Ctrl-D, Ctrl-C or ``/exit``."""
    with suppress(ImportError):
        import readline  # noqa: F401  # importing it gives input() history and editing
    # input() draws its prompt on stdout; where that is not a terminal, stdout is for answers only.
    prompt = "> " if sys.stdout.isatty() else ""
    while True:
        try:
            line = input(prompt).strip()
        except (EOFError, KeyboardInterrupt):
            console.note("")
            return
        if line == LEAVE:
            return
        if line:
            yield line
