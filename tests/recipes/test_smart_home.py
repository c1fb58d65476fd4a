"""The smart-home data: nothing leaks over the split, every label is the recogniser's, every run writes the same."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgetune.errors import DataError

FOLDER = Path(__file__).parents[2] / "recipes" / "smart-home"
sys.path.insert(0, str(FOLDER))

import ha_grammar  # noqa: E402 (the scripts of a recipe are no package: they are run from their folder)
import ha_sampling  # noqa: E402
import prepare as smart_home  # noqa: E402

SETTINGS = {"train_per_template": 4, "heldout_per_template": 3, "heldout_share": 0.2, "seed": 17}


def subset(language: str = "en", every: int = 10) -> ha_grammar.Grammar:
    """A grammar that samples from few templates and still recognises with all of them."""
    grammar = ha_grammar.Grammar(language, ha_grammar.read_words(language))
    grammar.templates = grammar.templates[::every]
    return grammar


@pytest.fixture(scope="module")
def grammar():
    return subset()


@pytest.fixture(scope="module")
def prepared(grammar):
    return smart_home.prepare(grammar, **SETTINGS)


def test_both_sets_have_rows(prepared):
    assert len(prepared.train) > 100
    assert len(prepared.heldout) > 20


def test_no_template_is_in_both_sets(prepared):
    assert {row.template for row in prepared.heldout} <= prepared.heldout_templates
    assert len(prepared.validation) > 10
    assert not {row.template for row in prepared.validation} & prepared.heldout_templates
    assert not {row.template for row in prepared.train} & prepared.heldout_templates


def test_no_sentence_can_be_said_by_the_other_side(grammar, prepared):
    trained = grammar.part({template.key for template in grammar.templates} - prepared.heldout_templates)
    held_out = grammar.part(prepared.heldout_templates)
    assert not [row.text for row in prepared.train if grammar.can_say(row.text, held_out)]
    assert not [row.text for row in prepared.heldout if grammar.can_say(row.text, trained)]
    assert all(grammar.can_say(row.text, held_out) for row in prepared.heldout), "or the check could not fail"


def test_held_out_templates_drawn_again_say_nothing_that_was_trained(grammar, prepared):
    trained = {row.text.casefold() for row in prepared.train}
    for template in grammar.templates:
        if template.key in prepared.heldout_templates:
            sampler = ha_sampling.Sampler(grammar, ha_sampling.randomness("another seed"))
            again = [sampler.sentence(block) for block in template.blocks for _ in range(30)]
            shared = {text for text in again if text and text.casefold() in trained}
            assert not shared


def test_no_sentence_is_in_both_sets_or_twice(prepared):
    texts = [row.text.casefold() for rows in prepared.sets.values() for row in rows]
    assert len(texts) == len(set(texts))


def test_no_list_or_rule_is_left_in_a_sentence(prepared):
    for row in itertools.chain(*prepared.sets.values()):
        assert not set(row.text) & set("{}[]<>|()")
        assert ha_grammar.THIS_ROOM not in row.label


def test_every_held_out_label_is_what_a_fresh_recogniser_says(prepared):
    fresh = subset()
    for row in prepared.heldout:
        answer = fresh.recognise(row.text)
        assert answer is not None
        assert (answer.label, answer.template) == (row.label, row.template)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("turn off the kitchen lights", ["area", "domain"]),
        ("remove 9 hours and 7 minutes from the laundry timer", ["hours", "minutes", "name"]),
        ("set a timer called laundry for 9 minutes", ["name", "minutes"]),
        ("set the brightness of the desk lamp to five percent", ["name", "brightness"]),
    ],
)
def test_slots_stand_in_the_order_in_which_they_are_said(grammar, text, keys):
    assert list(json.loads(grammar.recognise(text).label)) == ["intent", *keys]


def test_the_templates_of_the_same_words_are_one(grammar):
    keys = [template.key for template in grammar.templates]
    assert len(keys) == len(set(keys))
    whole = ha_grammar.Grammar("en", ha_grammar.read_words("en"))
    assert whole.sentences > len(whole.templates)


def test_every_shape_of_answer_stays_in_training(grammar, prepared):
    everything = {shape for t in grammar.templates for shape in smart_home.shapes(t, grammar.rules)}
    trained = [t for t in grammar.templates if t.key not in prepared.heldout_templates]
    assert everything == {shape for t in trained for shape in smart_home.shapes(t, grammar.rules)}


def test_more_training_rows_leave_the_held_out_rows_alone(prepared):
    richer = smart_home.prepare(subset(), **{**SETTINGS, "train_per_template": 8})
    assert richer.heldout == prepared.heldout
    assert len(richer.train) > len(prepared.train)


def test_another_seed_holds_out_other_templates(grammar, prepared):
    other = smart_home.hold_out(grammar.templates, grammar.rules, 0.2, ha_sampling.randomness(18, "split"))
    assert other != prepared.heldout_templates


def test_tuning_holds_out_other_templates_and_draws_from_no_held_out_one():
    settings = {"train_per_template": 1, "heldout_per_template": 1, "heldout_share": 0.1, "seed": 17}
    grammar = subset(every=4)
    held_out = smart_home.prepare(grammar, **settings).heldout_templates
    tuning = smart_home.prepare(grammar, **settings, tuning=True)
    assert len(held_out) > 5
    assert len(tuning.heldout_templates) > 5
    drawn = {template.key for template in grammar.templates if template.key not in held_out}
    assert tuning.heldout_templates < drawn
    assert not {row.template for rows in tuning.sets.values() for row in rows} & held_out
    assert sum(map(len, tuning.sets.values())) <= len(drawn)


def test_hash_seed_does_not_change_a_byte(tmp_path):
    program = (
        "import sys; sys.path[:0] = sys.argv[1:2]; import prepare, ha_grammar\n"
        "whole = ha_grammar.Grammar._templates\n"
        "ha_grammar.Grammar._templates = lambda self: whole(self)[::12]\n"
        "prepare.main(['--output', sys.argv[2], '--per-template', '2', '--heldout-share', '0.3'])"
    )
    names = ("train.jsonl", "heldout.jsonl", "provenance.json")
    written = []
    for hash_seed in ("1", "2"):
        output = tmp_path / hash_seed
        command = [sys.executable, "-c", program, str(FOLDER), str(output)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True)
        written.append([(output / name).read_bytes() for name in names])
    assert written[0] == written[1]
    assert all(written[0])


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("turn off the kitchen lights", {"intent": "HassTurnOff", "area": "kitchen", "domain": "light"}),
        ("turn on the lights", {"intent": "HassTurnOn", "domain": "light"}),
        ("turn on the desk lamp", {"intent": "HassTurnOn", "name": "desk lamp"}),
        ("set the brightness of the desk lamp to five percent", {"brightness": 5, "name": "desk lamp"}),
        ("turn down the volume by 20", {"intent": "HassSetVolumeRelative", "volume_step": -20}),
        ("set the temperature in the office to 21.5 degrees", {"area": "office", "temperature": 21.5}),
        ("start roomba", {"intent": "HassVacuumStart", "name": "roomba"}),
    ],
)
def test_known_requests(grammar, text, label):
    answer = json.loads(grammar.recognise(text).label)
    assert label.items() <= answer.items()
    assert set(answer) <= {"intent", *label}


def test_spelled_numbers_keep_their_sign_whatever_was_heard_first(grammar):
    grammar.recognise("turn down the volume by five")
    assert json.loads(grammar.recognise("desk lamp brightness five percent").label)["brightness"] == 5


def test_what_is_not_in_the_grammar_has_no_answer(grammar):
    assert grammar.recognise("write a poem about the sea") is None


def test_draws_are_sentences_of_hassils_own_list(grammar):
    from hassil.intents import TextSlotList
    from hassil.sample import sample_expression

    texts = {name: TextSlotList.from_strings(values) for name, values in grammar.words.wildcards.items()}
    checked = 0
    for template in grammar.templates:
        block = template.blocks[0]
        every = sample_expression(block.expression, {**grammar.lists, **texts}, grammar.rules, grammar.language)
        known = {" ".join(text.split()) for text in itertools.islice(every, 3000)}
        if len(known) == 3000 or next(every, None) is not None:
            continue  # too many to list
        sampler = ha_sampling.Sampler(grammar, ha_sampling.randomness(5))
        assert {sampler.sentence(block) for _ in range(40)} - {None} <= known
        checked += 1
    assert checked > 5


def test_spanish_has_words_of_its_own():
    spanish = subset("es", every=30)
    found = smart_home.prepare(spanish, **SETTINGS)
    areas = {json.loads(row.label).get("area") for row in (*found.train, *found.heldout)} - {None}
    assert areas
    assert areas <= set(ha_grammar.read_words("es").areas)
    assert not any("{" in row.text for row in (*found.train, *found.heldout))


def test_another_language_borrows_english_words_and_says_so(grammar, prepared):
    assert ha_grammar.read_words("de").language == "en"
    assert ha_grammar.read_words("es-MX").language == "es"
    report = smart_home.provenance(grammar, prepared, SETTINGS, "en")
    assert report["words"] == "en"
    assert report["rows"] == {name: len(rows) for name, rows in prepared.sets.items()}
    assert report["rows"]["heldout"] == len(prepared.heldout)
    assert report["licence"] == "Apache-2.0"


def test_a_language_without_a_grammar_is_named():
    with pytest.raises(DataError, match="tlh"):
        ha_grammar.Grammar("tlh", ha_grammar.read_words("tlh"))


def test_a_name_for_two_things_is_refused(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text(
        "en: {determiners: [], areas: [den], floors: [], names: {light: [lamp], fan: [lamp, den]}, wildcards: {}}",
        encoding="utf-8",
    )
    with pytest.raises(DataError, match="den, lamp"):
        ha_grammar.read_words("en", path)


def test_a_language_without_number_words_gets_digits():
    found = smart_home.prepare(subset("nb", every=40), **SETTINGS)
    assert any(character.isdigit() for row in found.train for character in row.text)
