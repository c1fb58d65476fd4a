"""Whether each artifact is the trained model."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.report.cells import NOTHING, text_cell
from edgetune.report.evidence import Evidence
from edgetune.report.record import Cell, Column, Definition, Section, Table, Tone
from edgetune.verification.record import Check, Verification
from edgetune.verification.text import SHOWN, summary_line, unjudged

_WORDS: dict[bool | None, tuple[str, Tone]] = {True: ("pass", "good"), False: ("fail", "bad"), None: (NOTHING, "quiet")}
_DEFINITIONS = {
    "file": "every file has the hash that was written",
    "metadata": "template, stop tokens and sizes are what would be written now",
    "weights": "each tensor against the trained one, and the share of the fine-tune in it",
    "prompts": "rows rendered and tokenised by the artifact's runtime against the trained model's tokenizer",
    "distributions": "next-token distributions against those of the trained model in torch",
    "endings": "whether answers end, and are as long, as the trained model's",
    "task": "share of the task metric's gain over the base that is left",
    "loss": "the same of the loss; shown, not judged",
}
#: What is another thing of a classifier.
_OF_CLASSES = {
    "metadata": "classes and preparation of inputs are those trained on",
    "inputs": "token ids or pixels that the artifact reads of a row, against those read in training",
    "distributions": "probabilities of the classes against those of the trained model in torch",
    "task": "accuracy on the held-out rows against the trained model's",
}


def _definitions(names: Sequence[str], *, classes: bool) -> tuple[Definition, ...]:
    known = _DEFINITIONS | _OF_CLASSES if classes else _DEFINITIONS
    return tuple(Definition(word=word, text=text) for word, text in known.items() if word in names)


def verification_section(evidence: Evidence) -> Section | None:
    """A grid of checks, and the findings."""
    verified = [(one.label, one.verification) for one in evidence.shipped if one.verification]
    if not verified:
        return None
    names = list(dict.fromkeys(check.name for _, found in verified for check in found.checks))
    grid = Table(
        id="checks",
        caption="Checks",
        columns=(Column(name="artifact"), Column(name="verdict"), *(Column(name=name) for name in names)),
        rows=tuple(_grid_row(label, found, names) for label, found in verified),
    )
    findings = Table(
        id="findings",
        caption="What each check found",
        columns=(
            Column(name="artifact"),
            Column(name="check"),
            Column(name="verdict"),
            Column(name="finding", long=True),
        ),
        rows=tuple(_finding(label, check) for label, found in verified for check in found.checks),
    )
    passed = [f"{label}{_open(found)}" for label, found in verified if found.passed]
    failed = [f"{label} {summary_line(found)}" for label, found in verified if not found.passed]
    lead = f"Verified as the trained model: {', '.join(passed)}." if passed else "No artifact passed its verification."
    depth = [
        f"{label}: {found.depth.rows} rows compared, {found.depth.answers or 'all'} answered; against "
        f"{found.reference}; limits for {found.precision_class}."
        for label, found in verified
    ]
    return Section(
        id="verification",
        title="Verification",
        lead=" ".join([lead, *(f"{line}." for line in failed)]),
        tables=(grid, findings),
        notes=tuple(depth),
        definitions=_definitions(names, classes=evidence.recipe.task.kind != "generation"),
    )


def _open(found: Verification) -> str:
    """What was not judged of an artifact that passed."""
    names = unjudged(found)
    return f" ({' and '.join(names)} not judged)" if names else ""


def _grid_row(label: str, found: Verification, names: list[str]) -> tuple[Cell, ...]:
    checks = {check.name: check for check in found.checks}
    verdict = text_cell("verified", "good") if found.passed else text_cell("unverified", "bad")
    cells = []
    for name in names:
        word, tone = _WORDS[checks[name].passed] if name in checks else ("", "quiet")
        reason = "not judged" if name in checks and checks[name].passed is None else None
        cells.append(Cell(text=word, tone=tone, reason=reason))
    return (text_cell(label), verdict, *cells)


def _finding(label: str, check: Check) -> tuple[Cell, ...]:
    word, tone = _WORDS[check.passed]
    lines = [check.text]
    if check.limits:
        lines.append("limits: " + ", ".join(f"{name} {value:.4g}" for name, value in check.limits.items()))
    lines += check.problems[:SHOWN]
    if len(check.problems) > SHOWN:
        lines.append(f"… and {len(check.problems) - SHOWN} more")
    lines += [f"likely cause: {check.cause}"] if check.cause else []
    verdict = text_cell("not judged" if check.passed is None else word, tone)
    return (text_cell(label), text_cell(check.name), verdict, text_cell("\n".join(lines)))
