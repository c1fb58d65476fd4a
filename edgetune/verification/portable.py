"""What travels with an artifact in ``reference.json``, so that a device without torch can verify its copy.

Some held-out rows with their token ids, the trained model's likeliest tokens before each token of the answers, how its
own answers ended, the limits, and the manifest as it was verified. Only an artifact that passed gets it. A seal, the
hash of all the rest, shows that it was changed; whoever wants to deceive can write the seal anew as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from edgetune import files
from edgetune.artifact import Artifact
from edgetune.data.conversation import Conversation, Kind
from edgetune.errors import ArtifactError
from edgetune.evaluation.loss import answer_positions
from edgetune.evaluation.questions import Question, Scored
from edgetune.evaluation.record import Answer
from edgetune.stored import Stored
from edgetune.verification.divergence import Distributions
from edgetune.verification.limits import Limits
from edgetune.verification.reference import Reference, ReferenceRow

#: The file beside an artifact's manifest.
PORTABLE = "reference.json"
#: Tokens kept of each distribution that travels. The rest of a tuned model's has next to no weight.
KEPT = 32
#: Rows that travel.
PORTABLE_ROWS = 24
#: Of the file's layout.
_VERSION = 3
_AGAIN = "verify it where its run is: edgetune verify ARTIFACT --portable, and copy it again"


@dataclass(frozen=True)
class Portable:
    """What an artifact is held against on a device.

    Attributes:
        reference: the rows.
        answers: the trained model's own, to the same rows.
        max_new_tokens: longest answer.
        limits: to keep to.
        manifests: as they were verified: the artifact's, and that of the base beneath an adapter.
    """

    reference: Reference
    answers: tuple[Answer, ...]
    max_new_tokens: int
    limits: Limits
    manifests: tuple[dict[str, Any], ...]


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
    group: str | None = None


class _PortableAnswer(Stored):
    row: int
    finish: Literal["stop", "length"]
    tokens: int
    group: str | None


class _Portable(Stored):
    kind: Literal["edgetune-reference"] = "edgetune-reference"
    schema_version: Literal[3] = 3
    name: str
    system: str | None
    vocabulary: int
    limits: Limits
    sha256: dict[str, str]
    """The files that these rows are for, those of the base beneath an adapter included."""
    manifests: tuple[dict[str, Any], ...]
    max_new_tokens: int
    rows: tuple[_PortableRow, ...]
    answers: tuple[_PortableAnswer, ...]
    seal: str = ""
    """Over everything else."""


def manifests_of(artifact: Artifact) -> tuple[dict[str, Any], ...]:
    """The manifest of an artifact, and of the base beneath it."""
    every = (artifact, artifact.beneath)
    return tuple(one.manifest.model_dump(mode="json") for one in every if one is not None and one.manifest is not None)


def write_portable(
    reference: Reference, answers: Sequence[Answer], max_new_tokens: int, limits: Limits, artifact: Artifact
) -> None:
    """Store some rows, the likeliest tokens, the answers' ends and the limits beside an artifact that passed.

    Raises:
        ResourceError: the disk is full, or may not be written.
    """
    rows = reference.rows[:PORTABLE_ROWS]
    portable = _Portable(
        name=reference.name,
        system=reference.system,
        vocabulary=reference.vocabulary,
        limits=limits,
        sha256=artifact.sha256,
        manifests=manifests_of(artifact),
        max_new_tokens=max_new_tokens,
        rows=tuple(_pack(row) for row in rows),
        answers=_ends(answers, {row.question.row for row in rows}),
    )
    content = json.loads(portable.model_dump_json())
    files.write_text(artifact.path / PORTABLE, json.dumps(content | {"seal": seal(content)}) + "\n")


def seal(content: Mapping[str, Any]) -> str:
    """Hash over all of a reference but its seal."""
    rest = {key: value for key, value in content.items() if key != "seal"}
    return files.sha256_json(rest)


def read_portable(artifact: Artifact) -> Portable:
    """What travels with an artifact.

    Raises:
        ArtifactError: nothing does, or it is damaged, changed, empty, of other files or of an older edgetune.
    """
    path = artifact.path / PORTABLE
    stored = _read(artifact)
    if stored.sha256 != artifact.sha256:
        raise ArtifactError(f"{path} belongs to other files than these", hint=_AGAIN)
    if not any(row.scored for row in stored.rows):
        raise ArtifactError(f"{path} holds no row to compare", hint=_AGAIN)
    try:
        rows = tuple(_unpack(row) for row in stored.rows)
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged: {error}", hint="copy the artifact again") from error
    answers = tuple(
        Answer(row=a.row, finish=a.finish, tokens=a.tokens, group=a.group, correct=False, ratios={})
        for a in stored.answers
    )
    reference = Reference(rows, stored.system, stored.name, stored.vocabulary)
    return Portable(reference, answers, stored.max_new_tokens, stored.limits, stored.manifests)


def _read(artifact: Artifact) -> _Portable:
    path = artifact.path / PORTABLE
    try:
        content = json.loads(path.read_bytes())
        if isinstance(content, dict) and content.get("schema_version") != _VERSION:
            raise ArtifactError(f"{path} was written by another version of edgetune", hint=_AGAIN)
        stored = _Portable.model_validate_json(json.dumps(content))
    except OSError as error:
        raise ArtifactError(
            f"{artifact.path} lies outside its run and carries no {PORTABLE}, so there is nothing to compare it with",
            hint="name the run: --run RUN; or verify it there with --portable, and copy it again",
        ) from error
    except ValidationError as error:
        raise ArtifactError(f"{path} is damaged: {error.errors()[0]['msg']}", hint="copy the artifact again") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged: {error}", hint="copy the artifact again") from error
    if stored.seal != seal(content):
        raise ArtifactError(f"{path} was changed after it was written", hint=_AGAIN)
    return stored


def _ends(answers: Sequence[Answer], rows: set[int]) -> tuple[_PortableAnswer, ...]:
    return tuple(
        _PortableAnswer(row=a.row, finish=a.finish, tokens=a.tokens, group=a.group)
        for a in answers
        if a.row in rows and a.finish is not None
    )


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
        log_probs=tuple(_shortest(part.log_probs) for part in cut),
        group=row.question.group,
    )


def _shortest(log_probs: NDArray[np.float32]) -> tuple[tuple[float, ...], ...]:
    """The shortest decimals that are read as the very same numbers.

    Rounded to four decimals, a token that is all but sure becomes sure, and the others lose what weight they have: the
    KL from the very same model is then not nothing, and no lower bound.
    """
    return tuple(tuple(float(str(value)) for value in position) for position in log_probs)


def _unpack(row: _PortableRow) -> ReferenceRow:
    conversation = Conversation(row.messages, tools=row.tools, text=row.text, kind=row.kind)
    scored = tuple(Scored(ids, labels) for ids, labels in row.scored)
    question = Question(row.row, row.prompt, row.prompt_ids, row.answer, scored, row.group)
    parts = [
        Distributions(np.asarray(log_probs, np.float32), np.asarray(ids, np.int64))
        for ids, log_probs in zip(row.ids, row.log_probs, strict=True)
    ]
    if any(part.ids is None or part.ids.shape != part.log_probs.shape for part in parts):
        raise ValueError(f"row {row.row + 1} has not one log-probability for each token")
    if [len(part.log_probs) for part in parts] != [len(answer_positions(part)) for part in scored]:
        raise ValueError(f"row {row.row + 1} has not one distribution for each token to score")
    return ReferenceRow(conversation, question, tuple(parts))
