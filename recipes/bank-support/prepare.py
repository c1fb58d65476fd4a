"""Make the bank-support data: what a customer asks, and how the bank's help pages answer.

They are the articles of a bank that does not exist, written for the tau2 benchmark and read out of the installed
package inspect-evals. An article's title asks, its text answers. Left out are instructions for the bank's own staff,
and articles too long to be an answer. Whole articles are held out, and articles that are alike stay on one side.

A model trained on these rows has seen the knowledge that tau2 asks for: never report a tau2 score of it.

    python prepare.py --output data/
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune import console
from edgetune.data.scripts import run_script
from edgetune.data.splitting import normalise
from edgetune.errors import DataError
from edgetune.files import write_json, write_text
from edgetune.packages import package_folders

PACKAGE = "inspect_evals"
FILE = "tau2/data/domains/banking_knowledge/documents.json.gz"
INSTALL = "pip install --no-deps inspect-evals==0.26.0"
HELDOUT_ROWS, VALIDATION_ROWS = 80, 40
#: Longer ones are pages to read and no answers, and a processor is long about them.
LONGEST_WORDS = 220
#: Articles that share more of their word triples than this say the same with other figures.
ALIKE = 0.5
#: What only staff read: the word in a title, or a tool such as ``deposit_check_3847`` in a text.
_FOR_STAFF = (re.compile(r"\binternal\b", re.IGNORECASE), re.compile(r"\b[a-z]+(?:_[a-z]+)+_\d{4}\b"))


@dataclass(frozen=True)
class Article:
    """One help page.

    Attributes:
        key: its name in the package.
        question: its title.
        answer: its text, in Markdown.
    """

    key: str
    question: str
    answer: str

    @property
    def for_customers(self) -> bool:
        """Whether it is no instruction for staff."""
        in_title, in_text = _FOR_STAFF
        return not (in_title.search(self.question) or in_text.search(self.answer))

    @property
    def words(self) -> int:
        """Of the answer."""
        return len(self.answer.split())


Set = tuple[Article, ...]


def find_file() -> Path:
    """The file inside the installed package, whose code is not run.

    Raises:
        DataError: it is not installed, or has no such file.
    """
    for root in package_folders(PACKAGE):
        if (file := root / FILE).is_file():
            return file
    raise DataError(f"the package with the articles is not installed: no {PACKAGE}/{FILE}", hint=INSTALL)


def read_articles(file: Path) -> list[Article]:
    """Every article, staff's included.

    Raises:
        DataError: the file is damaged, or laid out otherwise.
    """
    try:
        found = json.loads(gzip.decompress(file.read_bytes()))
        return [Article(one["id"], " ".join(one["title"].split()), one["content"].strip()) for one in found]
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} does not hold articles: {error!r}", hint=INSTALL) from error


def alike(articles: Sequence[Article]) -> list[Set]:
    """The articles in sets that must not be parted: those with one title, or nearly one text."""
    sets = {article.key: {article.key} for article in articles}  # the articles of one set share the object
    triples = {article.key: _triples(article.answer) for article in articles}
    with console.progress("Comparing articles", total=len(articles), unit="articles") as bar:
        for place, one in enumerate(articles):
            for other in articles[:place]:
                same = normalise(one.question) == normalise(other.question)
                if same or _overlap(triples[one.key], triples[other.key]) > ALIKE:
                    joined = sets[one.key] | sets[other.key]
                    sets |= dict.fromkeys(joined, joined)
            bar.advance()
    unique = {id(keys): keys for keys in sets.values()}.values()
    return [tuple(article for article in articles if article.key in keys) for keys in unique]


def _triples(text: str) -> frozenset[tuple[str, ...]]:
    """Three words in a row, figures aside."""
    words = re.findall(r"[a-z]+", text.lower())
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def _overlap(one: frozenset[Any], other: frozenset[Any]) -> float:
    """Jaccard's index: the share of what either has that both have."""
    return len(one & other) / len(one | other) if one or other else 1.0


def ordered(sets: Iterable[Set], seed: int) -> list[Set]:
    """The sets in an order that depends on the seed and on their articles, not on their place in the file."""
    return sorted(sets, key=lambda one: hashlib.sha256(f"{seed}:{name_of(one)}".encode()).hexdigest())


def name_of(one: Set) -> str:
    """A set by its first article."""
    return min(article.key for article in one)


def parted(sets: Iterable[Set], seed: int) -> dict[str, list[Set]]:
    """Sets of articles for each file: the next one in order goes where there is room for all of it.

    Raises:
        DataError: too few articles to train on would be left.
    """
    parts: dict[str, list[Set]] = {"heldout": [], "validation": [], "train": []}
    for one in ordered(sets, seed):
        name = "train"
        for part, wanted in (("validation", VALIDATION_ROWS), ("heldout", HELDOUT_ROWS)):
            name = part if rows(parts[part]) + len(one) <= wanted else name
        parts[name].append(one)
    if rows(parts["train"]) < HELDOUT_ROWS + VALIDATION_ROWS:
        raise DataError(f"only {rows(parts['train'])} articles are left for training", hint=INSTALL)
    return parts


def rows(sets: Iterable[Set]) -> int:
    """How many articles some sets hold."""
    return sum(map(len, sets))


def write_rows(path: Path, sets: Iterable[Set]) -> None:
    """Articles as conversations in JSON Lines; those that are alike are one group."""
    lines = []
    for one in sets:
        for article in one:
            said = [("user", article.question), ("assistant", article.answer)]
            row: dict[str, Any] = {"messages": [{"role": role, "content": text} for role, text in said]}
            lines.append(row | ({"group": name_of(one)} if len(one) > 1 else {}))
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def prepare(output: Path, seed: int) -> dict[str, int]:
    """Write train.jsonl, validation.jsonl, heldout.jsonl and provenance.json; returns the rows of each set."""
    every = read_articles(find_file())
    for_customers = [article for article in every if article.for_customers]
    used = [article for article in for_customers if article.words <= LONGEST_WORDS]
    sets = alike(used)
    parts = parted(sets, seed)
    output.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        write_rows(output / f"{name}.jsonl", part)
    counts = {name: rows(part) for name, part in parts.items()}
    write_json(
        output / "provenance.json",
        {
            "source": f"{FILE} of {PACKAGE}",
            "licence": "MIT",
            "beware": "tau2 asks for this knowledge: its scores mean nothing for a model trained on these rows",
            "seed": seed,
            "articles": len(every),
            "for_customers": len(for_customers),
            "short_enough": len(used),
            "sets_of_alike": sum(len(one) > 1 for one in sets),
            "rows": counts,
        },
    )
    return counts


def main() -> int:
    """Prepare the data as the command line says."""
    return run_script(prepare, __doc__)


if __name__ == "__main__":
    sys.exit(main())
