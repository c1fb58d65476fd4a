"""Evaluate a classifier on held-out rows: the trained model, an export, or the answer that needs no model."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgetune import __version__, files
from edgetune.adapters.unchanged import require_as_trained
from edgetune.artifact import Artifact, read_artifact, require_whole
from edgetune.console import progress
from edgetune.data.conversation import Conversation
from edgetune.data.labelled import asked_of, label_of, load_labelled, own_rows, shown
from edgetune.data.pictures import content_name
from edgetune.errors import DataError, ModelError
from edgetune.evaluation.class_scores import CLASSES, class_scores
from edgetune.evaluation.figures import part
from edgetune.evaluation.intervals import count_groups
from edgetune.evaluation.record import NOTHING_RAN, Answer, Basis, Evaluation, load_if_covers, store
from edgetune.evaluation.rows import choose_rows
from edgetune.run import Run
from edgetune.runtimes.classifier import BATCH, Classifier, log_probabilities

Subject = Literal["base", "tuned"] | Path | Artifact
MAJORITY = "the untrained head knows no classes, so this is the most frequent class of the training rows for every row"


@dataclass(frozen=True)
class Opening:
    """Something that classifies, known by hash before it is opened."""

    name: str
    sha256: str
    runtime: str
    open: Callable[[], Classifier]
    notes: tuple[str, ...] = ()


def evaluate_classifier(
    run: Run, subject: Subject, *, limit: int | None = None, data: Path | None = None, again: bool = False
) -> Evaluation:
    """As :func:`edgetune.evaluation.subjects.evaluate_run`, of a run that classifies."""
    opening = _opening(run, subject)
    with TemporaryDirectory(prefix="edgetune-") as scratch:
        rows, digest = _rows(run, data, Path(scratch))
        return _evaluated(run, opening, rows, digest, limit, other=data is not None, again=again)


def _rows(run: Run, data: Path | None, scratch: Path) -> tuple[Sequence[Conversation], str]:
    """The held-out rows, or those of another source, and a hash of them."""
    if data is None:
        return own_rows(run, run.heldout_file), files.sha256_file(run.heldout_file)
    rows = load_labelled(data, run.recipe, scratch).raise_on_problems().rows
    images = [(content_name(place), label_of(row)) for row in rows if isinstance(place := asked_of(row), Path)]
    return rows, files.sha256_json(images) if images else files.sha256_file(data)


def _evaluated(  # noqa: PLR0913  # what an evaluation rests on
    run: Run,
    opening: Opening,
    rows: Sequence[Conversation],
    digest: str,
    limit: int | None,
    *,
    other: bool,
    again: bool,
) -> Evaluation:
    """The evaluation of some rows, or the stored one if it rests on the same.

    Args:
        run: that knows the classes.
        opening: what is evaluated.
        rows: to classify.
        digest: of the rows.
        limit: at most so many of them.
        other: they are not the run's own held-out ones.
        again: compute it even if it is stored.
    """
    _require_known(rows, run.manifest.labels)
    recipe, stored = run.recipe, run.evaluation_file(f"{opening.name}-{digest[:8]}" if other else opening.name)
    limits = [number for number in (limit, recipe.data.heldout_limit) if number is not None]
    basis = Basis(
        weights_sha256=opening.sha256,
        data_sha256=digest,
        rows=choose_rows(len(rows), min(limits, default=None), recipe.train.seed),
        runtime=opening.runtime,
        metrics=CLASSES,
        max_new_tokens=0,
        system=None,
        edgetune=__version__,
    )
    if not again and (known := load_if_covers(stored, basis)):
        return known if known.basis == basis else part(known, basis.rows)
    found = _evaluate(opening, rows, basis)
    store(stored, found)
    return found


def _require_known(rows: Sequence[Conversation], labels: Sequence[str]) -> None:
    unknown = [row for row in rows if label_of(row) not in labels]
    if unknown:
        raise DataError(
            f"rows of a class that the model was not trained on: {len(unknown)}; it knows: {', '.join(labels)}",
            hint="take them out, or check data.label_column",
            problems=[f"{row.where}: class '{label_of(row)}'" for row in unknown],
        )


def _evaluate(opening: Opening, rows: Sequence[Conversation], basis: Basis) -> Evaluation:
    start = time.monotonic()
    chosen = [rows[row] for row in basis.rows]
    with _opened(opening) as classifier:
        labels = classifier.labels
        log_probs = classify_all(classifier, [asked_of(row) for row in chosen], opening.name)
    answers = [
        _answer(index, row, labels, known) for index, row, known in zip(basis.rows, chosen, log_probs, strict=True)
    ]
    return Evaluation(
        subject=opening.name,
        basis=basis,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds={"loss": 0.0, "generation": round(time.monotonic() - start, 3)},
        notes=opening.notes,
        groups=count_groups([answer.group for answer in answers]),
        scores=class_scores(answers),
        answers=tuple(answers),
    )


def classify_all(classifier: Classifier, asked: Sequence[str | Path], name: str) -> NDArray[np.float64]:
    """Log-probabilities of many texts or images: (rows, classes), in their order. Texts of like length go together.

    Raises:
        ModelError: a number is not finite.
    """
    order = sorted(range(len(asked)), key=lambda index: len(str(asked[index])))
    found = np.zeros((len(asked), len(classifier.labels)))
    with progress(f"Classes of {name}", total=len(asked), unit="rows") as bar:
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            found[chosen] = log_probabilities(classifier.logits([asked[index] for index in chosen]))
            bar.advance(len(chosen))
    if not np.isfinite(found).all():
        raise ModelError(
            f"what '{name}' says is not finite on {int((~np.isfinite(found).all(axis=1)).sum())} of {len(asked)} rows",
            hint="its weights are damaged or overflow: export again",
        )
    return found


def _answer(index: int, row: Conversation, labels: Sequence[str], log_probs: NDArray[np.float64]) -> Answer:
    reference, prediction = label_of(row), labels[int(log_probs.argmax())]
    correct = reference == prediction
    own = float(log_probs[list(labels).index(reference)]) if reference in labels else -math.inf
    return Answer(
        row=index,
        prompt=shown(asked_of(row)),
        reference=reference,
        prediction=prediction,
        correct=correct,
        group=row.group,
        ratios={"loss": (-own, 1.0), "accuracy": (float(correct), 1.0)},
    )


def _opening(run: Run, subject: Subject) -> Opening:
    if subject == "base":
        return _majority(run)
    if subject == "tuned":
        from edgetune.runtimes.torch_classifier import open_torch_classifier

        manifest = run.require_trained()
        require_as_trained(run)  # a stored figure is not one of a changed tokenizer
        folder = run.model_folder if run.model_folder.is_dir() else run.adapter_folder
        digest = files.sha256_json({"base": manifest.base_sha256} | dict(files.sha256_files(folder)))
        return Opening("tuned", digest, "torch", lambda: open_torch_classifier(run))
    assert isinstance(subject, Path | Artifact)
    return artifact_opening(subject if isinstance(subject, Artifact) else read_artifact(subject))


def artifact_opening(artifact: Artifact) -> Opening:
    """An exported classifier.

    Raises:
        ArtifactError: it is damaged.
    """
    from edgetune.runtimes.classifying import open_classifier

    require_whole(artifact)
    return Opening(
        artifact.name, files.sha256_json(artifact.sha256), artifact.runtime, lambda: open_classifier(artifact)
    )


def _majority(run: Run) -> Opening:
    """The most frequent class of the training rows: what a classifier must beat to have learnt anything."""
    labels = run.manifest.labels
    counts = Counter(label_of(row) for row in own_rows(run, run.train_file))
    logits = np.log(np.asarray([counts[name] for name in labels], np.float32))
    return Opening(
        "base", files.sha256_file(run.train_file), NOTHING_RAN, lambda: _Constant(labels, logits), (MAJORITY,)
    )


@dataclass
class _Constant:
    """The same for everything."""

    labels: tuple[str, ...]
    always: NDArray[np.float32]
    name: str = "none"
    max_tokens: int = 0

    def encode(self, asked: object, /) -> list[int]:
        del asked
        return []

    def logits(self, asked: Sequence[object], /) -> NDArray[np.float32]:
        return np.tile(self.always, (len(asked), 1))

    def close(self) -> None:
        """Nothing is held."""


@contextmanager
def _opened(opening: Opening) -> Iterator[Classifier]:
    classifier = opening.open()
    try:
        yield classifier
    finally:
        classifier.close()
