"""``edgetune verify`` of a classifier: is this artifact the one that was trained?

::

    file           every file is what its manifest says
    metadata       graph, config.json, manifest and tokenizer say what the run says: the names of the classes above all
    inputs         the same token ids, or the same numbers for each pixel, as in training
    distributions  KL of the class probabilities from the trained model's, and the same likeliest class
    task           accuracy of both on held-out rows, with intervals

The reference is the trained model in torch in float32, its adapter beside the base as in training; exporters merge it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgetune import __version__, extras, files
from edgetune.adapters.tuned import tuned_model
from edgetune.artifact import Artifact
from edgetune.data.labelled import asked_of, own_rows, shown
from edgetune.errors import EdgetuneError, ModelError
from edgetune.evaluation.classification import classify_all, evaluate_classifier
from edgetune.evaluation.compare import compare
from edgetune.evaluation.intervals import Groups
from edgetune.evaluation.record import Evaluation
from edgetune.evaluation.rows import choose_rows
from edgetune.exporters import TunedModel, find_exporter
from edgetune.run import Run
from edgetune.verification.checks import Apart, hold_distributions, none_differs
from edgetune.verification.limits import HALF_LOST, SURE, Limits
from edgetune.verification.phases import check_files, check_metadata, keep, phase, record, require_manifest
from edgetune.verification.record import Check, Depth, Verification, load

#: Goes up when verification sees more, or judges otherwise.
CHECKS = 4
#: Rows of a quick verification.
QUICK_ROWS = 64
#: Images whose pixels are kept and compared: each takes twelve bytes a pixel. Of texts all are.
PICTURES = 256
#: Largest difference of a pixel's value that is rounding: values are of a few units, in float32.
PIXELS = 1e-4
#: What rounding may do, by precision: between what sound exports reach and what planted faults do
#: (docs/decisions/0011-classification.md). Few classes mean few nats, so these are not those of next tokens.
LIMITS = {
    "fp32": Limits("32 bits", kl_mean=1e-5, top1=0.998, retention=0.99),
    "fp16": Limits("16 bits", kl_mean=1e-4, top1=0.995, retention=0.98),
    "int8": Limits("8 bits, activations measured as they come", kl_mean=0.02, top1=0.97, retention=0.95),
    "int8_static": Limits("8 bits, activations calibrated", kl_mean=0.05, top1=0.95, retention=0.92),
}


def limits_of(precision: str) -> Limits:
    """The limits of a precision, in whatever file; of an unknown one, the widest.

    >>> limits_of("int8_static_ort").name, limits_of("fp16").name
    ('8 bits, activations calibrated', '16 bits')
    """
    known = [name for name in LIMITS if precision.startswith(name)]
    return LIMITS[max(known, key=len)] if known else LIMITS["int8_static"]


@runtime_checkable
class ReadsFacts(Protocol):
    """An exporter that knows what its artifacts should say of themselves."""

    def metadata_problems(self, model: TunedModel, artifact: Artifact) -> list[str]: ...


@dataclass(frozen=True)
class _Trained:
    """What the trained model says: what it reads, and log-probabilities (rows, classes), of some held-out rows."""

    asked: tuple[str | Path, ...]
    groups: tuple[str | None, ...]
    read: tuple[NDArray[Any], ...]
    log_probs: NDArray[np.float64]
    evaluation: Evaluation


class ClassifierVerifier:
    """Verifies the artifacts of one run. The trained model is asked once for all of them.

    Args:
        run: trained.
        quick: fewer rows.

    Raises:
        EdgetuneError: the run is not trained, or has lost its held-out rows.
        MissingExtra: no torch, which the trained model runs in.
    """

    def __init__(self, run: Run, *, quick: bool = False) -> None:
        self.run = run
        self.recipe = run.recipe
        extras.require("torch", extra="train", needed_for="verifying against the trained model")
        self.model = tuned_model(run)
        rows = len(own_rows(run, run.heldout_file))
        self.depth = Depth(rows=min(rows, QUICK_ROWS) if quick else rows, answers=None)
        self._trained: _Trained | None = None
        basis = (__version__, CHECKS, self.model.labels, run.manifest.result_sha256, self.recipe.verify)
        self._basis = files.sha256_text(repr((*basis, files.sha256_file(run.heldout_file))))

    def verify(self, artifact: Artifact, *, again: bool = True, portable: bool = False) -> Verification:
        """Check one artifact and store ``verify.json`` in it.

        Args:
            artifact: of this run.
            again: do not take what is stored of the same files, trained weights, rows and settings.
            portable: refused: nothing is left for devices yet.

        Raises:
            EdgetuneError: portable was asked for, or the trained model cannot be asked.
        """
        if portable:
            raise EdgetuneError("--portable is for models that generate", hint="verify the classifier here, without it")
        manifest = require_manifest(artifact)
        start, whole = time.monotonic(), check_files(artifact)
        known = load(artifact) if whole.passed else None
        if known and not again and known.basis_sha256 == self._basis and known.depth.covers(self.depth):
            return known
        limits = limits_of(manifest.precision).overridden(self.recipe.verify)
        checks = [whole]
        if whole.passed:
            checks += phase(("metadata",), lambda: [self._metadata(artifact)])
            checks += phase(("inputs", "distributions", "task"), lambda: self._ask(artifact, limits))
        name = f"{self.run.folder.name}: the trained model in torch, float32"
        found = record(artifact, limits.name, name, self._basis, self.depth, checks, start)
        keep(artifact, found)
        return found

    @property
    def trained(self) -> _Trained:
        """What the trained model says; computed when first asked for."""
        if self._trained is None:
            from edgetune.runtimes.torch_classifier import open_torch_classifier

            rows = own_rows(self.run, self.run.heldout_file)
            chosen = choose_rows(len(rows), self.depth.rows, self.recipe.train.seed)
            asked = tuple(asked_of(rows[row]) for row in chosen)
            classifier = open_torch_classifier(self.run)
            read = tuple(np.asarray(classifier.encode(one)) for one in _compared(asked))
            log_probs = classify_all(classifier, asked, "the trained model")
            classifier.close()
            groups = tuple(rows[row].group for row in chosen)
            self._trained = _Trained(asked, groups, read, log_probs, evaluate_classifier(self.run, "tuned"))
        return self._trained

    def _metadata(self, artifact: Artifact) -> Check:
        exporter = find_exporter(require_manifest(artifact).format)
        if not isinstance(exporter, ReadsFacts):
            return Check(name="metadata", passed=None, text="not judged: its exporter does not read its files back")
        return check_metadata(exporter.metadata_problems(self.model, artifact), "the classes are those trained on")

    def _ask(self, artifact: Artifact, limits: Limits) -> list[Check]:
        from edgetune.runtimes.classifying import open_classifier

        trained = self.trained
        classifier = open_classifier(artifact)
        try:
            compared = _compared(trained.asked)
            inputs = check_inputs(compared, trained.read, map(classifier.encode, compared))
            if classifier.labels != self.model.labels:
                raise ModelError("its classes are not those trained on, or in another order")
            log_probs = classify_all(classifier, trained.asked, artifact.name)
        finally:
            classifier.close()
        exported = evaluate_classifier(self.run, artifact)
        return [
            inputs,
            check_distributions(trained.log_probs, log_probs, limits, trained.groups),
            check_accuracy(trained.evaluation, exported, limits),
        ]


def _compared(asked: Sequence[str | Path]) -> Sequence[str | Path]:
    """Those whose inputs are compared."""
    return asked[:PICTURES] if any(isinstance(one, Path) for one in asked) else asked


def check_inputs(asked: Sequence[str | Path], own: Sequence[NDArray[Any]], theirs: Iterable[Any]) -> Check:
    """Whether texts become the same token ids, and images the same numbers, up to rounding.

    Args:
        asked: texts, or where images lie.
        own: what the trained model reads of each.
        theirs: what the artifact reads.
    """
    images = any(isinstance(one, Path) for one in asked)
    wrong = [
        f"{shown(one)[:60]!r}: {told}"
        for one, here, there in zip(asked, own, theirs, strict=True)
        if (told := _difference(here, np.asarray(there), PIXELS if images else 0.0))
    ]
    same = "images have the same pixel values" if images else "texts have the same token ids"
    cause = "another size, mean, deviation or order of colours" if images else "another tokenizer or longest text"
    return none_differs("inputs", same, wrong, of=len(asked), cause=f"{cause} than trained with")


def _difference(own: NDArray[Any], theirs: NDArray[Any], allowed: float) -> str | None:
    """How two inputs differ, in words; None: not by more than ``allowed``."""
    if own.shape == theirs.shape and np.abs(own - theirs).max(initial=0) <= allowed:
        return None
    if own.ndim == 1:
        return f"{theirs.tolist()[:8]}, in training {own.tolist()[:8]}"
    if own.shape != theirs.shape:
        return f"of shape {theirs.shape}, in training {own.shape}"
    means = ", ".join(
        f"{channel} {there:.2f} (in training {here:.2f})"
        for channel, here, there in zip("012", own.mean((1, 2)), theirs.mean((1, 2)), strict=True)
    )
    return f"off by up to {np.abs(own - theirs).max():.2g}; means of its channels: {means}"


def check_distributions(
    own: NDArray[np.float64], theirs: NDArray[np.float64], limits: Limits, groups: Groups = ()
) -> Check:
    """KL of class probabilities from the trained model's, and the share of texts with the same likeliest class.

    As for next tokens, agreement is judged where the trained model has a clear favourite: half a nat or more.
    """
    kl = (np.exp(own) * (own - theirs)).sum(axis=1)
    ranked = np.sort(own, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] >= 0.5
    same = own.argmax(axis=1) == theirs.argmax(axis=1)
    top1 = float(same[clear].mean()) if clear.any() else 1.0
    apart = Apart(
        [(float(one), 1.0) for one in kl],
        [(float(a and not b), float(a)) for a, b in zip(clear, same, strict=True)],
        groups,
    )
    mean, top1_all = float(kl.mean()), float(same.mean())
    return hold_distributions(
        apart,
        limits,
        text=(
            f"mean KL {mean:.2g} nats (max {kl.max():.2g}), same likeliest class in {top1:.1%} of "
            f"{int(clear.sum())} clear rows, {top1_all:.1%} of all {len(own)}"
        ),
        figures={"kl_mean": mean, "kl_max": float(kl.max()), "top1": top1, "top1_all": top1_all},
        cause="too few bits, a bad calibration, or outputs in another order than the classes",
    )


def check_accuracy(tuned: Evaluation, exported: Evaluation, limits: Limits) -> Check:
    """Whether the artifact's accuracy is the trained model's, but for what rounding may cost.

    Below its limit it fails where a paired test is sure of a loss too, or half is gone; otherwise it is undecided.
    """
    own, theirs = tuned.score("accuracy"), exported.score("accuracy")
    moved = compare(tuned, exported)
    floor = limits.retention * own.value
    sure = moved.p_value <= SURE or theirs.value < HALF_LOST * own.value
    passed = True if theirs.value >= floor else False if sure else None
    text = (
        f"accuracy {theirs.value:.3f} [{theirs.low:.3f}, {theirs.high:.3f}], trained {own.value:.3f} "
        f"[{own.low:.3f}, {own.high:.3f}], on {theirs.n} rows; {moved.lost} lost, {moved.gained} gained "
        f"(p = {moved.p_value:.2g})"
    )
    if passed is None:
        text = f"not judged: {theirs.n} rows cannot tell whether it is below {floor:.3f}; {text}"
    return Check(
        name="task",
        passed=passed,
        text=text,
        figures={"accuracy": theirs.value, "low": theirs.low, "high": theirs.high, "trained": own.value},
        limits={"accuracy": floor},
        cause="too few bits for this model, where the other checks pass; else see them" if passed is False else None,
    )
