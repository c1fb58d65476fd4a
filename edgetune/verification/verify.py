"""``edgetune verify``: is this artifact the model that was trained?

::

    file           every file is what its manifest says
    metadata       what the file says of itself is what would be written now
    weights        tensor by tensor against base and adapter
    prompts        text and token ids through the runtime's own template and tokenizer
    distributions  next-token KL and agreement, teacher-forced
    endings        answers end where the trained model's do
    task           share of the metric's gain over the base that is left

The reference is computed by torch and PEFT alone (:mod:`edgetune.verification.reference`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from edgetune import __version__, console, files
from edgetune.adapters.tuned import tuned_model
from edgetune.artifact import Artifact, ArtifactManifest, open_artifact
from edgetune.data.reading import load_rows
from edgetune.errors import ArtifactError, EdgetuneError
from edgetune.evaluation.record import Evaluation
from edgetune.evaluation.subjects import (
    Settings,
    choose_rows,
    evaluate_run,
    measure,
    torch_subject,
    tuned_opening,
)
from edgetune.exporters import ReadsBack, find_exporter
from edgetune.recipe import VerifySettings
from edgetune.run import Run
from edgetune.runtimes import open_runtime
from edgetune.runtimes.protocol import Runtime
from edgetune.verification.checks import check_distributions, check_endings, check_prompts, check_task
from edgetune.verification.limits import Limits, limits_for
from edgetune.verification.record import Check, Verification, load, store
from edgetune.verification.reference import PORTABLE, Reference, build_reference, read_portable, write_portable
from edgetune.verification.weight_check import check_weights
from edgetune.verification.weights import compare_tensors

#: Rows of a quick verification: for prompts and distributions, and for answers.
QUICK_ROWS, QUICK_ANSWERS = 16, 24


@dataclass(frozen=True)
class Depth:
    """How much is compared.

    Attributes:
        rows: for prompts and distributions.
        answers: rows that are answered, for endings and task; None: all held-out rows.
    """

    rows: int
    answers: int | None

    @classmethod
    def of(cls, settings: VerifySettings, *, quick: bool) -> Depth:
        """The recipe's, or at most that of a quick verification."""
        if quick:
            return cls(min(QUICK_ROWS, settings.rows), QUICK_ANSWERS)
        return cls(settings.rows, None)


@dataclass(frozen=True)
class _Trained:
    """The trained model's side: its distributions, and its answers."""

    reference: Reference
    evaluation: Evaluation


class Verifier:
    """Verifies the artifacts of one run; the trained model is asked once for all of them.

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
        self.depth = depth or Depth.of(self.recipe.verify, quick=quick)
        self.model = tuned_model(run)
        if not run.heldout_file.is_file():
            raise EdgetuneError(
                f"{run.folder} has no held-out rows to verify with",
                hint="put data/heldout.jsonl back; edgetune export --no-verify writes an artifact without",
            )
        self._trained: _Trained | None = None
        parts = (
            __version__,
            tuned_opening(run).weights_sha256,
            files.sha256_file(run.heldout_file),
            Settings.of(self.recipe, self.depth.answers),
            self.recipe.verify,
            self.depth,
        )
        self._basis = files.sha256_text(repr(parts))

    @property
    def trained(self) -> _Trained:
        """What the trained model says; computed when first asked for."""
        if self._trained is None:
            self._trained = self._ask()
        return self._trained

    def verify(self, artifact: Artifact, *, again: bool = True, portable: bool = False) -> Verification:
        """Check one artifact and store ``verify.json`` in it.

        Args:
            artifact: of this run.
            again: do not take what is stored of the same files, trained weights, rows and settings.
            portable: also store ``reference.json``, with held-out rows, for devices without torch.

        Raises:
            ArtifactError: a bare file, or the artifact belongs to another run's model.
            EdgetuneError: the trained model cannot be asked.
        """
        manifest = _require_manifest(artifact)
        known = None if again else load(artifact)
        if known and known.basis_sha256 == self._basis and _check_files(artifact).passed:
            return known
        start = time.monotonic()
        limits = limits_for(manifest.precision, self.recipe.verify)
        name = f"{self.run.folder.name}: the trained model in torch, float32"
        checks = [_check_files(artifact)]
        if checks[0].passed:
            checks += [*self._read_back(artifact, manifest), *self._run(artifact, limits)]
        if portable:
            write_portable(self.trained.reference, artifact.path)
        verification = _record(artifact, limits, name, self._basis, checks, start)
        store(artifact.path, verification)
        return verification

    def _ask(self) -> _Trained:
        from edgetune.runtimes.torch_runtime import open_torch
        from edgetune.training.devices import choose_device

        run, settings = self.run, Settings.of(self.recipe, self.depth.answers)
        conversations = load_rows(run.heldout_file).raise_on_problems().rows
        rows = choose_rows(len(conversations), self.depth.rows, settings.seed)
        device = choose_device("auto")
        runtime = open_torch(run, device=device.value)
        try:
            reference = build_reference(runtime, conversations, rows, settings.system, run.folder.name)
            opening = replace(tuned_opening(run), open=lambda: torch_subject("tuned", runtime, (f"ran on {device}",)))
            return _Trained(reference, measure(opening, run.heldout_file, settings, run.evaluation_file("tuned")))
        finally:
            runtime.close()

    def _read_back(self, artifact: Artifact, manifest: ArtifactManifest) -> list[Check]:
        exporter = find_exporter(manifest.format)
        if not isinstance(exporter, ReadsBack):
            text = f"not judged: the exporter of '{manifest.format}' does not read its files back"
            return [Check(name=name, passed=None, text=text) for name in ("metadata", "weights")]
        problems = exporter.metadata_problems(self.model, artifact)
        metadata = Check(
            name="metadata",
            passed=not problems,
            text=f"{len(problems)} keys differ" if problems else "says what would be written now",
            problems=tuple(problems),
            cause="the file was changed after export, or made from another run" if problems else None,
        )
        with console.progress("Comparing weights", total=sum(manifest.tensor_types.values()), unit="tensors") as bar:
            findings = []
            for pair in exporter.tensor_pairs(self.model, artifact):
                findings.append(compare_tensors(pair))
                bar.advance()
        return [metadata, check_weights(findings)]

    def _run(self, artifact: Artifact, limits: Limits) -> list[Check]:
        reference, tuned = self.trained.reference, self.trained.evaluation
        with _opened(artifact) as runtime:
            checks = [check_prompts(reference, runtime), check_distributions(reference, runtime, limits)]
        if not checks[0].passed:
            text = "not judged: it is not asked as the trained model is"
            return [*checks, *(Check(name=name, passed=None, text=text) for name in ("endings", "task"))]
        answers = self.depth.answers
        base = evaluate_run(self.run, "base", limit=answers)
        exported = evaluate_run(self.run, artifact.path, limit=answers)
        return [*checks, check_endings(tuned, exported), *check_task(base, tuned, exported, limits)]


def verify_portable(artifact: Artifact) -> Verification:
    """Check an artifact with the reference that travels with it: no torch, no run, no base.

    Raises:
        ArtifactError: it carries none.
    """
    manifest = _require_manifest(artifact)
    start = time.monotonic()
    limits = limits_for(manifest.precision, VerifySettings())
    reference = read_portable(artifact.path)
    checks = [_check_files(artifact)]
    if checks[0].passed:
        with _opened(artifact) as runtime:
            checks += [check_prompts(reference, runtime), check_distributions(reference, runtime, limits)]
    name = f"{reference.name}, as it travels with the artifact"
    return _record(artifact, limits, name, files.sha256_file(artifact.path / PORTABLE), checks, start)


def _require_manifest(artifact: Artifact) -> ArtifactManifest:
    if artifact.manifest is None:
        raise ArtifactError(
            f"{artifact.path} has no manifest, so nobody knows which model it should be",
            hint="give the folder that `edgetune export` wrote",
        )
    return artifact.manifest


def _check_files(artifact: Artifact) -> Check:
    try:
        open_artifact(artifact.path, check_hashes=True)
    except ArtifactError as error:
        cause = "the copy is damaged, or the file was changed after export: export or copy it again"
        return Check(name="file", passed=False, text=error.message, problems=error.problems, cause=cause)
    count = len(artifact.manifest.sha256) if artifact.manifest else 1
    return Check(name="file", passed=True, text=f"{count} {'file is' if count == 1 else 'files are'} as exported")


@contextmanager
def _opened(artifact: Artifact) -> Iterator[Runtime]:
    runtime = open_runtime(artifact)
    try:
        yield runtime
    finally:
        runtime.close()


def _record(  # noqa: PLR0913, PLR0917  # the parts of a verification
    artifact: Artifact, limits: Limits, reference: str, basis: str, checks: list[Check], start: float
) -> Verification:
    manifest = _require_manifest(artifact)
    return Verification(
        artifact=artifact.name,
        sha256=manifest.sha256,
        basis_sha256=basis,
        precision_class=limits.name,
        reference=reference,
        checks=tuple(checks),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - start, 1),
        edgetune=__version__,
    )
