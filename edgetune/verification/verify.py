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

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from edgetune import __version__, console, files
from edgetune.adapters.tuned import tuned_model
from edgetune.artifact import Artifact, ArtifactManifest, require_whole
from edgetune.data.reading import load_rows
from edgetune.errors import ArtifactError, EdgetuneError, Interrupted, InUse, MissingExtra, ResourceError
from edgetune.evaluation.record import Evaluation
from edgetune.evaluation.subjects import (
    Settings,
    artifact_opening,
    choose_rows,
    evaluate_run,
    measure,
    torch_subject,
    tuned_opening,
)
from edgetune.exporters import find_exporter
from edgetune.importance.keeping import kept_importance
from edgetune.readback import ReadsBack
from edgetune.recipe import VerifySettings
from edgetune.run import Run
from edgetune.runtimes import open_runtime
from edgetune.runtimes.protocol import Runtime
from edgetune.verification.checks import check_distributions, check_endings, check_prompts, check_task
from edgetune.verification.limits import Limits, limits_for
from edgetune.verification.record import Check, Depth, Verification, load, store
from edgetune.verification.reference import Reference, build_reference, read_portable, write_portable
from edgetune.verification.weight_check import check_weights
from edgetune.verification.weights import compare_tensors

#: Rows of a quick verification: for prompts and distributions, and for answers.
QUICK = Depth(rows=16, answers=24)
#: Failures of this machine or its user, not of the artifact.
_NOT_ITS_FAULT = (ResourceError, MissingExtra, InUse, Interrupted)


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

    Raises:
        EdgetuneError: the run is not trained, or has lost its held-out rows.
    """

    def __init__(self, run: Run, *, quick: bool = False, depth: Depth | None = None) -> None:
        self.run = run
        self.recipe = run.recipe
        self.depth = depth or _depth(self.recipe.verify, quick=quick)
        self.model = tuned_model(run)
        if not run.heldout_file.is_file():
            raise EdgetuneError(
                f"{run.folder} has no held-out rows to verify with",
                hint="put data/heldout.jsonl back; edgetune export --no-verify writes an artifact without",
            )
        self._trained: TrainedSide | None = None
        rows, settings = files.sha256_file(run.heldout_file), Settings.of(self.recipe)
        parts = (__version__, tuned_opening(run).weights_sha256, rows, settings, self.recipe.verify)
        self._basis = files.sha256_text(repr(parts))

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
            portable: also store ``reference.json``, with held-out rows, for devices without torch.

        Raises:
            ArtifactError: a bare file.
            EdgetuneError: the trained model cannot be asked. What stops the artifact itself is a failed check.
        """
        manifest = _require_manifest(artifact)
        start, whole = time.monotonic(), _check_files(artifact)
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
        verification = _record(artifact, limits.name, name, self._basis, self.depth, checks, start)
        if not known or self.depth.covers(known.depth):
            _keep(artifact, verification)
        if portable:
            write_portable(self.trained.reference, limits, artifact)
        return verification

    def _known(self, artifact: Artifact) -> Verification | None:
        """What is stored of the same trained model, rows and settings."""
        known = load(artifact)
        same = known and known.basis_sha256 == self._basis and known.sha256 == artifact.sha256
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
        exporter = find_exporter(manifest.format)
        if not isinstance(exporter, ReadsBack):
            text = f"not judged: the exporter of '{manifest.format}' does not read its files back"
            return [Check(name=name, passed=None, text=text) for name in ("metadata", "weights")]
        reader, trained = exporter, self.trained
        model = replace(self.model, importance=kept_importance(self.run, manifest.importance_sha256))
        return [
            *_phase(("metadata",), lambda: [_check_metadata(reader.metadata_problems(model, artifact))]),
            *_phase(("weights",), lambda: [self._weights(reader, artifact, manifest, trained.weights)]),
        ]

    def _weights(
        self, reader: ReadsBack, artifact: Artifact, manifest: ArtifactManifest, weights: Mapping[str, Any]
    ) -> Check:
        findings = []
        with console.progress("Comparing weights", total=sum(manifest.tensor_types.values()), unit="tensors") as bar:
            for pair in reader.tensor_pairs(self.model, artifact, weights):
                findings.append(compare_tensors(pair))
                bar.advance()
        return check_weights(findings)

    def _run(self, artifact: Artifact, limits: Limits) -> list[Check]:
        trained = self.trained
        asked = _ask_artifact(artifact, trained.reference, limits)
        if not all(check.passed for check in asked if check.name == "prompts"):
            return [*asked, *_not_judged(("endings", "task"), "it is not asked as the trained model is")]

        def answer() -> list[Check]:
            exported = self._answers(artifact)
            endings = check_endings(trained.tuned, exported)
            return [endings, *check_task(trained.base, trained.tuned, exported, limits)]

        return [*asked, *_phase(("endings", "task"), answer)]

    def _answers(self, artifact: Artifact) -> Evaluation:
        """Answers of the artifact; only those of the run's own exports are kept in the run."""
        if artifact.path.resolve().parent == self.run.exports_folder.resolve():
            return evaluate_run(self.run, artifact, limit=self.depth.answers)
        settings = Settings.of(self.recipe, self.depth.answers)
        return measure(artifact_opening(artifact), self.run.heldout_file, settings)


def verify_portable(artifact: Artifact) -> Verification:
    """Check an artifact with the reference that travels with it: no torch, no run, no base.

    Raises:
        ArtifactError: it carries none.
    """
    _require_manifest(artifact)
    start = time.monotonic()
    reference, limits = read_portable(artifact)
    checks = [_check_files(artifact)]
    if checks[0].passed:
        checks += _ask_artifact(artifact, reference, limits)
    basis, depth = files.sha256_text(repr(limits)), Depth(rows=len(reference.rows), answers=0)
    name = f"{reference.name}, as it travels with the artifact"
    verification = _record(artifact, limits.name, name, basis, depth, checks, start)
    if not verification.passed:
        _keep(artifact, verification)  # a copy that fails must not go on saying that the original passed
    return verification


def _coarsest(artifact: Artifact, manifest: ArtifactManifest) -> str:
    """The precision that limits the result: that of the base beneath an adapter."""
    if artifact.beneath is None:
        return manifest.precision
    if artifact.beneath.manifest:
        return artifact.beneath.manifest.precision
    named = re.search(r"(i?q\d\w*|b?f16|f32)$", artifact.beneath.name.lower())  # a file made elsewhere
    return named[0] if named else artifact.beneath.name


def _depth(settings: VerifySettings, *, quick: bool) -> Depth:
    """The recipe's, or at most that of a quick verification."""
    if quick:
        return Depth(rows=min(QUICK.rows, settings.rows), answers=QUICK.answers)
    return Depth(rows=settings.rows, answers=None)


def _require_manifest(artifact: Artifact) -> ArtifactManifest:
    if artifact.manifest is None:
        raise ArtifactError(
            f"{artifact.path} has no manifest, so nobody knows which model it should be",
            hint="give the folder that `edgetune export` wrote",
        )
    return artifact.manifest


def _check_files(artifact: Artifact) -> Check:
    manifest = _require_manifest(artifact)
    cause = "the copy is damaged, or the file was changed after export: export or copy it again"
    if manifest.main_file not in manifest.sha256:
        return Check(name="file", passed=False, text=f"the manifest has no hash of {manifest.main_file}", cause=cause)
    try:
        require_whole(artifact)
    except ArtifactError as error:
        return Check(name="file", passed=False, text=error.message, problems=error.problems, cause=cause)
    count = len(artifact.sha256)
    return Check(name="file", passed=True, text=f"{count} {'file is' if count == 1 else 'files are'} as exported")


def _check_metadata(problems: Sequence[str]) -> Check:
    return Check(
        name="metadata",
        passed=not problems,
        text=f"{len(problems)} findings" if problems else "says what would be written now",
        problems=tuple(problems),
        cause="the file was changed after export, or made from another run" if problems else None,
    )


def _ask_artifact(artifact: Artifact, reference: Reference, limits: Limits) -> list[Check]:
    """Prompts, and distributions where those are right, through the artifact's own runtime."""

    def ask() -> list[Check]:
        with _opened(artifact, reference.longest) as runtime:
            prompts = check_prompts(reference, runtime)
            return [prompts, *_phase(("distributions",), lambda: [check_distributions(reference, runtime, limits)])]

    return _phase(("prompts", "distributions"), ask)


def _phase(names: Sequence[str], work: Callable[[], list[Check]]) -> list[Check]:
    """The checks of one phase. What stops an artifact fails the first of them, and the others are not judged."""
    try:
        return work()
    except _NOT_ITS_FAULT:
        raise
    except EdgetuneError as error:
        cause = "the artifact is damaged, cut short or of another model"
        failed = Check(name=names[0], passed=False, text=error.message, problems=error.problems, cause=cause)
        return [failed, *_not_judged(names[1:], f"{names[0]} could not be")]


def _not_judged(names: Sequence[str], why: str) -> list[Check]:
    return [Check(name=name, passed=None, text=f"not judged: {why}") for name in names]


@contextmanager
def _opened(artifact: Artifact, longest: int) -> Iterator[Runtime]:
    """The artifact in its runtime, with the runtime's usual context or as much as the longest row needs."""
    manifest = _require_manifest(artifact)
    usual = open_runtime(artifact)
    if usual.context_length >= longest or longest > manifest.context_length:
        runtime = usual
    else:
        usual.close()
        runtime = open_runtime(artifact, context=longest)
    try:
        yield runtime
    finally:
        runtime.close()


def _keep(artifact: Artifact, verification: Verification) -> None:
    """Store the result; where that cannot be done the findings must not be lost with it."""
    try:
        store(artifact.path, verification)
    except ResourceError as error:
        console.note(f"warning: the result is not stored: {error.message}")


def _record(  # noqa: PLR0913, PLR0917  # the parts of a verification
    artifact: Artifact, limits: str, reference: str, basis: str, depth: Depth, checks: list[Check], start: float
) -> Verification:
    return Verification(
        artifact=artifact.name,
        sha256=artifact.sha256,
        basis_sha256=basis,
        depth=depth,
        precision_class=limits,
        reference=reference,
        checks=tuple(checks),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - start, 1),
        edgetune=__version__,
    )
