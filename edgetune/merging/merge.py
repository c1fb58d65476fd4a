"""``edgetune merge``: evaluate the adapter merged into each base it could go into, choose, and write the model.

::

    unmerged    PEFT computes the adapter beside what it was trained against: what was trained
    base        added to the base as it is stored: what most tools do
    nf4         added to the base with the layers rounded to NF4 that training had rounded
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from edgetune import __version__, files
from edgetune.adapters.merged_folder import pending_tensors, stored_types, write_merged
from edgetune.adapters.merging import MergedWeights, merged_weights
from edgetune.adapters.tuned import tuned_model
from edgetune.errors import EdgetuneError, ExportError, ModelError
from edgetune.evaluation.compare import compare
from edgetune.evaluation.record import Evaluation
from edgetune.evaluation.subjects import Opening, Settings, measure, tuned_opening
from edgetune.exporters import TunedModel
from edgetune.merging import QUICK_ROWS, ROWS
from edgetune.merging.choosing import NAMES, RULE, Verdict, choose, judged, metric_of
from edgetune.merging.forms import merged_opening, unmerged_opening
from edgetune.merging.record import FILE, Form, FormName, MergeRecord, load
from edgetune.merging.rounding import measure_rounding
from edgetune.run import Run, TrainedAgainst, is_run
from edgetune.stored import write_stored

Into = Literal["auto", "base", "nf4"]
#: Tokenizer and settings of a model, generously, in bytes.
_SMALL_FILES = 50_000_000


@dataclass(frozen=True)
class Wanted:
    """The options of ``edgetune merge``.

    Attributes:
        into: what to merge into; auto: what the held-out rows say.
        rows: at most this many held-out rows, chosen by seed.
        quick: fewer.
        output: folder of the merged model; None: in the run.
        write: write the model; else only evaluate, choose and store the choice.
    """

    into: Into = "auto"
    rows: int = ROWS
    quick: bool = False
    output: Path | None = None
    write: bool = True


@dataclass(frozen=True)
class _Work:
    """A run whose adapter can be merged, checked before minutes of evaluation."""

    run: Run
    model: TunedModel
    trained_against: TrainedAgainst
    merges: Mapping[TrainedAgainst, MergedWeights]
    output: Path | None


def merge(run: Run, wanted: Wanted | None = None) -> MergeRecord:
    """Choose what to merge a run's adapter into, store the choice in the run, and write the merged model.

    Raises:
        EdgetuneError: the run is not trained, or has lost its held-out rows.
        ModelError: it was trained whole, or base or adapter are damaged.
        ExportError: an adapter that saw no rounding is to go into NF4, or the output folder holds something else.
        ResourceError: no space on the disk.
    """
    run.require_generating("edgetune merge")
    wanted = wanted or Wanted()
    start = time.monotonic()
    work = _prepare(run, wanted)
    unmerged, merged = _evaluate(work, min(wanted.rows, QUICK_ROWS) if wanted.quick else wanted.rows)
    verdict = _decide(work, wanted.into, unmerged, merged)
    record = _record(work, unmerged, merged, verdict, start)
    if work.output is not None:
        _write(work, record, work.output)
    write_stored(run.merge_file, record)
    return record


def _prepare(run: Run, wanted: Wanted) -> _Work:
    model = tuned_model(run)
    if model.trained_against is None:
        raise ModelError(
            f"{run.folder} was trained whole ({run.manifest.method}): there is no adapter to merge",
            hint=f"its weights are in {run.model_folder}, its tokenizer in {run.tokenizer_folder}; "
            "`edgetune export` writes them for a device",
        )
    if wanted.into == "nf4" and model.trained_against != "nf4":
        raise ExportError(
            f"the adapter of {run.folder} was trained against {NAMES['base']}: "
            "in a rounded one it would meet an error that it never learnt to make up for",
            hint=f"edgetune merge {run.folder} --into base",
        )
    if not run.heldout_file.is_file():
        raise EdgetuneError(f"{run.folder} has no held-out rows to choose by", hint="put data/heldout.jsonl back")
    targets: tuple[TrainedAgainst, ...] = get_args(TrainedAgainst) if model.trained_against == "nf4" else ("base",)
    merges = {into: merged_weights(model, into) for into in targets}
    output = (wanted.output or run.merged_folder).expanduser() if wanted.write else None
    if output is not None:
        _require_output(output, _weight_bytes(merges["base"]))
    return _Work(run, model, model.trained_against, merges, output)


def _require_output(folder: Path, size: int) -> None:
    """Refuse to replace what is no merged model, and a disk that is too small."""
    if is_run(folder) or (folder.is_dir() and any(folder.iterdir()) and load(folder / FILE) is None):
        raise ExportError(
            f"{folder} exists, and is not a model that `edgetune merge` wrote",
            hint="choose another folder with --output",
        )
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder} is a file", hint="choose another folder with --output")
    files.require_disk(folder.parent, size + _SMALL_FILES, "the merged model")


def _evaluate(work: _Work, rows: int) -> tuple[Evaluation, dict[TrainedAgainst, Evaluation]]:
    settings = Settings.of(work.run.recipe, rows)

    def measured(opening: Opening) -> Evaluation:
        return measure(opening, work.run.heldout_file, settings, work.run.evaluation_file(opening.name))

    unmerged = measured(unmerged_opening(work.run))
    openings = {into: merged_opening(work.run, work.model, w, into) for into, w in work.merges.items()}
    return unmerged, {into: measured(opening) for into, opening in openings.items()}


def _decide(work: _Work, into: Into, unmerged: Evaluation, merged: Mapping[TrainedAgainst, Evaluation]) -> Verdict:
    verdict = choose(work.trained_against, unmerged, merged)
    if into != "auto":
        agrees = "as the rule does" if into == verdict.chosen else f"the rule chooses {verdict.chosen}"
        verdict = Verdict(into, f"as asked; {agrees}: {verdict.reason}", verdict.notes)
    if verdict.chosen != work.trained_against:
        note = f"`edgetune export` goes on merging into {work.trained_against}, which the adapter was trained against"
        verdict = Verdict(verdict.chosen, verdict.reason, (*verdict.notes, note))
    return verdict


def _record(
    work: _Work,
    unmerged: Evaluation,
    merged: Mapping[TrainedAgainst, Evaluation],
    verdict: Verdict,
    start: float,
) -> MergeRecord:
    forms = [_form("unmerged", unmerged, unmerged, None)]
    forms += [_form(into, unmerged, found, work.merges[into]) for into, found in merged.items()]
    return MergeRecord(
        run=work.run.folder.resolve().name,
        trained_against=work.trained_against,
        weights_sha256=tuned_opening(work.run).weights_sha256,
        data_sha256=unmerged.basis.data_sha256,
        rows=unmerged.n,
        groups=unmerged.groups,
        forms=tuple(forms),
        rounding=measure_rounding(work.merges["nf4"]) if "nf4" in work.merges else None,
        chosen=verdict.chosen,
        reason=verdict.reason,
        rule=RULE,
        notes=verdict.notes,
        output=str(work.output) if work.output is not None else None,
        size_bytes=_weight_bytes(work.merges[verdict.chosen]) if work.output is not None else 0,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - start, 1),
        edgetune=__version__,
    )


def _form(name: FormName, unmerged: Evaluation, found: Evaluation, weights: MergedWeights | None) -> Form:
    names = [one for one in ("loss", metric_of(found)) if one is not None]
    scores = tuple(found.score(one) for one in names)
    if weights is None:
        return Form(name=name, scores=scores)
    comparison = compare(unmerged, found)
    return Form(
        name=name,
        tensor_types=dict(Counter(stored_types(weights).values())),
        scores=scores,
        differences=tuple(judged(comparison)),
        lost=comparison.lost,
        gained=comparison.gained,
    )


def _write(work: _Work, record: MergeRecord, output: Path) -> None:
    with files.atomic_path(output.resolve()) as temporary:
        temporary.mkdir()
        write_merged(temporary, work.merges[record.chosen], work.model.tokenizer_folder)
        (temporary / FILE).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _weight_bytes(weights: MergedWeights) -> int:
    return sum(tensor.nbytes for tensor in pending_tensors(weights))
