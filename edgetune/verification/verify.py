"""``edgetune verify``: is this artifact the model that was trained?

::

    file           every file is what its manifest says
    metadata       what file and manifest say is what would be written now
    weights        tensor by tensor against base and adapter
    prompts        text and token ids through the runtime's own template and tokenizer
    distributions  next-token KL and agreement, teacher-forced
    endings        answers end where the trained model's do
    task           share of the metric's gain over the base that is left

The reference is the trained model in torch, its adapter merged by PEFT and not by edgetune's exporters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgetune import __version__, console, extras, files
from edgetune.adapters.tuned import tuned_model
from edgetune.artifact import Artifact, ArtifactManifest
from edgetune.data.reading import load_rows
from edgetune.errors import EdgetuneError, ExportError, ModelError, ResourceError
from edgetune.evaluation.record import Evaluation
from edgetune.evaluation.rows import choose_rows
from edgetune.evaluation.subjects import (
    Settings,
    artifact_opening,
    evaluate_run,
    measure,
    torch_subject,
    tuned_opening,
)
from edgetune.exporters import TunedModel, find_exporter
from edgetune.importance.keeping import kept_importance
from edgetune.models.gguf_file import read_gguf
from edgetune.readback import MayForget, ReadsBack
from edgetune.recipe import VerifySettings
from edgetune.run import Run
from edgetune.verification.checks import check_endings, check_task
from edgetune.verification.limits import Limits, limits_for
from edgetune.verification.on_device import verify_portable
from edgetune.verification.phases import (
    ask_artifact,
    check_files,
    check_metadata,
    keep,
    not_judged,
    phase,
    record,
    require_manifest,
    withdraw,
)
from edgetune.verification.portable import PORTABLE, write_portable
from edgetune.verification.record import Check, Depth, Verification, load
from edgetune.verification.reference import Reference, build_reference
from edgetune.verification.weight_check import check_weights
from edgetune.verification.weights import compare_tensors

__all__ = ["QUICK", "TrainedSide", "Verifier", "require_rows", "verify_portable"]

#: Goes up when verification judges otherwise: what was judged before is then looked at again.
CHECKS = 8
#: Rows of a quick verification: for prompts and distributions, and for answers.
QUICK = Depth(rows=16, answers=24)


@dataclass(frozen=True)
class TrainedSide:
    """What artifacts of a run are compared with.

    Attributes:
        reference: distributions of the trained model.
        base, tuned: answers of the untuned base and of the trained model.
        weights: of the trained model, torch tensors under transformers' names.
    """

    reference: Reference
    base: Evaluation
    tuned: Evaluation
    weights: Mapping[str, Any]


class Verifier:
    """Verifies the artifacts of one run. The trained model is asked once for all of them and kept in memory.

    Args:
        run: trained.
        quick: fewer rows.
        depth: how much is compared; default: what the recipe says, or less if quick.

    Attributes:
        basis: hash over trained weights, rows and settings, and over how it is judged.

    Raises:
        EdgetuneError: the run is not trained, or has lost its held-out rows.
        MissingExtra: no torch, which the trained model runs in.
    """

    def __init__(self, run: Run, *, quick: bool = False, depth: Depth | None = None) -> None:
        run.require_generating("this verification")
        self.run = run
        self.recipe = run.recipe
        self.depth = depth or _depth(self.recipe.verify, quick=quick)
        require_rows(run)
        extras.require("torch", extra="train", needed_for="verifying against the trained model")
        self.model = tuned_model(run)
        self._trained: TrainedSide | None = None
        rows, settings = files.sha256_file(run.heldout_file), Settings.of(self.recipe)
        parts = (__version__, CHECKS, tuned_opening(run).weights_sha256, rows, settings, self.recipe.verify)
        self.basis = files.sha256_text(repr(parts))

    @property
    def trained(self) -> TrainedSide:
        """What the trained model says; computed when first asked for."""
        if self._trained is None:
            self._trained = self._ask()
        return self._trained

    def verify(self, artifact: Artifact, *, again: bool = True, portable: bool = False) -> Verification:
        """Check one artifact and store ``verify.json`` in it; one of more rows that is there already stays.

        Args:
            artifact: of this run.
            again: do not take what is stored of the same files, trained weights, rows and settings.
            portable: also store ``reference.json``, with held-out rows, for devices without torch. An artifact that
                fails gets none, and loses the one it has, unless it merely could not be judged.

        Raises:
            ArtifactError: a bare file.
            EdgetuneError: the trained model cannot be asked. What stops the artifact itself is a failed check.
        """
        manifest = require_manifest(artifact)
        start, whole = time.monotonic(), check_files(artifact)
        known = self._known(artifact) if whole.passed else None
        if known and not again and known.depth.covers(self.depth):
            return known
        limits = limits_for(_coarsest(artifact, manifest), self.recipe.verify)
        name = f"{self.run.folder.name}: the trained model in torch, float32"
        if artifact.beneath:
            name += f"; the adapter on {artifact.beneath.name}"
        checks = [whole]
        if whole.passed:
            checks += [*self._read_back(artifact, manifest), *self._run(artifact, limits)]
        verification = record(artifact, limits.name, name, self.basis, self.depth, checks, start)
        self._settle(artifact, verification, known, limits if portable else None)
        return verification

    def _settle(
        self, artifact: Artifact, found: Verification, known: Verification | None, portable: Limits | None
    ) -> None:
        """Store the result, and what a device needs if asked for; a failure on a foreign base is not the adapter's."""
        fits = _fits(artifact)
        if fits and (not found.passed or not known or self.depth.covers(known.depth)):
            keep(artifact, found)
        if found.passed:
            if portable:
                self._leave(artifact, portable)
        elif not fits:
            if portable:
                console.note(f"no {PORTABLE} is written: the adapter failed on a base that it was not made for")
        elif (artifact.path / PORTABLE).is_file():
            withdraw(artifact, found)
        elif portable:
            console.note(f"no {PORTABLE} is left in {artifact.path}: the artifact failed")

    def _leave(self, artifact: Artifact, limits: Limits) -> None:
        """Store what a device needs; where that cannot be done the findings must not be lost with it."""
        trained = self.trained
        try:
            write_portable(trained.reference, trained.tuned.answers, self.recipe.task.max_new_tokens, limits, artifact)
        except ResourceError as error:
            console.note(f"warning: {PORTABLE} is not stored, so a device cannot verify its copy: {error.message}")

    def _known(self, artifact: Artifact) -> Verification | None:
        """What is stored of the same trained model, rows and settings."""
        known = load(artifact)
        same = known and known.basis_sha256 == self.basis and known.sha256 == artifact.sha256
        return known if same else None

    def _ask(self) -> TrainedSide:
        from edgetune.runtimes.torch_runtime import open_torch
        from edgetune.training.devices import choose_device

        run, settings = self.run, Settings.of(self.recipe, self.depth.answers)
        conversations = load_rows(run.heldout_file).raise_on_problems().rows
        rows = choose_rows(len(conversations), self.depth.rows, settings.seed)
        device = choose_device("auto")
        runtime = open_torch(run, device=device.value)
        weights = runtime.model.state_dict()
        try:
            reference = build_reference(runtime, conversations, rows, settings.system, run.folder.name)
            opening = replace(tuned_opening(run), open=lambda: torch_subject("tuned", runtime, (f"ran on {device}",)))
            tuned = measure(opening, run.heldout_file, settings, run.evaluation_file("tuned"))
        finally:
            runtime.close()
        return TrainedSide(reference, evaluate_run(run, "base", limit=self.depth.answers), tuned, weights)

    def _read_back(self, artifact: Artifact, manifest: ArtifactManifest) -> list[Check]:
        names = ("metadata", "weights")
        try:
            exporter = find_exporter(manifest.format)
        except ExportError as error:
            text = f"manifest.json names a format that nobody here writes: {error.message}"
            cause = "the manifest was changed, or the exporter of that format is not installed"
            failed = Check(name="metadata", passed=False, text=text, cause=cause)
            return [failed, *not_judged(("weights",), "nobody can read the file back")]
        if not isinstance(exporter, ReadsBack):
            return not_judged(names, f"the exporter of '{manifest.format}' does not read its files back")
        reader, trained = exporter, self.trained
        model = replace(self.model, importance=kept_importance(self.run, manifest.importance_sha256))
        return [
            *phase(("metadata",), lambda: [_metadata(reader, model, artifact)]),
            *phase(("weights",), lambda: [self._weights(reader, model, artifact, trained.weights)]),
        ]

    def _weights(self, reader: ReadsBack, model: TunedModel, artifact: Artifact, weights: Mapping[str, Any]) -> Check:
        findings, count = [], sum(require_manifest(artifact).tensor_types.values())
        with console.progress("Comparing weights", total=count, unit="tensors") as bar:
            for pair in reader.tensor_pairs(model, artifact, weights):
                findings.append(compare_tensors(pair))
                bar.advance()
        return check_weights(findings)

    def _run(self, artifact: Artifact, limits: Limits) -> list[Check]:
        trained = self.trained
        asked = ask_artifact(artifact, trained.reference, limits)
        if not all(check.passed for check in asked if check.name == "prompts"):
            return [*asked, *not_judged(("endings", "task"), "it is not asked as the trained model is")]

        def answer() -> list[Check]:
            exported = self._answers(artifact)
            endings = check_endings(trained.tuned, exported)
            return [endings, *check_task(trained.base, trained.tuned, exported, limits)]

        return [*asked, *phase(("endings", "task"), answer)]

    def _answers(self, artifact: Artifact) -> Evaluation:
        """Answers of the artifact; only those of the run's own exports are kept in the run."""
        if artifact.path.resolve().parent == self.run.exports_folder.resolve():
            return evaluate_run(self.run, artifact, limit=self.depth.answers)
        settings = Settings.of(self.recipe, self.depth.answers)
        return measure(artifact_opening(artifact), self.run.heldout_file, settings)


def _metadata(reader: ReadsBack, model: TunedModel, artifact: Artifact) -> Check:
    forgotten = reader.forgotten(model, artifact) if isinstance(reader, MayForget) else None
    return check_metadata(reader.metadata_problems(model, artifact), forgotten=forgotten)


def _coarsest(artifact: Artifact, manifest: ArtifactManifest) -> str:
    """The precision that limits the result: that of the base beneath an adapter."""
    if artifact.beneath is None:
        return manifest.precision
    if artifact.beneath.manifest:
        return artifact.beneath.manifest.precision
    return _stored_precision(artifact.beneath)


def _stored_precision(bare: Artifact) -> str:
    """The type that most weights of a file made elsewhere have, whatever the file is called."""
    weights: dict[str, int] = {}
    try:
        tensors = read_gguf(bare.main_file).tensors
    except ModelError:
        return bare.name  # the checks will tell
    for tensor in tensors.values():
        if len(tensor.shape) > 1:
            weights[tensor.type_name] = weights.get(tensor.type_name, 0) + math.prod(tensor.shape)
    return max(weights, key=lambda kind: weights[kind]).lower() if weights else bare.name


def _fits(artifact: Artifact) -> bool:
    """Whether the base beneath an adapter is one it belongs on: a failure on another says nothing about it."""
    own, below = artifact.manifest, artifact.beneath.manifest if artifact.beneath else None
    return own is None or below is None or own.adapter_base == below.adapter_base


def require_rows(run: Run) -> None:
    """Check that there are held-out rows.

    Raises:
        EdgetuneError: there are none.
    """
    if not run.heldout_file.is_file():
        raise EdgetuneError(
            f"{run.folder} has no held-out rows to verify with",
            hint="put data/heldout.jsonl back; edgetune export --no-verify writes an artifact without",
        )


def _depth(settings: VerifySettings, *, quick: bool) -> Depth:
    """The recipe's, or at most that of a quick verification."""
    if quick:
        return Depth(rows=min(QUICK.rows, settings.rows), answers=QUICK.answers)
    return Depth(rows=settings.rows, answers=None)
