import random
from dataclasses import replace

import pytest

from edgetune.data.conversation import Conversation
from edgetune.data.splitting import find_leaks, prompt_key, row_key, split, take
from edgetune.errors import DataError


def ask(question, answer="ok", where=""):
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Conversation(messages, where or f"{question}/{answer}")


ROWS = [ask(f"question {i}") for i in range(200)]


def test_the_share_is_held_out_and_nothing_is_lost():
    parts = split(ROWS, 0.1, seed=17)
    assert len(parts.heldout) == 20
    assert sorted([*parts.train, *parts.heldout], key=ROWS.index) == ROWS
    assert "20 of 200 rows held out by hash with seed 17" in parts.reason


def test_the_same_seed_gives_the_same_sides_whatever_the_order():
    shuffled = random.Random(0).sample(ROWS, len(ROWS))
    assert {r.where for r in split(ROWS, 0.1, 17).heldout} == {r.where for r in split(shuffled, 0.1, 17).heldout}


def test_another_seed_gives_another_split():
    assert split(ROWS, 0.1, 17).heldout != split(ROWS, 0.1, 18).heldout


def test_both_sides_keep_file_order():
    parts = split(ROWS, 0.3, 17)
    assert list(parts.train) == sorted(parts.train, key=ROWS.index)
    assert list(parts.heldout) == sorted(parts.heldout, key=ROWS.index)


def test_rows_with_one_prompt_stay_together():
    rows = [ask(text, f"answer {n}") for i in range(40) for n, text in enumerate([f"Turn on {i}", f" turn  ON {i}"])]
    parts = split(rows, 0.25, 17)
    sides = [{prompt_key(row, near=True) for row in side} for side in (parts.train, parts.heldout)]
    assert not sides[0] & sides[1]
    assert len(parts.heldout) == 20
    assert find_leaks(parts.train, parts.heldout) == ()


def test_a_large_group_is_never_held_out_when_smaller_ones_can_be():
    rows = [ask("the same", str(i)) for i in range(90)] + [ask(f"question {i}") for i in range(10)]
    for seed in range(10):
        parts = split(rows, 0.1, seed)
        assert len(parts.heldout) == 10
        assert all(row.messages[0]["content"] != "the same" for row in parts.heldout)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_neither_side_is_empty(share):
    parts = split(ROWS[:2], share, 17)
    assert (len(parts.train), len(parts.heldout)) == (1, 1)


def test_two_large_groups_still_part():
    parts = split([ask("a", str(i)) for i in range(5)] + [ask("b", str(i)) for i in range(7)], 0.1, 17)
    assert (len(parts.train), len(parts.heldout)) == (7, 5)


def test_one_prompt_cannot_be_parted():
    with pytest.raises(DataError, match="all 3 rows have the same prompt") as caught:
        split([ask("a", str(i)) for i in range(3)], 0.1, 17)
    assert "data.heldout" in caught.value.hint


def test_plain_text_is_its_own_prompt():
    rows = [Conversation((), text=f"text {i // 2}", kind="text") for i in range(20)]
    parts = split(rows, 0.2, 17)
    assert not {row.text for row in parts.train} & {row.text for row in parts.heldout}


def test_take_chooses_by_seed_and_keeps_order():
    some = take(ROWS, 20, seed=3)
    assert len(some) == 20
    assert list(some) == sorted(some, key=ROWS.index)
    assert some == take(ROWS, 20, seed=3)
    assert some != take(ROWS, 20, seed=4)
    assert {row.where for row in take(ROWS, 10, seed=3)} < {row.where for row in some}


def test_take_leaves_short_lists_alone():
    assert take(ROWS, None, 1) == tuple(ROWS)
    assert take(ROWS, 500, 1) == tuple(ROWS)


def test_leaks_say_how_close_they_are():
    train = [ask("Turn on the light", "a", "train:1"), ask("other", "b", "train:2"), ask("third", "c", "train:3")]
    heldout = [
        ask("Turn on the light", "a", "held:1"),
        ask("other", "something else", "held:2"),
        ask("\ufb01ne", "d", "held:3"),
        ask("  THIRD\n", "c", "held:4"),
    ]
    found = [(leak.heldout, leak.train, leak.kind) for leak in find_leaks(train, heldout)]
    assert found == [
        ("held:1", "train:1", "row"),
        ("held:2", "train:2", "prompt"),
        ("held:4", "train:3", "near prompt"),
    ]


def with_own(system, row):
    return replace(row, messages=({"role": "system", "content": system}, *row.messages))


def test_a_row_with_the_recipes_system_prompt_is_the_same_row_as_one_without():
    train, heldout = [ask("hi", "hello", "train:1")], [with_own("Be brief", ask("hi", "hello", "held:1"))]
    assert [leak.kind for leak in find_leaks(train, heldout, "Be brief")] == ["row"]
    assert [leak.kind for leak in find_leaks(heldout, train, "Be brief")] == ["row"]
    assert find_leaks(train, heldout, "Be long") == find_leaks(train, heldout) == ()
    rows = [row for n in range(20) for row in (ask(f"q{n}", "a"), with_own("Be brief", ask(f"q{n}", "b")))]
    parted = split(rows, 0.5, 3, "Be brief")
    assert find_leaks(parted.train, parted.heldout, "Be brief") == ()
    parted = split(rows, 0.5, 3)
    assert find_leaks(parted.train, parted.heldout, "Be brief") != (), "without it they are parted"


def test_the_prompt_is_all_before_the_last_answer():
    first = ask("hi", "hello").messages
    longer = Conversation((*first, {"role": "user", "content": "more"}, {"role": "assistant", "content": "x"}))
    assert find_leaks([ask("more", "x")], [longer]) == ()
    assert find_leaks([longer], [Conversation((*longer.messages[:3], {"role": "assistant", "content": "y"}))])


def grouped(question, group, answer="ok"):
    return replace(ask(question, answer), group=group)


def test_rows_of_one_group_stay_together_whatever_their_prompts_and_the_order():
    rows = [grouped(f"turn on {i} {word}", f"template {i}") for i in range(30) for word in ("please", "now", "again")]
    rows += [ask(f"free {i}") for i in range(10)]
    # One prompt in two groups ties both together.
    rows += [grouped("the same", "template 3"), grouped("the same", "template 4", "another")]
    parts = split(rows, 0.2, 17)
    sides = [{row.group for row in side if row.group} for side in (parts.train, parts.heldout)]
    assert not sides[0] & sides[1]
    assert all(sides)
    assert ("template 3" in sides[0]) == ("template 4" in sides[0])
    assert 18 <= len(parts.heldout) <= 20
    assert "rows with one prompt or group stay together (39 sets)" in parts.reason
    again = split(random.Random(0).sample(rows, len(rows)), 0.2, 17)
    assert {row.where for row in again.heldout} == {row.where for row in parts.heldout}


def test_a_group_says_nothing_about_what_a_row_teaches():
    assert row_key(grouped("a", "one")) == row_key(grouped("a", "two")) == row_key(ask("a"))
    (leak,) = find_leaks([grouped("a", "one")], [ask("a")])
    assert leak.kind == "row"


def test_nothing_held_out_is_refused_with_what_to_do():
    with pytest.raises(DataError, match=r"data\.heldout_share is 0") as caught:
        split(ROWS, 0.0, 17)
    assert "--data-heldout" in caught.value.hint


def test_the_same_row_written_in_two_ways_is_the_same_row(tmp_path):
    chat = Conversation(({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}), "chat")
    plain = replace(chat, kind="completion", where="plain")
    (leak,) = find_leaks([chat], [plain])
    assert (leak.kind, leak.train, leak.heldout) == ("row", "chat", "plain")
