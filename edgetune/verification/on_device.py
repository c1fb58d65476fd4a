"""Verification of a copy, with the reference that travels with it: no torch, no run, no base."""

from __future__ import annotations

import time

from edgetune import console, files
from edgetune.artifact import Artifact
from edgetune.differences import setting_problems
from edgetune.errors import ArtifactError
from edgetune.evaluation.record import Answer
from edgetune.runtimes.protocol import Decoding, Runtime
from edgetune.verification.checks import endings_of
from edgetune.verification.phases import ask_artifact, check_files, check_metadata, keep, record, require_manifest
from edgetune.verification.portable import PORTABLE, Portable, manifests_of, read_portable
from edgetune.verification.record import Check, Depth, Verification, load

#: How the reference of such a verification is called.
TRAVELLED = ", as it travels with the artifact"


def verify_portable(artifact: Artifact) -> Verification:
    """Check an artifact with the reference that travels with it.

    Raises:
        ArtifactError: it carries none, or one that was changed, or it is damaged besides.
    """
    require_manifest(artifact)
    start = time.monotonic()
    if not (artifact.path / PORTABLE).is_file():
        _require_undamaged(artifact)
    portable = read_portable(artifact)
    checks = [check_files(artifact), *_origin(artifact)]
    if checks[0].passed:
        checks.append(check_metadata(_manifest_problems(artifact, portable), "the manifest says what it said then"))
        checks += ask_artifact(
            artifact, portable.reference, portable.limits, ("endings",), lambda runtime: [_endings(portable, runtime)]
        )
    limits, rows = portable.limits, len(portable.reference.rows)
    basis, depth = files.sha256_text(repr(limits)), Depth(rows=rows, answers=len(portable.answers))
    name = f"{portable.reference.name}{TRAVELLED}"
    verification = record(artifact, limits.name, name, basis, depth, checks, start)
    known = load(artifact)
    if not verification.passed or (known and not known.passed):
        keep(artifact, verification)  # a copy that fails must not go on saying that the original passed
    return verification


def _origin(artifact: Artifact) -> list[Check]:
    """That it failed where the trained model is."""
    known = load(artifact)
    if known is None or known.passed:
        return []
    if found := [check for check in known.failed if check.name == "origin"]:
        return found
    if known.reference.endswith(TRAVELLED):  # a copy that failed by itself may have been mended
        return []
    names = ", ".join(check.name for check in known.failed) or "nothing could be judged"
    text = f"it failed where its run is: {names}"
    return [Check(name="origin", passed=False, text=text, cause="it is not the trained model: export it again")]


def _require_undamaged(artifact: Artifact) -> None:
    """Of a copy without a reference all that can be told is whether its files are those of its manifest."""
    whole = check_files(artifact)
    if not whole.passed:
        found = whole.text if str(artifact.path) in whole.text else f"{artifact.path}: {whole.text}"
        raise ArtifactError(found, hint=whole.cause, problems=whole.problems)


def _manifest_problems(artifact: Artifact, portable: Portable) -> list[str]:
    found = manifests_of(artifact)
    if len(found) != len(portable.manifests):
        return ["another number of manifests than were verified"]
    pairs = zip(found, portable.manifests, strict=True)
    return [f"manifest.json: {problem}" for own, then in pairs for problem in setting_problems(own, then)]


def _endings(portable: Portable, runtime: Runtime) -> Check:
    """Whether answers end where the trained model's do."""
    prompts = {row.question.row: row.question.prompt_ids for row in portable.reference.rows}
    asked = [answer for answer in portable.answers if answer.row in prompts]
    with console.progress("Answers", total=len(asked), unit="rows") as bar:
        completions = runtime.generate(
            [prompts[answer.row] for answer in asked],
            Decoding(max_new_tokens=portable.max_new_tokens),
            bar.update,
        )
    given = [
        Answer(row=own.row, finish=theirs.finish, tokens=len(theirs.tokens), group=own.group, correct=False, ratios={})
        for own, theirs in zip(asked, completions, strict=True)
    ]
    return endings_of(asked, given)
