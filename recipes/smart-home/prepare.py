"""Make the smart-home data: spoken requests and the Home Assistant intents they mean.

Sentences are drawn from Home Assistant's own grammar and labelled by its own recogniser. Whole sentence
templates are held out: no sentence that they can say is trained on, and none that a trained one can say is held out.

    python prepare.py --output data/
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

from ha_grammar import Answer, Block, Grammar, Template, read_words
from ha_sampling import Sampler, randomness

from edgetune import console
from edgetune.errors import EdgetuneError
from edgetune.files import write_json, write_text

#: Draws per wanted row before a template is given up as used up (a short one has few sentences).
DRAWS_PER_ROW = 6
#: Few of each of many templates: rows of one template resemble each other, so more would add little but time.
HELDOUT_PER_TEMPLATE = 6
VALIDATION_ROWS = 100


@dataclass(frozen=True)
class Row:
    """One example: what is said, and the one line of JSON that it means."""

    text: str
    label: str
    template: tuple[str, str]

    def as_json(self) -> str:
        """One line in the chat format."""
        messages = [{"role": "user", "content": self.text}, {"role": "assistant", "content": self.label}]
        return json.dumps({"messages": messages, "group": ": ".join(self.template)}, ensure_ascii=False)


@dataclass(frozen=True)
class Prepared:
    """The sets, how they were split, and what happened to every draw.

    ``validation`` has other sentences of the templates that are trained on, for choosing a checkpoint.
    """

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    heldout: tuple[Row, ...]
    heldout_templates: frozenset[tuple[str, str]]
    counts: Mapping[str, int]

    @property
    def sets(self) -> dict[str, tuple[Row, ...]]:
        """The rows below the names of their files."""
        return {"train": self.train, "validation": self.validation, "heldout": self.heldout}


def prepare(  # noqa: PLR0913  # the settings of the command line
    grammar: Grammar,
    *,
    train_per_template: int,
    heldout_per_template: int,
    heldout_share: float,
    seed: int,
    tuning: bool = False,
) -> Prepared:
    """Draw, label and split.

    With ``tuning`` the templates that are otherwise held out say nothing on any side, and others are held out of
    the rest: settings are chosen on those, so that the held-out rows stay new until the end.

    Held-out templates go first: their rows depend on ``heldout_per_template``, ``heldout_share`` and ``seed``
    alone, so that runs with more or fewer training rows are measured on the same file, and a sentence of
    theirs is missing from *training* where both could have it.
    """
    templates = grammar.templates
    chosen = hold_out(templates, grammar.rules, heldout_share, randomness(seed, "split"))
    if tuning:
        templates = tuple(template for template in templates if template.key not in chosen)
        chosen = hold_out(templates, grammar.rules, heldout_share, randomness(seed, "tuning"))
    order = sorted(templates, key=lambda template: (template.key not in chosen, template.key))
    collector = _Collector(grammar, {template.key for template in templates} - chosen, chosen, seed)
    train: list[Row] = []
    heldout: list[Row] = []
    with console.progress("Sampling sentences", total=len(order), unit="templates") as bar:
        for template in order:
            if template.key in chosen:
                heldout += collector.rows(template, heldout_per_template)
            else:
                train += collector.rows(template, train_per_template)
            bar.advance()
    randomness(seed, "order").shuffle(train)
    cut = min(VALIDATION_ROWS, len(train) // 10)
    counts = dict(sorted(collector.counts.items()))
    return Prepared(tuple(train[cut:]), tuple(train[:cut]), tuple(heldout), chosen, counts)


def hold_out(
    templates: Sequence[Template], rules: Mapping[str, Any], share: float, random: Random
) -> frozenset[tuple[str, str]]:
    """Choose the templates that are never trained on, the same share of every intent.

    At least one template of every shape of answer (intent, fixed slots, slot names) stays in training: the
    wording is to be new, the answer's vocabulary is not.
    """
    left = Counter(shape for template in templates for shape in shapes(template, rules))
    chosen: set[tuple[str, str]] = set()
    wanted = 0.0
    for intent in sorted({template.intent for template in templates}):
        own = [template for template in templates if template.intent == intent]
        wanted += share * len(own)  # what rounding leaves of one intent goes to the next
        for template in random.sample(own, len(own)):
            mine = shapes(template, rules)
            if len(chosen) < round(wanted) and all(left[shape] > 1 for shape in mine):
                chosen.add(template.key)
                left.subtract(mine)
    return frozenset(chosen)


def shapes(template: Template, rules: Mapping[str, Any]) -> set[str]:
    """The shapes of answer that a template can have, one for each of its blocks."""
    return {_shape(template.intent, block, rules) for block in template.blocks}


def _shape(intent: str, block: Block, rules: Mapping[str, Any]) -> str:
    references = block.expression.list_references({**rules, **block.rules})
    names = sorted({reference.slot_name for reference in references})
    return json.dumps([intent, dict(sorted(block.slots.items())), names])


class _Collector:
    """Draws rows template by template; every sentence is used once, with one label."""

    def __init__(
        self, grammar: Grammar, trained: AbstractSet[tuple[str, str]], held_out: AbstractSet[tuple[str, str]], seed: int
    ) -> None:
        self.grammar = grammar
        self.held_out = held_out
        self.trained = trained
        self.seed = seed
        every = {template.key for template in grammar.templates}
        self.others = {True: grammar.part(every - held_out), False: grammar.part(every - trained)}
        self.counts: Counter[str] = Counter()
        self.seen: set[str] = set()

    def rows(self, template: Template, limit: int) -> list[Row]:
        """Up to ``limit`` rows, its blocks in turn. Each template has its own random source."""
        sampler = Sampler(self.grammar, randomness(self.seed, *template.key))
        found: list[Row] = []
        for draw in range(limit * DRAWS_PER_ROW):
            if len(found) == limit:
                break
            text = sampler.sentence(template.blocks[draw % len(template.blocks)])
            if text is None or text.casefold() in self.seen:
                self.counts["not used: drawn twice or said by nobody"] += 1
                continue
            self.seen.add(text.casefold())
            answer = self.grammar.recognise(text)
            crosses = answer is not None and self._crosses(template, text, answer)
            if answer is not None and not crosses:
                found.append(Row(text, answer.label, answer.template))
            self.counts[_verdict(template, answer, crosses=crosses)] += 1
        return found

    def _crosses(self, template: Template, text: str, answer: Answer) -> bool:
        """Whether a template of another side can say the sentence too, best match or not."""
        held_out = template.key in self.held_out
        own = self.held_out if held_out else self.trained
        return answer.template not in own or self.grammar.can_say(text, self.others[held_out])


def _verdict(template: Template, answer: Answer | None, *, crosses: bool) -> str:
    """What became of a sentence, for the provenance.

    Several templates may say the same sentence. One that templates of both sides can say would carry a wording
    over the split, so neither set gets it, whichever matched best.
    """
    if answer is None:
        return "dropped: not recognised"
    if crosses:
        return "dropped: templates of both sides can say it"
    if answer.template == template.key:
        return "kept: recognised by its own template"
    same = answer.template[0] == template.intent
    return f"kept: recognised by another template of {'the same' if same else 'another'} intent"


def provenance(grammar: Grammar, prepared: Prepared, arguments: Mapping[str, Any], words: str) -> dict[str, Any]:
    """Where every row comes from and how the sets were made."""
    return {
        "source": "Home Assistant's sentence grammar (home-assistant-intents), labelled by its recogniser (hassil)",
        "licence": "Apache-2.0",
        "versions": {name: version(name) for name in ("home-assistant-intents", "hassil")},
        "arguments": dict(arguments),
        "words": words,
        "templates": {
            "in the grammar": grammar.sentences,
            "different": len(grammar.templates),
            "held out": len(prepared.heldout_templates),
            "with held-out rows": len({row.template for row in prepared.heldout}),
        },
        "rows": {name: len(rows) for name, rows in prepared.sets.items()},
        "sentences": dict(prepared.counts),
        "heldout_templates": [list(key) for key in sorted(prepared.heldout_templates)],
    }


def write(prepared: Prepared, report: Mapping[str, Any], folder: Path) -> None:
    """Write one file for each set and ``provenance.json``."""
    for name, rows in prepared.sets.items():
        write_text(folder / f"{name}.jsonl", "".join(row.as_json() + "\n" for row in rows))
    write_json(folder / "provenance.json", report)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Make the smart-home data.")
    parser.add_argument("--output", type=Path, required=True, help="folder to write into")
    parser.add_argument("--language", default="en", help="language of the grammar (default: en)")
    parser.add_argument("--per-template", type=int, default=8, help="most rows of a template (default: 8)")
    parser.add_argument("--train-per-template", type=int, help="most training rows of one (default: --per-template)")
    parser.add_argument("--heldout-per-template", type=int, help="most held-out rows of one (default: 6 or fewer)")
    parser.add_argument("--heldout-share", type=float, default=0.13, help="share of templates held out (default: 0.13)")
    parser.add_argument(
        "--tuning", action="store_true", help="hold out other templates, to choose settings without the held-out rows"
    )
    parser.add_argument("--seed", type=int, default=17, help="default: 17")
    options = parser.parse_args(arguments)
    both = options.per_template
    options.train_per_template = both if options.train_per_template is None else options.train_per_template
    if options.heldout_per_template is None:
        options.heldout_per_template = min(HELDOUT_PER_TEMPLATE, both)
    if min(both, options.train_per_template, options.heldout_per_template) < 1 or not 0 < options.heldout_share < 1:
        parser.error("rows a template must be at least 1, and --heldout-share between 0 and 1")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the data as the command line asks."""
    options = vars(parse(arguments))
    folder = options.pop("output")
    words = read_words(options["language"])
    grammar = Grammar(options["language"], words)
    settings = {name: value for name, value in options.items() if name not in {"language", "per_template"}}
    prepared = prepare(grammar, **settings)
    write(prepared, provenance(grammar, prepared, options, words.language), folder)
    console.note(f"{len(prepared.train)} training and {len(prepared.heldout)} held-out rows in {folder}")


if __name__ == "__main__":
    try:
        main()
    except EdgetuneError as error:
        console.note(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""))
        sys.exit(error.exit_code)
