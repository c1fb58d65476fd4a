"""Figures by hand, and two evaluations compared."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from edgetune.errors import DataError, EdgetuneError
from edgetune.general.comparing import compare
from edgetune.general.figures import part, with_scores
from edgetune.general.record import Choice, GeneralBasis, GeneralEvaluation, Read, load, load_if_covers, store

#: "long choice" is likelier a character, "no" likelier as a whole.
SPLIT = {"log_likelihoods": (-11.0, -4.0), "characters": (11, 2)}


def choice(row, answer, task="piqa", **changes):
    return Choice(task=task, row=row, answer=answer, **(SPLIT | changes))


def evaluation(subject="base", choices=(), passages=(), runtime="torch"):
    rows = {"piqa": tuple(one.row for one in choices if one.task == "piqa")}
    rows |= {"siqa": tuple(one.row for one in choices if one.task == "siqa")}
    basis = GeneralBasis(
        weights_sha256=subject,
        data_sha256={"piqa": "a", "siqa": "b", "text": "c"},
        rows=rows | {"text": tuple(one.row for one in passages)},
        metrics={"piqa": "acc_norm", "siqa": "acc"},
        runtime=runtime,
        edgetune="0",
    )
    made = GeneralEvaluation(
        subject=subject, basis=basis, created="now", seconds=1.0, scores=(), choices=choices, passages=passages
    )
    return with_scores(made)


TEXT = tuple(Read(row=row, log_likelihood=-8 * math.log(2), bytes=8, words=2) for row in range(4))


def test_as_a_whole_or_for_each_character():
    found = evaluation(choices=(choice(0, answer=0), choice(1, answer=1), choice(2, answer=1)), passages=TEXT)
    assert found.score("piqa acc").value == pytest.approx(2 / 3)
    assert found.score("piqa acc_norm").value == pytest.approx(1 / 3)


def test_equally_likely_choices_give_the_first_as_argmax_does():
    assert choice(0, answer=0, log_likelihoods=(-1.0, -1.0)).right("acc")
    assert not choice(0, answer=1, log_likelihoods=(-1.0, -1.0)).right("acc")


def test_all_questions_take_each_task_by_its_usual_figure():
    found = evaluation(choices=(choice(0, answer=0), choice(0, answer=0, task="siqa")), passages=TEXT)
    assert found.score("all questions").value == 0.5
    assert "piqa acc_norm, siqa acc" in found.score("all questions").definition


def test_text_by_bytes_and_by_words():
    found = evaluation(choices=(choice(0, answer=0),), passages=TEXT)
    assert found.score("text bits_per_byte").value == pytest.approx(1.0)
    assert found.score("text word_perplexity").value == pytest.approx(16.0)  # exp(4 ln 2)
    assert found.score("text word_perplexity").low == pytest.approx(16.0)


def test_what_was_lost_is_paired_by_question():
    before = evaluation("base", tuple(choice(row, answer=0) for row in range(8)), TEXT)
    worse = tuple(one.model_copy(update={"log_likelihood": -16 * math.log(2)}) for one in TEXT)
    after = evaluation("tuned", tuple(choice(row, answer=int(row < 4)) for row in range(8)), worse)
    found = compare(before, after)
    assert (found.n, found.lost, found.gained) == (8, 4, 0)
    norm = found.difference("piqa acc_norm")
    assert (norm.before, norm.after) == (1.0, 0.5)
    assert norm.low < -0.5 < norm.high
    perplexity = found.difference("text word_perplexity")
    assert (perplexity.before, perplexity.after) == (pytest.approx(16), pytest.approx(256))
    assert (perplexity.low, perplexity.high) == (pytest.approx(240), pytest.approx(240))


def test_only_common_questions_are_compared_and_other_ones_refused():
    before = evaluation("base", tuple(choice(row, answer=0) for row in range(4)), TEXT)
    after = evaluation("tuned", tuple(choice(row, answer=0) for row in range(2, 6)), TEXT, runtime="llama.cpp")
    found = compare(before, after)
    assert found.n == 2
    assert "common" not in "".join(found.notes)
    assert any("both have" in note for note in found.notes)
    assert any("llama.cpp" in note for note in found.notes)
    other = after.model_copy(update={"basis": after.basis.model_copy(update={"data_sha256": {"piqa": "z"}})})
    with pytest.raises(DataError, match="different questions"):
        compare(before, other)
    nothing = evaluation("tuned", (choice(9, answer=0),))
    with pytest.raises(DataError, match="no question in common"):
        compare(before, nothing)


def test_what_is_stored_serves_for_fewer_questions(tmp_path):
    whole = evaluation("base", tuple(choice(row, answer=row % 2) for row in range(4)), TEXT)
    path = tmp_path / "evaluations" / "general-base.json"
    path.parent.mkdir()
    store(path, whole)
    assert load(path) == whole
    fewer = whole.basis.model_copy(update={"rows": {"piqa": (1, 3), "siqa": (), "text": (0,)}})
    known = load_if_covers(path, fewer)
    assert known == whole
    assert part(known, fewer).score("piqa acc").value == 1.0
    more = whole.basis.model_copy(update={"rows": {"piqa": (1, 9), "siqa": (), "text": (0,)}})
    assert load_if_covers(path, more) is None
    assert load_if_covers(path, fewer.model_copy(update={"weights_sha256": "other"})) is None


def test_a_damaged_file_is_told_and_unknown_keys_are_refused(tmp_path):
    path = tmp_path / "general-base.json"
    path.write_text('{"kind": "edgetune-general"}')
    with pytest.raises(EdgetuneError, match="is not an evaluation of general ability"):
        load(path)
    with pytest.raises(EdgetuneError, match="cannot read"):
        load(tmp_path / "none.json")
    with pytest.raises(ValidationError):
        Read(row=0, log_likelihood=-1.0, bytes=1, words=1, tokens=3)
