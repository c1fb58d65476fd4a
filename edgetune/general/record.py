"""What a model could do besides its task, as stored: every log-likelihood, and the figures made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgetune import files
from edgetune.errors import EdgetuneError
from edgetune.evaluation.metrics import Score
from edgetune.stored import Stored, read_stored

#: Under this name the passages of plain text stand among the tasks.
TEXT = "text"


class GeneralBasis(Stored):
    """What the figures depend on. A stored evaluation is used again only if all of it is equal."""

    weights_sha256: str
    """Over the weights evaluated (base and adapter, or the artifact's files)."""
    data_sha256: dict[str, str]
    """Of each task's file; ``text``: of the plain text."""
    rows: dict[str, tuple[int, ...]]
    """Indexes of the items of each task, and of the passages of the text, that were used."""
    metrics: dict[str, Literal["acc", "acc_norm"]]
    """By which figure each task is judged."""
    runtime: str
    """``torch``, ``llama.cpp``, …"""
    edgetune: str
    """Version of edgetune."""


class Choice(Stored):
    """One question: how likely the model finds each choice."""

    task: str
    row: int
    log_likelihoods: tuple[float, ...]
    """Σ ln p of the tokens of each choice, given the context."""
    characters: tuple[int, ...]
    """Length of each choice."""
    answer: int
    """Index of the right one."""

    def right(self, metric: str) -> bool:
        """Whether the right choice is the likeliest: as a whole, or with ``acc_norm`` for each of its characters."""
        values = self.log_likelihoods
        if metric == "acc_norm":
            values = tuple(value / length for value, length in zip(values, self.characters, strict=True))
        return values.index(max(values)) == self.answer


class Read(Stored):
    """One passage: how likely the model finds it after its first word."""

    row: int
    log_likelihood: float
    bytes: int
    """UTF-8 bytes of what is predicted."""
    words: int


class GeneralEvaluation(Stored):
    """The evaluation of one subject."""

    kind: Literal["edgetune-general"] = "edgetune-general"
    schema_version: Literal[1] = 1
    subject: str
    """``base``, ``tuned``, an artifact's name, or a model as the user named it."""
    basis: GeneralBasis
    created: str
    """UTC, ISO 8601."""
    seconds: float
    """How long the model computed."""
    notes: tuple[str, ...] = ()
    """Choices made automatically, with their reasons, and where the text is from."""
    scores: tuple[Score, ...]
    choices: tuple[Choice, ...]
    passages: tuple[Read, ...]

    def score(self, name: str) -> Score:
        """The figure called ``name``.

        Raises:
            KeyError: there is none.
        """
        return {score.name: score for score in self.scores}[name]


def file_name(subject: str, material: str = "") -> str:
    """Name of the stored evaluation among those of a run.

    Args:
        subject: as in :class:`GeneralEvaluation`.
        material: something that tells questions and texts of one's own apart; empty for edgetune's.
    """
    return f"general-{subject}" + (f"-{material}" if material else "")


def store(path: Path, evaluation: GeneralEvaluation) -> None:
    """Write it, atomically."""
    files.write_json(path, evaluation.model_dump(mode="json"))


def load(path: Path) -> GeneralEvaluation:
    """Read a stored one.

    Raises:
        EdgetuneError: there is none, or it is damaged.
    """
    what = "an evaluation of general ability"
    return read_stored(path, GeneralEvaluation, what, hint="edgetune eval RUN --general writes it")


def load_if_covers(path: Path, basis: GeneralBasis) -> GeneralEvaluation | None:
    """The stored one if it rests on ``basis``, with the same items or more; a damaged one is made again."""
    try:
        found = load(path)
    except EdgetuneError:
        return None
    same = found.basis.model_copy(update={"rows": basis.rows}) == basis
    return (
        found if same and all(set(rows) <= set(found.basis.rows[task]) for task, rows in basis.rows.items()) else None
    )
