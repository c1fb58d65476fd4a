"""What the trained model says: the rows of a verification with its tokens and distributions.

The reference is the model as it was trained, in float32 torch, the adapter added by PEFT to what it was trained
against: nothing of edgetune's own merge or export has a part in it. Its likeliest tokens travel with an artifact in
``reference.json``, so that a device without torch can verify its copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from edgetune import console, files
from edgetune.artifact import Artifact
from edgetune.data.conversation import Conversation, Kind
from edgetune.errors import ArtifactError
from edgetune.evaluation.loss import answer_positions
from edgetune.evaluation.questions import Question, Scored, ask
from edgetune.evaluation.record import Stored
from edgetune.runtimes.protocol import Runtime
from edgetune.verification.divergence import Distributions, log_softmax
from edgetune.verification.limits import Limits

#: The file beside an artifact's manifest.
PORTABLE = "reference.json"
#: Tokens kept of each distribution that travels. The rest of a tuned model's has next to no weight.
KEPT = 32
#: Rows that travel.
PORTABLE_ROWS = 24


@dataclass(frozen=True)
class ReferenceRow:
    """One held-out row as the trained model meets it.

    Attributes:
        conversation: the row.
        question: rendered and tokenised by the tokenizer trained with.
        distributions: before each token of its answers, one entry for each token row of the question.
    """

    conversation: Conversation
    question: Question
    distributions: tuple[Distributions, ...]


@dataclass(frozen=True)
class Reference:
    """What artifacts are compared with.

    Attributes:
        rows: of the held-out file.
        system: system prompt for rows that have none.
        name: what computed it, for people.
        vocabulary: tokens in a distribution.
    """

    rows: tuple[ReferenceRow, ...]
    system: str | None
    name: str
    vocabulary: int

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max((len(part.input_ids) for row in self.rows for part in row.question.scored), default=0)

    @property
    def whole(self) -> bool:
        """Whether distributions are whole, not cut to the likeliest tokens."""
        return all(d.ids is None for row in self.rows for d in row.distributions)


def build_reference(
    runtime: Runtime, conversations: Sequence[Conversation], rows: Sequence[int], system: str | None, name: str
) -> Reference:
    """Ask the trained model.

    Args:
        runtime: the trained model.
        conversations: all rows of the held-out file.
        rows: indexes of those to take.
        system: system prompt for rows that have none.
        name: of the reference, for people.

    Raises:
        DataError: rows that the template refuses, or that do not fit the context.
    """
    chosen = [conversations[row] for row in rows]
    questions = ask(chosen, rows, runtime.tokenizer, system, runtime.context_length)
    found = []
    with console.progress("Asking the trained model", total=len(questions), unit="rows") as bar:
        for conversation, question in zip(chosen, questions, strict=True):
            scored = tuple(part for part in question.scored if answer_positions(part))
            parts = tuple(Distributions(log_probs_of(runtime, part)) for part in scored)
            found.append(ReferenceRow(conversation, replace(question, scored=scored), parts))
            bar.advance()
    widths = {part.log_probs.shape[1] for row in found for part in row.distributions}
    return Reference(tuple(found), system, name, max(widths, default=0))


def log_probs_of(runtime: Runtime, scored: Scored) -> NDArray[np.float32]:
    """Log-probabilities before each answer token of a token row: (answer tokens, vocabulary)."""
    positions = answer_positions(scored)
    first = positions[0] - 1
    logits = runtime.logits(list(scored.input_ids[: positions[-1]]), first)
    return log_softmax(logits[[at - 1 - first for at in positions]])


class _PortableRow(Stored):
    row: int
    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...]
    text: str | None
    kind: Kind
    prompt: str
    prompt_ids: tuple[int, ...]
    answer: str | None
    scored: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    """Ids and labels of each token row."""
    ids: tuple[tuple[tuple[int, ...], ...], ...]
    log_probs: tuple[tuple[tuple[float, ...], ...], ...]


class _Portable(Stored):
    kind: Literal["edgetune-reference"] = "edgetune-reference"
    schema_version: Literal[1] = 1
    name: str
    system: str | None
    vocabulary: int
    limits: Limits
    sha256: dict[str, str]
    """The artifact's files that these rows are for."""
    rows: tuple[_PortableRow, ...]


def write_portable(reference: Reference, limits: Limits, artifact: Artifact) -> None:
    """Store some rows, the likeliest tokens and the limits beside an artifact."""
    assert artifact.manifest is not None, "verified artifacts have one"
    portable = _Portable(
        name=reference.name,
        system=reference.system,
        vocabulary=reference.vocabulary,
        limits=limits,
        sha256=artifact.manifest.sha256,
        rows=tuple(_pack(row) for row in reference.rows[:PORTABLE_ROWS]),
    )
    files.write_text(artifact.path / PORTABLE, portable.model_dump_json() + "\n")


def read_portable(artifact: Artifact) -> tuple[Reference, Limits]:
    """The reference that travels with an artifact, and what the artifact must reach.

    Raises:
        ArtifactError: there is none, it is damaged, or of other files.
    """
    assert artifact.manifest is not None, "verified artifacts have one"
    path = artifact.path / PORTABLE
    try:
        stored = _Portable.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(
            f"{artifact.path} lies outside its run and carries no {PORTABLE}, so there is nothing to compare it with",
            hint="name the run: --run RUN; or verify it there with --portable, and copy it again",
        ) from error
    except ValidationError as error:
        raise ArtifactError(f"{path} is damaged: {error.errors()[0]['msg']}", hint="copy the artifact again") from error
    if stored.sha256 != artifact.manifest.sha256:
        raise ArtifactError(f"{path} belongs to other files than these", hint="verify again where the run is, and copy")
    try:
        rows = tuple(_unpack(row) for row in stored.rows)
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged: {error}", hint="copy the artifact again") from error
    return Reference(rows, stored.system, stored.name, stored.vocabulary), stored.limits


def _pack(row: ReferenceRow) -> _PortableRow:
    cut = [part if part.ids is not None else part.likeliest(KEPT) for part in row.distributions]
    return _PortableRow(
        row=row.question.row,
        messages=tuple(dict(message) for message in row.conversation.messages),
        tools=tuple(dict(tool) for tool in row.conversation.tools),
        text=row.conversation.text,
        kind=row.conversation.kind,
        prompt=row.question.prompt,
        prompt_ids=row.question.prompt_ids,
        answer=row.question.reference,
        scored=tuple((scored.input_ids, scored.labels) for scored in row.question.scored),
        ids=tuple(tuple(map(tuple, part.ids.tolist())) for part in cut if part.ids is not None),
        log_probs=tuple(tuple(map(tuple, np.round(part.log_probs, 4).tolist())) for part in cut),
    )


def _unpack(row: _PortableRow) -> ReferenceRow:
    conversation = Conversation(row.messages, tools=row.tools, text=row.text, kind=row.kind)
    scored = tuple(Scored(ids, labels) for ids, labels in row.scored)
    question = Question(row.row, row.prompt, row.prompt_ids, row.answer, scored)
    parts = [
        Distributions(np.asarray(log_probs, np.float32), np.asarray(ids, np.int64))
        for ids, log_probs in zip(row.ids, row.log_probs, strict=True)
    ]
    if any(part.ids is None or part.ids.shape != part.log_probs.shape for part in parts):
        raise ValueError(f"row {row.row + 1} has not one log-probability for each token")
    if [len(part.log_probs) for part in parts] != [len(answer_positions(part)) for part in scored]:
        raise ValueError(f"row {row.row + 1} has not one distribution for each token to score")
    return ReferenceRow(conversation, question, tuple(parts))
