"""A conversation in a terminal: answers stream to stdout, everything else goes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgetune import console
from edgetune.artifact import Artifact
from edgetune.assistant import Assistant
from edgetune.errors import ArtifactError, DataError
from edgetune.runtimes import open_runtime, open_with_adapters
from edgetune.runtimes.choosing import adapter_artifact, base_artifact, choose_artifact
from edgetune.runtimes.protocol import Decoding, Message
from edgetune.verification.record import warning

if TYPE_CHECKING:
    from edgetune.runtimes.protocol import Runtime

RESET, LEAVE, ADAPTER = "/reset", "/exit", "/adapter"
#: After ``/adapter``: no adapter.
NONE = "none"


@dataclass(frozen=True)
class Chosen:
    """What to talk to.

    Attributes:
        path: an artifact, a .gguf file or a run.
        artifact: with a run: which export.
        adapters: ``NAME=PATH`` or ``PATH`` each: adapters for the base that ``path`` is. A run stands for its adapter.
        use: name of the one to begin with; default: the first.
    """

    path: Path
    artifact: str | None = None
    adapters: tuple[str, ...] = ()
    use: str | None = None


def open_assistant(
    chosen: Chosen, *, system: str | None = None, threads: int | None = None, decoding: Decoding | None = None
) -> Assistant:
    """Open what is meant for talking: an artifact, a run's export or trained model, a base with adapters.

    Raises:
        ArtifactError, EdgetuneError, MissingExtra
    """
    base = base_artifact(chosen.path, chosen.artifact) if chosen.adapters else None
    named = named_adapters(chosen.adapters, base)
    if chosen.use is not None and chosen.use not in named:
        given = ", ".join(named) or "none; --adapter NAME=PATH gives one"
        raise ArtifactError(f"no adapter '{chosen.use}' is given", hint=f"given: {given}")
    assistant = Assistant(_open(chosen, base, named, threads), system=system, decoding=decoding)
    if chosen.use is not None:
        assistant.use(chosen.use)
    return assistant


def named_adapters(wanted: Sequence[str], base: Artifact | None = None) -> dict[str, Artifact]:
    """Adapters by name: as given, else that of the run they come from, else that of the artifact.

    Args:
        wanted: ``NAME=PATH`` or ``PATH`` each.
        base: that they are for.

    Raises:
        ArtifactError: one is not there, is no adapter, or two have one name.
    """
    found: dict[str, Artifact] = {}
    for text in wanted:
        name, equals, rest = text.partition("=")
        path = Path(rest if equals else text)
        artifact = adapter_artifact(path, base)
        own = artifact.manifest.run if artifact.manifest and artifact.manifest.run else artifact.name
        name = name if equals else own
        if name == NONE:
            raise ArtifactError(f"no adapter can be called '{NONE}'", hint="name it: --adapter NAME=PATH")
        if name in found:
            raise ArtifactError(f"two adapters are called '{name}'", hint="name them: --adapter NAME=PATH")
        if message := warning(replace(artifact, beneath=base)):
            console.note(f"warning: {message}")
        found[name] = artifact
    return found


def _open(chosen: Chosen, base: Artifact | None, adapters: Mapping[str, Artifact], threads: int | None) -> Runtime:
    if base is not None:
        return open_with_adapters(base, adapters, threads=threads)
    choice = choose_artifact(chosen.path, chosen.artifact)
    if choice is not None:
        if choice.reason:
            console.note(f"using {choice.artifact.path} ({choice.reason})")
        if text := warning(choice.artifact):
            console.note(f"warning: {text}")
        return open_runtime(choice.artifact, threads=threads)
    from edgetune.runtimes.torch_runtime import open_torch

    console.note(f"{chosen.path} has no exports: using the trained model in torch")
    return open_torch(chosen.path)


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
    if assistant.adapters:
        _switch(assistant, "")
    histories: dict[str | None, list[Message]] = {}  # each adapter has its own: answers of another one would steer it
    for line in _lines():
        if line == RESET:
            histories.clear()
            console.note("new conversation")
            continue
        if line.split()[0] == ADAPTER:
            _switch(assistant, line.removeprefix(ADAPTER).strip())
            continue
        asked: list[Message] = [*histories.get(assistant.adapter, []), {"role": "user", "content": line}]
        answer = _answer(assistant, asked)
        if remember and answer is not None:
            histories[assistant.adapter] = [*asked, {"role": "assistant", "content": answer}]


def _switch(assistant: Assistant, name: str) -> None:
    """Put another adapter on; without a name say which there are."""
    if not name:
        names = ", ".join(f"{one} (in use)" if one == assistant.adapter else one for one in assistant.adapters)
        console.note(
            f"adapters: {names or 'none'}; {ADAPTER} NAME goes on with another, {ADAPTER} {NONE} with the base"
        )
        return
    try:
        assistant.use(None if name == NONE else name)
        console.note("the base alone" if name == NONE else f"adapter {name}")
    except ArtifactError as error:  # the conversation goes on as it was
        console.note(f"error: {error.message}")
        console.note(f"hint: {error.hint}")


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
