"""What a data file holds and what is wrong with it: everything that training would trip over, in one report.

Errors make rows unusable, or held-out figures false; warnings are worth a look.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from edgetune.data.conversation import Conversation, Problem
from edgetune.data.labelled import asked_of, label_names, label_of
from edgetune.data.leaks import PAIRS, look_for_leaks
from edgetune.data.lengths import Lengths, measure
from edgetune.data.pictures import COLUMNS, Album, load_images
from edgetune.data.reading import LoadedRows, load_rows
from edgetune.data.records import Records
from edgetune.data.splitting import Leak, lesson_key, prompt_key
from edgetune.data.templating import encode_rows
from edgetune.errors import DataError
from edgetune.images.opening import longer_side

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Rows are cut or dropped beyond this when neither the model's context nor the recipe says less.
DEFAULT_LIMIT = 2048
#: From this many rows on, one answer to all of them is suspicious.
ENOUGH_ROWS = 10
#: Classes of a single row that are named before it says how many more there are.
RARE = 5
#: Kinds of rows that have a class in place of an answer.
CLASSIFIED = ("labelled", "image")
_FOR = {"heldout": "testing", "validation": "validation"}


@dataclass(frozen=True)
class Model:
    """What is needed of a model to check data for it.

    Attributes:
        name: as the user named it.
        tokenizer: with its chat template.
        context: longest sequence the model was built for, in tokens.
        limit: longest row that will be trained on, in tokens.
        parameters: values in its weights.
        system: system prompt that training will put before conversations that have none.
    """

    name: str
    tokenizer: PreTrainedTokenizerBase
    context: int
    limit: int
    parameters: int
    system: str | None = None


@dataclass(frozen=True)
class FileReport:
    """One file.

    Attributes:
        source: path or id.
        format: how rows are laid out, if that could be told.
        reason: how that is known.
        rows: rows in the file.
        usable: rows without an error.
        roles: messages by role.
        turns: answers in a conversation → conversations.
        classes: name → rows of that class, in the order that a classifier numbers them; none where rows are answered.
        lengths: of whole rows; None of images.
        sides: longer sides of images; None of all else.
        answers: of the answers, the end token included; None where rows have a class.
        limit: longest row that is trained on, in tokens; None without a model.
        too_long: rows beyond it.
        duplicates: rows that repeat an earlier one.
        split: conversations that the chat template makes several rows of.
    """

    source: str
    format: str | None
    reason: str
    rows: int
    usable: int
    roles: dict[str, int]
    turns: dict[int, int]
    classes: dict[str, int]
    lengths: Lengths | None
    sides: Lengths | None
    answers: Lengths | None
    limit: int | None
    too_long: int
    duplicates: int
    split: int


@dataclass(frozen=True)
class DataReport:
    """A whole check.

    Attributes:
        model: whose tokenizer counted; None when characters were counted.
        context: the model's context in tokens.
        files: the data file, then those held out and for validation, if given.
        leaks: rows held out, or for validation, that an earlier file has too.
        problems: all findings in all files.
    """

    model: str | None
    context: int | None
    files: tuple[FileReport, ...]
    leaks: tuple[Leak, ...]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> list[Problem]:
        """Findings that make rows unusable or figures false."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """Findings worth a look."""
        return [problem for problem in self.problems if problem.severity == "warning"]

    def to_json(self) -> dict[str, Any]:
        """The report for machines, schema version 1."""
        return {"schema_version": 1, "ok": not self.errors, **asdict(self)}

    def raise_on_errors(self) -> None:
        """Do nothing if every row can be used.

        Raises:
            DataError: with one problem for each error.
        """
        if errors := self.errors:
            files = " and ".join(file.source for file in self.files)
            raise DataError(
                f"{files}: {len(errors)} problem{'s' if len(errors) > 1 else ''}",
                hint="mend this, then check again",
                problems=[str(problem) for problem in errors],
            )


def load_model(source: str, relative_to: Path, *, max_tokens: int | None = None, system: str | None = None) -> Model:
    """The tokenizer and context of a model.

    Args:
        source: as in a recipe's ``model.source``.
        relative_to: folder that a relative path starts from.
        max_tokens: longest row; default: the context, at most ``DEFAULT_LIMIT``.
        system: see :class:`Model`.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    from edgetune.models import context_length, count_parameters, load_config, load_tokenizer, resolve_base
    from edgetune.recipe import ModelSettings

    base = resolve_base(ModelSettings(source=source), relative_to)
    context = context_length(load_config(base.folder))
    limit = max_tokens or min(context, DEFAULT_LIMIT)
    return Model(source, load_tokenizer(base.folder), context, limit, count_parameters(base.folder), system)


def check_data(  # noqa: PLR0913  # what a check can be told
    source: str,
    *,
    heldout: str | None = None,
    validation: str | None = None,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    model: Model | None = None,
    records: Records | None = None,
) -> DataReport:
    """Check a data file, and further ones with what leaks from one into the other.

    Args:
        source: see :func:`edgetune.data.reading.load_rows`.
        heldout: rows that training must not see.
        validation: rows that choose the checkpoint.
        format: of all files.
        columns: key of the format → what the files call it.
        model: counts tokens and applies its chat template; without one, characters are counted.
        records: what ``source`` holds, where it was read already.

    Raises:
        DataError: a file is missing or of an unknown kind; all else is in the report.
    """
    named = {"training": source, "heldout": heldout, "validation": validation}
    given = {name: file for name, file in named.items() if file is not None}
    known = {"training": records}
    if format != "images":
        rows = {name: load_rows(file, format, columns, known.get(name)) for name, file in given.items()}
        return check_loaded(rows, model)
    album = Album()  # the same image, wherever it lies, counts as the same row
    with TemporaryDirectory(prefix="edgetune-") as scratch:
        loaded = {
            name: load_images(file, columns or COLUMNS, Path(scratch), known.get(name)) for name, file in given.items()
        }
        report = check_loaded({name: replace(one, rows=album.named(one.rows)) for name, one in loaded.items()}, None)
        sides = [measure([longer_side(Path(asked_of(row))) for row in one.rows], "pixels") for one in loaded.values()]
    measured = (replace(file, sides=one) for file, one in zip(report.files, sides, strict=True))
    return replace(report, files=tuple(measured))


def check_loaded(loaded: Mapping[str, LoadedRows], model: Model | None) -> DataReport:
    """Check rows that were read already: ``training``, and ``heldout`` and ``validation`` where there are some."""
    checked = [_check_file(file, model) for file in loaded.values()]
    problems = [problem for _, found in checked for problem in found]
    leaks: list[Leak] = []
    for known, asked in PAIRS:
        if known in loaded and asked in loaded:
            system = model.system if model else None
            found, said = look_for_leaks(known, loaded[known], asked, loaded[asked], system)
            leaks += found
            problems += said
    problems += _lost_classes(loaded)
    return DataReport(
        model.name if model else None,
        model.context if model else None,
        tuple(report for report, _ in checked),
        tuple(leaks),
        tuple(problems),
    )


def _check_file(loaded: LoadedRows, model: Model | None) -> tuple[FileReport, list[Problem]]:
    """Report on one file."""
    rows = loaded.rows
    answered = [row for row in rows if row.kind not in ("text", *CLASSIFIED)]
    read = [row for row in rows if row.kind != "image"]
    report = FileReport(
        source=loaded.source,
        format=loaded.format,
        reason=loaded.reason,
        rows=loaded.total,
        usable=len(rows),
        roles=dict(Counter(message["role"] for row in answered for message in row.messages)),
        turns=dict(sorted(Counter(_answers(row) for row in answered).items())),
        classes=_classes(rows),
        lengths=measure([_characters(row) for row in read], "characters"),
        sides=None,
        answers=measure([len(row.answer["content"]) for row in answered], "characters"),
        limit=model.limit if model else None,
        too_long=0,
        duplicates=len(rows) - len({lesson_key(row) for row in rows}),
        split=0,
    )
    problems = [*loaded.problems, *_repeats(rows), *_monotony(answered, loaded.source)]
    if model is not None:
        report, found = _count_tokens(report, rows, model)
        problems += found
    return report, problems


def _count_tokens(report: FileReport, rows: Sequence[Conversation], model: Model) -> tuple[FileReport, list[Problem]]:
    """Measure in tokens, and find what the chat template and the limit do to rows."""
    if any(row.kind in CLASSIFIED for row in rows):
        return _count_read(report, rows, model)
    encoded, encoder = encode_rows(rows, model.tokenizer, model.system)
    lengths = [len(row.input_ids) for row in encoded]
    problems = [Problem(where, why) for where, why in encoder.refused]
    problems += _beyond(model.limit, [row.where for row in encoded], lengths)
    problems += _control_tokens(rows, model.tokenizer)
    measured = replace(
        report,
        usable=report.usable - len(encoder.refused),
        lengths=measure(lengths, "tokens"),
        answers=report.answers and measure([sum(label >= 0 for label in row.labels) for row in encoded], "tokens"),
        too_long=sum(length > model.limit for length in lengths),
        split=encoder.split,
    )
    return measured, problems


def _count_read(report: FileReport, rows: Sequence[Conversation], model: Model) -> tuple[FileReport, list[Problem]]:
    """Measure texts as a classifier reads them: no chat template, and control tokens spelled out are text."""
    from edgetune.models.texts import text_ids

    lengths = [len(text_ids(model.tokenizer, str(asked_of(row)), None)) for row in rows]
    too_long = _beyond(model.limit, [row.where for row in rows], lengths)
    return replace(report, lengths=measure(lengths, "tokens"), too_long=len(too_long)), too_long


def _beyond(limit: int, where: Sequence[str], lengths: Sequence[int]) -> list[Problem]:
    """Rows that are longer than what is trained on."""
    return [
        Problem(place, f"is {length} tokens long; the limit is {limit}", "warning")
        for place, length in zip(where, lengths, strict=True)
        if length > limit
    ]


def _control_tokens(rows: Sequence[Conversation], tokenizer: PreTrainedTokenizerBase) -> Iterator[Problem]:
    """Control tokens spelled out in the data: the tokenizer would read them as the real ones."""
    names = sorted(filter(None, tokenizer.all_special_tokens), key=len, reverse=True)
    if not names:
        return
    pattern = re.compile("|".join(map(re.escape, names)))
    for row in rows:
        for text in (row.text or "", *(message["content"] for message in row.messages)):
            if found := pattern.search(text):
                yield Problem(row.where, f"contains the control token {found.group()}", "warning")
                break


def _repeats(rows: Sequence[Conversation]) -> Iterator[Problem]:
    """Rows that repeat an earlier one, or ask the same and are answered otherwise."""
    seen: dict[str, str] = {}
    asked: dict[str, str] = {}
    for row in rows:
        same, prompt = lesson_key(row), prompt_key(row)
        if same in seen:
            yield Problem(row.where, f"repeats {seen[same]}", "warning")
        elif prompt in asked:
            other = "class" if row.kind in CLASSIFIED else "answer"
            yield Problem(row.where, f"asks the same as {asked[prompt]}, with another {other}", "warning")
        seen.setdefault(same, row.where)
        asked.setdefault(prompt, row.where)


def _classes(rows: Sequence[Conversation]) -> dict[str, int]:
    classified = [row for row in rows if row.kind in CLASSIFIED]
    counts = Counter(map(label_of, classified))
    return {name: counts[name] for name in label_names(classified)}


def _lost_classes(loaded: Mapping[str, LoadedRows]) -> Iterator[Problem]:
    """What no classifier can be trained on, or be asked after: training refuses it too."""
    training = loaded["training"]
    known = _classes(training.rows)
    if not known:
        return
    yield from _odd_classes(training.source, known, alone="heldout" not in loaded)
    if len(known) == 1:
        (name,) = known
        severity: Literal["error", "warning"] = "error" if len(loaded) > 1 else "warning"  # alone it may be for testing
        text = f"all {len(training.rows)} rows have the class '{name}': nothing to tell apart"
        yield Problem(training.source, text, severity)
    for kind, file in loaded.items():
        lost = [row for row in file.rows if row.kind in CLASSIFIED and label_of(row) not in known]
        for name, count in Counter(map(label_of, lost)).items():
            first = next(row for row in lost if label_of(row) == name)
            rows = f"{count} rows" if count > 1 else "a row"
            yield Problem(first.where, f"{rows} for {_FOR[kind]} of the class '{name}', which training lacks")


def _odd_classes(source: str, classes: Mapping[str, int], *, alone: bool) -> Iterator[Problem]:
    """Names that look like slips, and classes that cannot both be learnt and asked after.

    Args:
        source: of the rows.
        classes: name → rows.
        alone: rows to ask are to be taken out of these.
    """
    written: dict[str, str] = {}
    for name in classes:
        known = written.setdefault(" ".join(name.casefold().split()), name)
        if known != name:
            text = f"the classes '{known}' and '{name}' differ in capitals or blanks only, and are two classes"
            yield Problem(source, text, "warning")
    rare = [f"'{name}'" for name, count in classes.items() if count == 1]
    if rare and alone and len(classes) > 1:
        named = ", ".join(rare[:RARE]) + (f" and {len(rare) - RARE} more" if len(rare) > RARE else "")
        text = f"one row only of the class {named}: it is either trained on or asked after, never both"
        yield Problem(source, text, "warning")


def _monotony(rows: Sequence[Conversation], source: str) -> Iterator[Problem]:
    answers = {row.answer["content"] for row in rows}
    if len(rows) >= ENOUGH_ROWS and len(answers) == 1:
        yield Problem(source, f"all {len(rows)} rows have the same answer", "warning")


def _answers(row: Conversation) -> int:
    return sum(message["role"] == "assistant" for message in row.messages)


def _characters(row: Conversation) -> int:
    """Of what a model reads: of a row with a class that is the text alone."""
    if row.kind in CLASSIFIED:
        return len(row.messages[0]["content"])
    return len(row.text or "") + sum(len(message["content"]) for message in row.messages)
