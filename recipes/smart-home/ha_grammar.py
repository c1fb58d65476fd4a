"""Home Assistant's sentence grammar: its templates, a home full of real names, and its own recogniser.

The grammar comes from the package ``home-assistant-intents``, the recogniser from ``hassil``. Neither
knows any room, device or free text: those come from ``words.yaml``.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgetune.errors import DataError
from edgetune.extras import require

WORDS = Path(__file__).with_name("words.yaml")
#: Where a language has no words of its own, these are used, and the provenance says so.
FALLBACK = "en"
#: Stands for the room of the device that listens. Home Assistant adds it when it hears "turn on the lights";
#: the sentence does not say it, so it is never part of an answer.
THIS_ROOM = "<this room>"
#: What the listening device tells the recogniser.
_CONTEXT = {"area": {"value": THIS_ROOM, "text": ""}}


@dataclass(frozen=True)
class Words:
    """The names and free texts of one language.

    Attributes:
        language: The language whose words these are (the fallback's, where the asked one has none).
        areas: Rooms.
        floors: Storeys.
        names: Device names below their Home Assistant domain.
        wildcards: Texts below the name of the grammar's free-text list.
        determiners: Words that never follow one another ("my the lamp").
    """

    language: str
    areas: tuple[str, ...]
    floors: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    wildcards: Mapping[str, tuple[str, ...]]
    determiners: frozenset[str]


def read_words(language: str, path: Path = WORDS) -> Words:
    """The words of ``language`` (``es-MX`` falls back to ``es``), or English ones.

    Raises:
        DataError: a device name stands below two domains, so that a sentence would have two meanings.
    """
    import yaml

    everything = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = next(code for code in (language, language.split("-", maxsplit=1)[0], FALLBACK) if code in everything)
    section = everything[found]
    names = {domain: tuple(map(str, values)) for domain, values in section["names"].items()}
    _require_distinct([*section["areas"], *section["floors"], *(n for values in names.values() for n in values)], path)
    wildcards = {name: tuple(map(str, values)) for name, values in section["wildcards"].items()}
    return Words(
        found, tuple(section["areas"]), tuple(section["floors"]), names, wildcards, frozenset(section["determiners"])
    )


def _require_distinct(names: Iterable[str], path: Path) -> None:
    seen: set[str] = set()
    twice: list[str] = []
    for name in names:
        (twice.append if name in seen else seen.add)(name)
    if twice:
        raise DataError(
            f"{path} uses a name for two things: {', '.join(sorted(twice))}",
            hint="give each room, storey and device a name of its own",
        )


@dataclass(frozen=True)
class Block:
    """One place of the grammar where a template stands: what it fixes and what it demands.

    Attributes:
        expression: The parsed template.
        domains: Domains that a ``{name}`` in it may belong to; empty means any.
        slots: Answer values that the block fixes, whatever the sentence says.
        lists: Lists that only this block knows.
        rules: Expansion rules that only this block knows.
    """

    expression: Any
    domains: tuple[str, ...]
    slots: Mapping[str, Any]
    lists: Mapping[str, Any]
    rules: Mapping[str, Any]


@dataclass(frozen=True)
class Template:
    """One sentence template of one intent, with every block that holds the same words.

    The same words may stand in several blocks (``open {name}`` for covers and for valves). They are *one*
    template here: holding out one of them and training on another would show the held-out wording.
    """

    intent: str
    sentence: str
    blocks: tuple[Block, ...]

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same template: the intent and the words."""
        return self.intent, self.sentence


@dataclass(frozen=True)
class Answer:
    """What the recogniser understood.

    Attributes:
        label: One line of JSON: the intent, the slots in the order in which they are said, then what is implied.
        template: Key of the template that matched best.
    """

    label: str
    template: tuple[str, str]


class Grammar:
    """The grammar of one language, filled with words, and its recogniser."""

    def __init__(self, language: str, words: Words) -> None:
        """Parse the grammar.

        Raises:
            DataError: the language has no grammar.
            MissingExtra: hassil or home-assistant-intents is not installed.
        """
        hassil_intents = require("hassil.intents", extra="smart-home", needed_for="sampling Home Assistant's grammar")
        grammars = require("home_assistant_intents", extra="smart-home", needed_for="sampling Home Assistant's grammar")
        source = grammars.get_intents(language)
        if source is None:
            raise DataError(
                f"Home Assistant has no grammar for the language: {language}",
                hint=f"choose one of {', '.join(grammars.get_languages())}",
            )
        self.language = language
        self.intents = hassil_intents.Intents.from_dict(source)
        self.lists = {**self.intents.slot_lists, **_name_lists(words, hassil_intents.TextSlotList)}
        self.rules = self.intents.expansion_rules
        self.words = words
        self.templates = self._templates()
        self._settle_numbers()

    def _settle_numbers(self) -> None:
        """Teach hassil the number words of every plain range before any other.

        hassil 3.12 keeps one table of number words for all ranges with the same bounds, *with* the multiplier
        of whichever was met first: "brightness five" would become -5 once "volume down five" was heard. So
        the plain ranges go first, and the sampler writes numbers of the others as digits.
        """
        from hassil.intents import RangeSlotList
        from hassil.parse_expression import parse_sentence
        from hassil.recognize import is_match

        for name, found in self.lists.items():
            if isinstance(found, RangeSlotList) and found.words and found.multiplier is None:
                is_match("?", parse_sentence(f"{{{name}}}"), slot_lists=self.lists, language=self.language)

    def _templates(self) -> tuple[Template, ...]:
        blocks: dict[tuple[str, str], list[Block]] = {}
        for name, intent in self.intents.intents.items():
            for data in intent.data:
                for sentence in data.sentences:
                    blocks.setdefault((name, sentence.text), []).append(_block(data, sentence))
        return tuple(Template(*key, tuple(found)) for key, found in sorted(blocks.items()))

    @property
    def sentences(self) -> int:
        """How many sentence templates the grammar holds, counting the same words in two blocks twice."""
        return sum(len(template.blocks) for template in self.templates)

    def recognise(self, text: str) -> Answer | None:
        """What Home Assistant understands, asked the way its voice assistant asks; ``None`` where it does not."""
        from hassil.recognize import recognize_best

        result = recognize_best(
            text,
            self.intents,
            slot_lists=self.lists,
            intent_context=_CONTEXT,
            language=self.language,
            best_slot_name="name",
        )
        if result is None:
            return None
        slots = {name: _plain(entity.value) for name, entity in result.entities.items() if entity.value != THIS_ROOM}
        # hassil keeps the order of the sentence, and what a template fixes comes last: a small model reads along.
        # Without blanks an answer has a fifth fewer tokens to learn and to say.
        answer = {"intent": result.intent.name, **slots}
        label = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        return Answer(label, (result.intent.name, result.intent_sentence.text))

    def part(self, keys: Container[tuple[str, str]]) -> Any:
        """The grammar's intents with only the templates called ``keys``, for :meth:`can_say`."""
        intents = {}
        for name, intent in self.intents.intents.items():
            kept = []
            for data in intent.data:
                texts = [s.text for s in data.sentences if (name, s.text) in keys]
                if texts:
                    kept.append(replace(data, sentence_texts=texts))
            intents[name] = replace(intent, data=kept)
        return replace(self.intents, intents=intents)

    def can_say(self, text: str, part: Any) -> bool:
        """Whether any template of a part of the grammar matches the text, best match or not."""
        from hassil.recognize import recognize_all

        found = recognize_all(text, part, slot_lists=self.lists, intent_context=_CONTEXT, language=self.language)
        return any(True for _ in found)


def _block(data: Any, sentence: Any) -> Block:
    domain = data.requires_context.get("domain", ())
    if isinstance(domain, Mapping):
        domain = domain.get("value", ())
    domains = (domain,) if isinstance(domain, str) else tuple(domain)
    return Block(sentence.expression, domains, data.slots, data.slot_lists, data.expansion_rules)


def _name_lists(words: Words, text_list: Any) -> dict[str, Any]:
    """The three lists that Home Assistant fills from a user's home."""
    devices = [(name, name, {"domain": domain}) for domain, names in words.names.items() for name in names]
    return {
        "area": text_list.from_strings(words.areas, allow_template=False, name="area"),
        "floor": text_list.from_strings(words.floors, allow_template=False, name="floor"),
        "name": text_list.from_tuples(devices, allow_template=False, name="name"),
    }


def _plain(value: Any) -> Any:
    """A whole number as an int: the grammar's multiplier makes -20.0 of 20."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
