"""The whole evaluation over a scripted runtime."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from edgetune.data.conversation import Conversation
from edgetune.errors import DataError, ModelError
from edgetune.evaluation.evaluate import Subject, evaluate
from edgetune.evaluation.record import Basis, worst
from edgetune.runtimes.fake import FakeRuntime


def chat(question, answer):
    return Conversation(({"role": "user", "content": question}, {"role": "assistant", "content": answer}))


ON, OFF = '{"intent": "on", "area": "hall"}', '{"intent": "off", "area": "bath"}'
ROWS = [chat("on", ON), chat("off", OFF), chat("dim", '{"intent": "dim"}'), chat("what", '{"intent": "none"}')]
ANSWERS = {"on": '{"area":"hall","intent":"on"}', "off": OFF, "dim": "sorry", "what": '{"intent": "on"}'}


def basis(rows=range(4), **changes):
    given = {
        "weights_sha256": "w",
        "data_sha256": "d",
        "rows": tuple(rows),
        "runtime": "fake",
        "metrics": ("exact_match", "json", "rouge_l", "chrf"),
        "max_new_tokens": 64,
        "system": None,
        "edgetune": "0",
    }
    return Basis(**(given | changes))


def test_figures_of_a_scripted_runtime():
    got = evaluate(Subject("tuned", FakeRuntime(ANSWERS)), ROWS, basis())
    values = {score.name: score.value for score in got.scores}
    assert values["exact_match"] == 1 / 4
    assert values["json_equal"] == 2 / 4
    assert values["json_parsable"] == 3 / 4
    assert values["json_f1"] == pytest.approx(2 * 4 / (5 + 6))
    assert values["stopped"] == 1
    assert values["loss"] == pytest.approx(math.log(math.exp(10) + 257) - 10, rel=1e-4)
    assert values["perplexity"] == pytest.approx(math.exp(values["loss"]))
    assert all(score.n == 4 and score.low <= score.value <= score.high for score in got.scores)
    assert [answer.correct for answer in got.answers] == [False, True, False, False]
    assert got.answers[0].prompt == "<turn>user:on<stop><turn>assistant:"
    assert [answer.row for answer in worst(got.answers, 2)] == [2, 3]


def test_it_is_json_and_comes_back_equal():
    got = evaluate(Subject("tuned", FakeRuntime(ANSWERS)), ROWS, basis())
    text = json.dumps(got.model_dump(mode="json"), allow_nan=False)
    assert type(got).model_validate_json(text) == got


def test_only_the_chosen_rows_are_asked_and_the_system_prompt_goes_first():
    got = evaluate(Subject("tuned", FakeRuntime(ANSWERS)), ROWS, basis([1, 3], system="Be brief"))
    assert [answer.row for answer in got.answers] == [1, 3]
    assert got.answers[0].prompt.startswith("<turn>system:Be brief<stop>")


def test_long_answers_are_cut_and_counted():
    got = evaluate(Subject("base", FakeRuntime(lambda _: "x" * 500)), ROWS, basis(max_new_tokens=5))
    assert got.score("stopped").value == 0
    assert {(answer.finish, answer.tokens) for answer in got.answers} == {("length", 5)}


def test_thinking_aloud_is_not_the_answer():
    runtime = FakeRuntime({"on": f"<think>the hall?</think>\n\n{ON}"})
    got = evaluate(Subject("tuned", runtime), ROWS, basis([0]))
    assert got.score("exact_match").value == got.score("json_equal").value == 1


def test_given_losses_are_used_and_summed_by_row():
    turns = Conversation(
        tuple({"role": role, "content": "hi"} for role in ("user", "assistant", "user", "assistant")), "rows:1"
    )

    def losses(rows, on_done):
        on_done(len(rows))
        return [(6.0, 3.0) for _ in rows]

    got = evaluate(Subject("tuned", FakeRuntime({}), losses), [turns], basis([0], metrics=("exact_match",)))
    assert got.answers[0].ratios["loss"] == (6.0, 3.0)
    assert got.score("loss").value == 2


def test_plain_text_has_loss_and_perplexity_only():
    rows = [Conversation((), text="some text", kind="text")]
    got = evaluate(Subject("base", FakeRuntime({})), rows, basis([0]))
    assert [score.name for score in got.scores] == ["loss", "perplexity"]
    assert got.answers[0].correct is None
    assert worst(got.answers, 5) == []


def test_no_rows_is_an_error():
    with pytest.raises(DataError, match="no rows"):
        evaluate(Subject("base", FakeRuntime({})), [], basis([]))


def test_references_are_checked_before_any_work():
    class Untouchable(FakeRuntime):
        def logits(self, tokens, start=0):
            raise AssertionError("computed before the references were checked")

    rows = [*ROWS, chat("say hello", "hello")]
    with pytest.raises(DataError, match="1 of 5 references do not suit") as caught:
        evaluate(Subject("base", Untouchable({})), rows, basis(range(5)))
    assert caught.value.problems[0].startswith("row 5: the json metric needs JSON answers")


def test_a_loss_that_is_not_finite_is_a_model_error():
    class Broken(FakeRuntime):
        def logits(self, tokens, start=0):
            return np.full_like(super().logits(tokens, start), np.nan)

    with pytest.raises(ModelError, match="not a finite number on 4 of 4 rows") as caught:
        evaluate(Subject("tuned", Broken(ANSWERS)), ROWS, basis())
    assert caught.value.hint


def test_groups_widen_the_intervals_and_are_recorded():
    alike = [
        replace(row, group=f"g{n // 20}") for n, row in enumerate([ROWS[1]] * 20 + [ROWS[2]] * 20 + [ROWS[0]] * 20)
    ]
    apart = [replace(row, group=None) for row in alike]
    runtime = Subject("tuned", FakeRuntime(ANSWERS))
    grouped, free = (evaluate(runtime, rows, basis(range(60), metrics=("exact_match",))) for rows in (alike, apart))
    assert (grouped.groups, free.groups) == (3, None)
    assert [answer.group for answer in grouped.answers[::20]] == ["g0", "g1", "g2"]
    wide, narrow = grouped.score("exact_match"), free.score("exact_match")
    assert wide.value == narrow.value == pytest.approx(1 / 3)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_rows_of_one_group_are_one_draw_also_for_the_loss():
    def losses(rows, on_done):
        return [(float(n // 10), 1.0) for n in range(len(rows))]

    rows = [replace(ROWS[1], group=f"g{n // 10}") for n in range(40)]
    wide = evaluate(Subject("a", FakeRuntime({}), losses), rows, basis(range(40))).score("loss")
    rows = [replace(row, group=None) for row in rows]
    narrow = evaluate(Subject("a", FakeRuntime({}), losses), rows, basis(range(40))).score("loss")
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
