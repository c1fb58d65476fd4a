"""Try precisions from the smallest up, until one is the trained model, keeps the task and is quick enough.

A rung is first verified quickly, which most wrong ones do not survive, and then on as many held-out rows as asked for.
What is not shipped is removed again, unless it was there before.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgetune import __version__, console
from edgetune.artifact import Artifact
from edgetune.bench.plan import Plan
from edgetune.bench.single_stream import bench_artifact
from edgetune.errors import CheckFailed, DataError, ExportError, OutOfMemory
from edgetune.exporters import ExportPlan, find_exporter, used_importance
from edgetune.exporting import Source
from edgetune.exporting_parts import Part
from edgetune.ladder.record import FILE, Ladder, Limits, Rung, Verdict
from edgetune.ladder.text import rung_line
from edgetune.run import Run
from edgetune.stored import write_stored
from edgetune.verification.record import Depth, Verification
from edgetune.verification.text import failure
from edgetune.verification.verify import QUICK, Verifier

#: What is timed where there is a limit of speed.
_SPEED = Plan(prompts=10, rounds=3, starts=0, memory_rounds=0, depths=())


@dataclass(frozen=True)
class _Candidate:
    part: Part
    plan: ExportPlan

    def is_too_large(self, limits: Limits) -> bool:
        """Whether it surely is: where the prediction may be off by as much, only the file will tell."""
        return limits.max_bytes is not None and self.plan.size_bytes - self.plan.unsure_bytes > limits.max_bytes


def limits_of(source: Source, given: Mapping[str, float | None]) -> Limits:
    """The limits as given on the command line, with the recipe's and then the defaults where nothing is.

    Args:
        source: of exports.
        given: ``max_size`` in megabytes, ``min_decode``, ``min_retention`` and ``rows``.
    """
    size, recipe = given["max_size"], source.run.recipe.verify.min_retention if source.run else None
    found = {
        "max_bytes": None if size is None else int(size * 1e6),
        "min_decode": given["min_decode"],
        "min_retention": recipe if given["min_retention"] is None else given["min_retention"],
        "rows": given["rows"],
    }
    return Limits.model_validate({name: value for name, value in found.items() if value is not None})


def require_shipped(ladder: Ladder) -> None:
    """End with exit code 9 where nothing keeps to the limits.

    Raises:
        CheckFailed: naming the limits.
    """
    if ladder.chosen is None and any(rung.verdict == "task not judged" for rung in ladder.rungs):
        raise CheckFailed(
            "nothing ships: training gained nothing on the task that these rows could show, so nobody can tell what a "
            "precision keeps of it",
            hint="more --rows may tell; --min-retention 0 ships the smallest that passes the other checks",
        )
    if ladder.chosen is None:
        raise CheckFailed(
            f"no precision of {ladder.format} keeps to the limits; every rung is shown above",
            hint="allow more bytes with --max-size, or train longer" + _helps(ladder.format),
        )


def _helps(format: str) -> str:
    weighs = used_importance(format, find_exporter(format).precisions) == "squares"
    return "; --imatrix auto helps at few bits" if weighs else ""


def climb(source: Source, format: str, precisions: Sequence[str], limits: Limits) -> Ladder:
    """Write the smallest artifact that keeps to the limits.

    Args:
        source: a run, with the importance of its inputs where that is to be minded.
        format: name of an exporter.
        precisions: to choose from; none: all of the exporter.
        limits: to keep to.

    Returns:
        Every rung, the chosen artifact named; also stored in the run.

    Raises:
        ExportError: it is no run, so there is nothing to verify against, or it cannot be exported at all.
        EdgetuneError: the trained model cannot be asked.
    """
    run = source.run
    if run is None:
        raise ExportError(
            "--auto needs a run: nothing else has a trained model and held-out rows to verify with",
            hint="choose a precision: --quant q8_0",
        )
    run.require_generating("--auto")
    candidates, rungs = _candidates(source, format, precisions)
    verifiers = (Verifier(run, quick=True), Verifier(run, depth=_depth(run, limits)))
    chosen: Artifact | None = None
    failed: dict[str, str] = {}
    for candidate in candidates:
        tensors = candidate.plan.tensors_sha256
        if chosen is not None:
            rungs.append(_rung(candidate, "not tried", "a smaller one ships"))
        elif any(rung.verdict == "task not judged" for rung in rungs):
            rungs.append(_rung(candidate, "not tried", "the task cannot be judged, whatever the precision"))
        elif candidate.is_too_large(limits):
            rungs.append(_too_large(candidate, limits))
        elif tensors in failed:
            rungs.append(_rung(candidate, "not tried", f"the same tensors as {failed[tensors]}"))
        else:
            rung, chosen = _try(candidate, verifiers, limits)
            console.note(rung_line(rung))
            rungs.append(rung)
            if tensors is not None:
                failed[tensors] = rung.name
    ladder = Ladder(
        run=run.folder.name,
        format=format,
        limits=limits,
        rungs=tuple(rungs),
        chosen=str(chosen.path) if chosen else None,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        edgetune=__version__,
    )
    write_stored(run.folder / FILE, ladder)
    return ladder


def plannable(source: Source, format: str, precisions: Sequence[str]) -> list[str]:
    """The precisions that can be written, from the smallest up; why others cannot is told.

    Raises:
        ExportError: there is no such precision, or none can be written.
    """
    candidates, refused = _candidates(source, format, precisions)
    for rung in refused:
        console.note(rung_line(rung))
    return [candidate.plan.precision for candidate in candidates]


def _candidates(source: Source, format: str, precisions: Sequence[str]) -> tuple[list[_Candidate], list[Rung]]:
    """From the smallest up, of those alike in size the exporter's better one first; and those that cannot be written.

    Raises:
        ExportError: there is no such precision, or none can be written.
    """
    exporter = find_exporter(format)
    found: dict[Path, _Candidate] = {}
    refused: list[Rung] = []
    errors: list[ExportError] = []
    for precision in dict.fromkeys(map(exporter.precision, precisions or exporter.precisions)):
        try:
            for part in source.merged(format, (precision,), source.output):
                found[part.folder] = _Candidate(part, part.plan())
        except ExportError as error:
            errors.append(error)
            refused.append(Rung(name=precision, size_bytes=None, verdict="not written", why=error.message))
    if not found:
        raise errors[0]
    return sorted(found.values(), key=lambda one: one.plan.size_bytes), refused


def _too_large(candidate: _Candidate, limits: Limits, artifact: Artifact | None = None) -> Rung:
    assert limits.max_bytes is not None, "it was asked for"
    return _rung(candidate, "too large", f"above the limit of {limits.max_bytes / 1e6:.1f} MB", artifact)


def _depth(run: Run, limits: Limits) -> Depth:
    return Depth(rows=run.recipe.verify.rows, answers=max(limits.rows, QUICK.answers or 0))


def _try(candidate: _Candidate, verifiers: tuple[Verifier, Verifier], limits: Limits) -> tuple[Rung, Artifact | None]:
    """Export and judge one. What does not ship goes again."""
    there_before = candidate.part.folder.exists()
    ships = False
    try:
        try:
            artifact = candidate.part.write()
        except (DataError, ExportError, OutOfMemory) as error:  # of what this precision alone needs
            return _rung(candidate, "not written", error.message), None
        if limits.max_bytes is not None and artifact.size_bytes > limits.max_bytes:
            return _too_large(candidate, limits, artifact), None
        rung = _judge(candidate, artifact, verifiers, limits)
        ships = rung.verdict == "ships"
    finally:  # Ctrl-C and failures too: what was never judged must not lie there as an export
        if not ships and not there_before and candidate.part.folder.exists():
            shutil.rmtree(candidate.part.folder)
    return rung, artifact if ships else None


def _judge(candidate: _Candidate, artifact: Artifact, verifiers: tuple[Verifier, Verifier], limits: Limits) -> Rung:
    for verifier in verifiers:
        found = verifier.verify(artifact, again=False)
        if not found.passed:
            return _rung(candidate, "not verified", failure(found).partition(": ")[2] or "failed", artifact, found)
    undecided = next((check for check in found.checks if check.name != "task" and check.undecided), None)
    if undecided:  # the task is held to a limit of its own
        return _rung(candidate, "not verified", f"{undecided.name} {undecided.text}", artifact, found)
    left = _figure(found, "task", "retention")
    if left is None and limits.min_retention > 0:
        why = next((check.text for check in found.checks if check.name == "task"), "there are no answers to judge")
        return _rung(candidate, "task not judged", why.removeprefix("not judged: "), artifact, found)
    if left is not None and left < limits.min_retention:
        return _rung(candidate, "too little left", f"{left:.3f} of the gain is left", artifact, found)
    decode = None
    if limits.min_decode is not None:
        decode = bench_artifact(artifact, _SPEED).figure("decode").median
        if decode is None or decode < limits.min_decode:
            slow = "its speed could not be measured" if decode is None else f"{decode:.0f} tokens/s"
            return _rung(candidate, "too slow", slow, artifact, found, decode)
    kept = "the task was not judged, as asked for" if left is None else f"{left:.3f} of the gain is left"
    return _rung(candidate, "ships", kept, artifact, found, decode)


def _rung(  # noqa: PLR0913, PLR0917  # the fields of a rung
    candidate: _Candidate,
    verdict: Verdict,
    why: str,
    artifact: Artifact | None = None,
    found: Verification | None = None,
    decode: float | None = None,
) -> Rung:
    low, high = (_figure(found, "task", end) for end in ("low", "high"))
    manifest = artifact.manifest if artifact else None
    return Rung(
        name=candidate.part.folder.name,
        size_bytes=manifest.size_bytes if manifest else candidate.plan.size_bytes,
        written=manifest is not None,
        verdict=verdict,
        why=why,
        kl=_figure(found, "distributions", "kl_mean"),
        retention=_figure(found, "task", "retention"),
        retention_interval=(low, high) if low is not None and high is not None else None,
        decode=decode,
    )


def _figure(found: Verification | None, check: str, figure: str) -> float | None:
    checks = found.checks if found else ()
    return next((one.figures.get(figure) for one in checks if one.name == check), None)
