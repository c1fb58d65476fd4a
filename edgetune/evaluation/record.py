"""An evaluation as stored: figures, every answer, and the hashes of what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edgetune import files
from edgetune.errors import EdgetuneError
from edgetune.evaluation.intervals import Ratio
from edgetune.evaluation.metrics import Score
from edgetune.stored import Stored, read_stored

#: As a runtime: what is always the same was not computed by anything.
NOTHING_RAN = "none"


class Basis(Stored):
    """What the figures depend on. A stored evaluation is used again only if all of it is equal."""

    weights_sha256: str
    """Over the weights evaluated (base and adapter, or the artifact's files)."""
    data_sha256: str
    """Of the rows file."""
    rows: tuple[int, ...]
    """Indexes of the rows used."""
    runtime: str
    """``torch``, ``llama.cpp``, …"""
    metrics: tuple[str, ...]
    max_new_tokens: int
    system: str | None
    """System prompt put before rows that have none."""
    chat_template: str | None = None
    """Hash of a template that replaces the model's own."""
    edgetune: str
    """Version of edgetune."""


class Answer(Stored):
    """One row: what was asked, expected and answered. Plain text has a loss only."""

    row: int
    """Index in the rows file, from 0."""
    prompt: str = ""
    """As rendered by the runtime's own template."""
    reference: str = ""
    prediction: str = ""
    finish: Literal["stop", "length"] | None = None
    tokens: int = 0
    """Of the prediction."""
    correct: bool | None = None
    """Exact match."""
    group: str | None = None
    """What the row shares with rows like it, where the data says so."""
    ratios: dict[str, Ratio]
    """Figure → what this row adds to it: numerator and denominator. ``loss``: nats and answer tokens."""


class Evaluation(Stored):
    """The evaluation of one subject on one set of rows."""

    kind: Literal["edgetune-evaluation"] = "edgetune-evaluation"
    schema_version: Literal[1] = 1
    subject: str
    """``base``, ``tuned``, an artifact's name, or a model as the user named it."""
    basis: Basis
    created: str
    """UTC, ISO 8601."""
    seconds: dict[str, float]
    """How long ``loss`` and ``generation`` took."""
    notes: tuple[str, ...] = ()
    """Choices made automatically, with their reasons."""
    groups: int | None = None
    """Groups that were drawn whole for the intervals; None: fewer than two, rows were taken as independent."""
    scores: tuple[Score, ...]
    answers: tuple[Answer, ...]

    @property
    def runtime(self) -> str:
        """Name of the runtime that ran it."""
        return self.basis.runtime

    @property
    def n(self) -> int:
        """Rows evaluated."""
        return len(self.answers)

    @property
    def by_likeness(self) -> bool:
        """Whether answers are texts, more or less like the reference, and not right or wrong."""
        named = set(self.basis.metrics)
        return bool(named & {"rouge_l", "chrf"}) and not named & {"exact_match", "json"}

    def score(self, name: str) -> Score:
        """The figure called ``name``.

        Raises:
            KeyError: there is none.
        """
        return {score.name: score for score in self.scores}[name]


def store(path: Path, evaluation: Evaluation) -> None:
    """Write an evaluation, atomically."""
    files.write_json(path, evaluation.model_dump(mode="json"))


def load(path: Path) -> Evaluation:
    """Read a stored evaluation.

    Raises:
        EdgetuneError: there is none, or it is damaged.
    """
    return read_stored(path, Evaluation, "an evaluation", hint="edgetune eval RUN writes it")


def load_if_covers(path: Path, basis: Basis) -> Evaluation | None:
    """The stored evaluation if it rests on ``basis``, with the same rows or more.

    A file that is damaged or of another version is no reason to fail: it is made again.
    """
    try:
        evaluation = load(path)
    except EdgetuneError:
        return None
    more = evaluation.basis.model_copy(update={"rows": basis.rows})
    return evaluation if more == basis and set(basis.rows) <= set(evaluation.basis.rows) else None


def worst(answers: Sequence[Answer], count: int) -> list[Answer]:
    """The worst misses: wrong answers, least agreement first, then highest loss a token."""
    wrong = [answer for answer in answers if answer.correct is False]
    return sorted(wrong, key=lambda answer: (_agreement(answer), -_share(answer.ratios.get("loss", (0, 0)))))[:count]


def _agreement(answer: Answer) -> float:
    for name in ("json_f1", "rouge_l", "chrf"):
        if name in answer.ratios:
            return _share(answer.ratios[name])
    return 0.0


def _share(ratio: Ratio) -> float:
    return ratio[0] / ratio[1] if ratio[1] else 0.0
