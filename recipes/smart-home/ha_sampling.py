"""Random sentences of a template.

hassil's own sampler lists *every* sentence of a template in order, so that its first eight differ in the
last word only, and the longest templates have millions. This one draws each choice at random from the same
grammar; ``tests/recipes`` holds that whatever it draws is in hassil's list.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random
from typing import Any

from ha_grammar import Block, Grammar

from edgetune.errors import DataError

#: Speech recognisers write most numbers as digits; the grammar allows both.
SPELLED_OUT_SHARE = 0.15


def randomness(*seed: object) -> Random:
    """A random source that depends on ``seed`` alone, whatever was drawn elsewhere."""
    return Random(" ".join(map(str, seed)))  # noqa: S311 (it samples, it keeps no secret)


class Sampler:
    """Draws sentences of one grammar with one random source."""

    def __init__(self, grammar: Grammar, random: Random) -> None:
        self.grammar = grammar
        self.random = random

    def sentence(self, block: Block) -> str | None:
        """One sentence, or ``None`` where the draw is one that nobody says ("first floor floor", "my the lamp")."""
        words = self._expression(block.expression, block).split()
        determiners = self.grammar.words.determiners
        for former, word in itertools.pairwise(words):
            if former == word or {former, word} <= determiners:
                return None
        return " ".join(words)

    def _expression(self, expression: Any, block: Block) -> str:
        from hassil.expression import Alternative, Group, ListReference, Permutation, RuleReference, TextChunk

        if isinstance(expression, TextChunk):
            return str(expression.original_text)
        if isinstance(expression, RuleReference):
            rules = {**self.grammar.rules, **block.rules}
            return self._expression(rules[expression.rule_name].expression, block)
        if isinstance(expression, ListReference):
            return self._listed(expression.list_name, block)
        if isinstance(expression, Alternative):
            return self._expression(self._branch(expression), block)
        assert isinstance(expression, Group)
        items = list(expression.items)
        if isinstance(expression, Permutation):
            self.random.shuffle(items)
        return "".join(self._expression(item, block) for item in items)

    def _branch(self, alternative: Any) -> Any:
        """One branch; an optional part is left out half of the time, however many wordings it has."""
        from hassil.expression import TextChunk

        items = alternative.items
        if not alternative.is_optional:
            return self.random.choice(items)
        wordings = [item for item in items if not (isinstance(item, TextChunk) and item.is_empty)]
        return self.random.choice(wordings) if wordings and self.random.random() < 0.5 else TextChunk()

    def _listed(self, name: str, block: Block) -> str:
        from hassil.intents import RangeSlotList, TextSlotList

        if name in self.grammar.words.wildcards:
            return self.random.choice(self.grammar.words.wildcards[name])
        found = {**self.grammar.lists, **block.lists}.get(name)
        if isinstance(found, TextSlotList):
            return self._expression(self.random.choice(_fitting(found.values, name, block)).text_in, block)
        if isinstance(found, RangeSlotList):
            return self._number(found)
        raise DataError(
            f"the grammar's list {{{name}}} has no words in the language: {self.grammar.language}",
            hint="add them below wildcards in words.yaml",
        )

    def _number(self, numbers: Any) -> str:
        value = self.random.choice(list(numbers.get_numbers()))
        spellable = numbers.words and numbers.multiplier is None  # see Grammar._settle_numbers
        if numbers.digits and not (spellable and self.random.random() < SPELLED_OUT_SHARE):
            return str(value)
        return self.random.choice(_spelled(value, numbers.words_language or self.grammar.language) or [str(value)])


def _spelled(value: float, language: str) -> list[str]:
    """Every way to write a number in words; none where the language has no rules for it, as hassil has it."""
    from hassil.numbers import get_rbnf_engine

    try:
        texts = get_rbnf_engine(language).format_number(value).text_by_ruleset.values()
    except ValueError:
        return []
    return sorted(set(map(str, texts)))


def _fitting(values: Sequence[Any], name: str, block: Block) -> Sequence[Any]:
    """The devices of the domains that the block asks for; every value of any other list."""
    if name != "name" or not block.domains:
        return values
    return [value for value in values if value.context["domain"] in block.domains]
