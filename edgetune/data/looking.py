"""What ``edgetune init`` sees of a source: its rows, checked as before a training, and those held out beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgetune.data.advice import Advice, Facts, advise
from edgetune.data.bases import BASES, DEFAULT_PARAMETERS
from edgetune.data.checking import DEFAULT_LIMIT, DataReport, Model, check_data, check_loaded, load_model
from edgetune.data.class_advice import ClassFacts, advise_classes
from edgetune.data.conversation import Problem
from edgetune.data.kinds import Kind
from edgetune.data.reading import load_rows
from edgetune.errors import DataError
from edgetune.models import resolve_base
from edgetune.recipe import ModelSettings

#: A file of one of these names beside the data is taken to hold rows that must not be trained on.
HELDOUT_NAMES = ("heldout", "held_out", "validation", "valid", "test", "eval", "dev")
#: And a folder beside such a one only where the data is a folder of one of these names.
TRAINING_NAMES = ("train", "training")
#: Of fewer rows it cannot be told whether a column holds classes.
ENOUGH_ROWS = 20
#: Longest text in tokens that the encoder proposed takes.
ENCODER_LIMIT = 512


@dataclass(frozen=True)
class Looked:
    """What was seen.

    Attributes:
        advice: every value of the recipe that depends on rows or model.
        heldout: file or folder with held-out rows beside the data, if there is one that can be used.
        warnings: what is worth a look.
    """

    advice: tuple[Advice, ...]
    heldout: Path | None
    warnings: tuple[Problem, ...]


def look(data: str, kind: Kind, model: str | None) -> Looked:
    """Load the rows, strictly, and measure them.

    Args:
        data: the source.
        kind: what its rows are for.
        model: base whose tokenizer counts.

    Raises:
        DataError: rows that cannot be used, or held-out rows that are also in training.
        ModelError: ``model`` cannot be loaded.
    """
    heldout = _find_heldout(data)
    if not kind.columns:
        return _of_answers(data, kind, heldout, load_model(model, Path.cwd()) if model else None)
    if kind.task == "image-classification":
        if model:
            resolve_base(ModelSettings(source=model), Path.cwd())
        return _of_classes(data, heldout, kind, None, named=model)
    return _of_classes(data, heldout, kind, load_model(model, Path.cwd()) if model else None, named=model)


def _of_answers(data: str, kind: Kind, heldout: Path | None, model: Model | None) -> Looked:
    loaded = load_rows(data, records=kind.records)
    report = check_loaded({"training": loaded} | ({"heldout": load_rows(heldout)} if heldout else {}), model)
    report.raise_on_errors()
    file = report.files[0]
    if loaded.format is None or file.lengths is None:
        raise DataError(f"{data} holds no rows", hint=f"edgetune data check {data}")
    facts = Facts(
        loaded.rows,
        loaded.format,
        loaded.reason,
        file.lengths,
        file.answers,
        model.limit if model else DEFAULT_LIMIT,
        model.parameters if model else DEFAULT_PARAMETERS,
        heldout is not None,
    )
    return Looked(tuple(advise(facts)), heldout, tuple(report.warnings))


def _of_classes(data: str, heldout: Path | None, kind: Kind, model: Model | None, *, named: str | None) -> Looked:
    report, unused = _checked(data, heldout, kind, model)
    report.raise_on_errors()
    heldout, file = None if unused else heldout, report.files[0]
    if len(file.classes) < 2:
        raise DataError(
            f"{data}: all rows have the class '{next(iter(file.classes), '')}': nothing could be told apart",
            hint="add rows of another class, or name the right column: --label-column",
        )
    if file.usable >= ENOUGH_ROWS and len(file.classes) > file.usable / 2:
        raise DataError(
            f"{data}: {len(file.classes)} classes for {file.usable} rows: too many to be learnt and asked after",
            hint="names, numbers and free answers are no classes: name another --label-column, or --task generation",
        )
    facts = ClassFacts(
        kind.task,
        kind.reason,
        kind.columns,
        file.classes,
        file.lengths,
        file.sides,
        model.limit if model else ENCODER_LIMIT,
        has_heldout=heldout is not None,
        measured=BASES[kind.task].is_this(named or BASES[kind.task].source),
    )
    return Looked(tuple(advise_classes(facts)), heldout, (*unused, *report.warnings))


def _checked(
    data: str, heldout: Path | None, kind: Kind, model: Model | None
) -> tuple[DataReport, tuple[Problem, ...]]:
    """The report, and why what lies beside the data is left out of it.

    A test set that is to be sent in somewhere has no classes; what is wrong with single rows of one that has is told.
    """
    check = partial(check_data, data, format=kind.layout, columns=kind.columns, model=model)
    if heldout is None:
        return check(records=kind.records), ()
    try:
        report = check(heldout=str(heldout), records=kind.records)
        if report.files[1].classes:
            return report, ()
        why = next((problem.message for problem in report.errors if problem.where == str(heldout)), "has no classes")
    except DataError as error:  # of a file of another kind; were it of the data, it comes again
        why = error.message
    return check(), (Problem(str(heldout), f"lies beside the data and is not used: {why}", "warning"),)


def _find_heldout(data: str) -> Path | None:
    """A sibling of the data file, or of the folder of images, that is named as held-out rows are."""
    path = Path(data).expanduser().absolute()
    if not path.exists() or path.stem in HELDOUT_NAMES or (path.is_dir() and path.name not in TRAINING_NAMES):
        return None
    siblings = (path.with_name(name + path.suffix) for name in HELDOUT_NAMES)
    return next((sibling for sibling in siblings if sibling.exists() and sibling.is_dir() == path.is_dir()), None)
