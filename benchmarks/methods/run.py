"""Which method suits a recipe: trained by each, from three seeds, each on as many rows, at the best of some rates.

Usage: python benchmarks/methods/run.py [--recipe NAME] [--examples N] [--tries N] [--seeds N] [--methods NAME,…]
           [--rows SHARE,…] [--stored FILE]
What is trained is kept in runs/, so the same command goes on where it stopped. With --stored it trains nothing and
publishes a methods.json that `edgetune compare-methods` wrote. The pages show the newest results of every recipe.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]  # benchmarks are scripts, not a package

import publishing  # noqa: E402
from spanish import WORDS, sentences  # noqa: E402

from edgetune.bench.figuring import interval_note  # noqa: E402
from edgetune.errors import EdgetuneError  # noqa: E402
from edgetune.methods.choosing import choose  # noqa: E402
from edgetune.methods.comparing import compare_methods, default_folder  # noqa: E402
from edgetune.methods.planning import METHODS  # noqa: E402
from edgetune.methods.record import Budget, MethodsComparison  # noqa: E402
from edgetune.methods.sections import lines, noisy, sections  # noqa: E402
from edgetune.methods.summing import summaries  # noqa: E402
from edgetune.methods.words import wanted_of  # noqa: E402
from edgetune.recipe import resolve  # noqa: E402
from edgetune.recipes import find_recipe  # noqa: E402
from edgetune.report.cells import score_number  # noqa: E402

GUIDE = publishing.REPOSITORY / "docs" / "guide"
RESULTS = HERE / "results"
#: Recipe → rows of each training, and held-out rows: for classes, enough to see two points. Rows and not minutes, so
#: that what is learnt does not hang on what else the machine does.
RECIPES = {"sentiment": (3200, 600), "digits": (3200, 600), "smart-home": (800, 120)}
#: Learning rates of each method that are tried first, at most: until those on both sides of the best one are worse.
TRIES = 8
#: Trainings of each method.
SEEDS = 3


def main() -> None:
    """Compare, or read what was compared; store and publish."""
    wanted = _arguments()
    found = MethodsComparison.read(wanted.stored) if wanted.stored else _compared(wanted)
    if found.name not in RECIPES:
        raise EdgetuneError(f"{wanted.stored} is of the recipe {found.name}", hint=f"one of: {', '.join(RECIPES)}")
    print(english(found))
    publishing.write_results(RESULTS, found.model_dump(mode="json"), found.environment.cpu)
    every = newest_of_each()
    for page in (HERE / "README.md", GUIDE / "compare-methods.md"):
        publishing.put_into_readme(page, "\n\n".join(f"### {one.name}\n\n{english(one)}" for one in every))
    text = "\n\n".join(f"### {one.name}\n\n{spanish(one)}" for one in every)
    publishing.put_into_readme(GUIDE / "comparar-metodos.md", text)


def newest_of_each() -> list[MethodsComparison]:
    """The newest results of every recipe that has any."""
    newest = publishing.newest_of_each(RESULTS, lambda one: str(one["name"]))
    return [MethodsComparison.model_validate(newest[name]) for name in RECIPES if name in newest]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, default="sentiment")
    parser.add_argument("--examples", type=int, help="rows of training, each")
    parser.add_argument("--tries", type=int, default=TRIES, help="learning rates of each method; 0: the known ratio")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--methods", default=",".join(METHODS), help="separated by commas")
    parser.add_argument("--rows", help="also train on these shares of the training rows: 25%%,50%%")
    parser.add_argument("--stored", type=Path, help="publish this methods.json")
    return parser.parse_args()


def _compared(wanted: argparse.Namespace) -> MethodsComparison:
    examples, asked = RECIPES[wanted.recipe]
    resolved = resolve(find_recipe(wanted.recipe), {"data.heldout_limit": (asked, "flag")})
    methods = tuple(wanted.methods.split(","))
    budget = Budget(examples=wanted.examples or examples)
    rows = tuple(wanted.rows.split(",")) if wanted.rows else ()
    options = wanted_of(methods, None, budget.examples, rows, (), seeds=wanted.seeds, tries=wanted.tries)
    return compare_methods(resolved, options, publishing.REPOSITORY / default_folder(wanted.recipe))


def english(found: MethodsComparison) -> str:
    """The table and what it rests on."""
    choice = choose(found)
    left_out = [f"{one.method} was not trained: {one.reason}." for one in found.left_out]
    parts = [
        _table(found, "", {}),
        f"**{choice.headline}.** {' '.join(choice.reasons)}",
        (
            f"The recipe `{found.name}`, {found.budget.text}, {len(found.seeds)} seeds; means; [ ] of scores is "
            "Student's 95 % interval over the seeds." + _measured(found) + _exported(found, " Exported as")
        ),
        _capacity(found, {}),
        " ".join([*left_out, *_limits(found), *(f"{warning[:1].upper()}{warning[1:]}." for warning in found.warnings)]),
        f"Command: `{_command(found)}`. Machine: {_machine(found)}.",
    ]
    return "\n\n".join(part for part in parts if part)


def _command(found: MethodsComparison) -> str:
    """What was run for these results."""
    shares = sorted({one.share for one in found.trainings} - {1.0})
    examples, _ = RECIPES.get(found.name, (None, None))
    every = {*found.methods, *(one.method for one in found.left_out)}
    given = {
        "examples": "" if found.budget.examples in (examples, None) else str(found.budget.examples),
        "seeds": "" if len(found.seeds) == SEEDS else str(len(found.seeds)),
        "rows": ",".join(f"{share:.0%}" for share in shares),
        "tries": "" if any(one.tried for one in found.rates) else "0",
        "methods": "" if every == set(METHODS) else ",".join(found.methods),
    }
    words = [f"--{name} {value}" for name, value in ({"recipe": found.name} | given).items() if value]
    return f".venv/bin/python benchmarks/methods/run.py {' '.join(words)}"


def _limits(found: MethodsComparison) -> Iterator[str]:
    """What the table does not show."""
    if said := noisy(found):
        yield f"{said[:1].upper()}{said[1:]}."
    if found.floor:
        yield f"The most frequent class for every row has {found.metric} {score_number(found.floor.value)}."
    if edges := [one.method for one in found.rates if one.at_edge]:
        yield f"Best at the last rate that was tried, so another may be better still: {', '.join(edges)}."
    if gone := [
        f"{one.method} at {', '.join(f'{rate:g}' for rate in one.given_up)}" for one in found.rates if one.given_up
    ]:
        why = "as a whole training ended worse than its short try or diverged"
        yield f"Given up for a lower rate, {why}: {'; '.join(gone)}."
    if not any(one.tried for one in found.rates):
        yield "No rates were tried: each follows the recipe's by the known ratio."
    if reason := next((one.energy_reason for one in found.trainings if one.energy_reason), None):
        yield f"No energy: {reason}."


def spanish(found: MethodsComparison) -> str:
    """The same for the course."""
    parts = [_table(found, "", WORDS), *sentences(found), _capacity(found, WORDS)]
    parts.append(f"Orden: `{_command(found)}`. Máquina: {_machine(found)}.")
    return "\n\n".join(part for part in parts if part)


def _capacity(found: MethodsComparison, words: Mapping[str, str]) -> str:
    """The task's figure as rows grow; empty where all were trained on alike."""
    section = next((one for one in sections(found) if one.id == "capacity"), None)
    if section is None:
        return ""
    (table,) = section.tables
    rows = [[words.get(row[0].text, row[0].text), *(cell.text for cell in row[1:])] for row in table.rows]
    heads = [words.get(column.name, column.name) for column in table.columns]
    for word in ("rows", "passes"):
        heads = [head.replace(word, words.get(word, word)) for head in heads]
    return publishing.table(heads, rows)


def _measured(found: MethodsComparison) -> str:
    figures = [figure for device in found.devices for figure in device.figures]
    return f" [ ] of the benchmark is {interval_note(figures)}." if figures else ""


def _exported(found: MethodsComparison, words: str) -> str:
    forms = {f"{one.format} {one.precision}" for one in found.devices}
    said = f"{words} {', '.join(sorted(forms))}." if forms else ""
    if any(device.shift for device in found.devices):
        said += " What exporting changed is of the first seed, [ ] a bootstrap over the held-out rows."
    if any(device.apart for device in found.devices):
        said += " In 1 GB, exported: adapters kept apart on one base, which were not timed so."
    missing = [f"{one.method} {one.apart.missing:.2g}" for one in found.devices if one.apart and one.apart.missing]
    if missing:
        said += (
            f" Kept apart the format approximates some; of a weight's change is missing up to: {', '.join(missing)}."
        )
    return said


def _machine(found: MethodsComparison) -> str:
    """No one runtime did the work, so it is the processor's own features that count."""
    described = found.environment.model_dump(mode="json")
    return publishing.machine_line(described | {"features": ", ".join(found.environment.cpu_features)})


def _table(found: MethodsComparison, corner: str, words: Mapping[str, str]) -> str:
    """Every line that at least one method has a figure for."""
    each = summaries(found)
    rows = []
    for line in lines(found):
        cells = [line.cell(one) for one in each]
        if any(cell.value is not None for cell in cells):
            rows.append([words.get(line.heading, line.heading), *(cell.text for cell in cells)])
    return publishing.table([corner, *(words.get(one.method, one.method) for one in each)], rows)


if __name__ == "__main__":
    publishing.exit_with(main)
