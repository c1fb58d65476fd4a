import pytest
from clockwork import SlowRuntime

from edgetune.assistant import Assistant
from edgetune.realtime.clause import CLAUSE_DEFINITION, WORDS, clause_is_ready
from edgetune.realtime.clock import FakeClock
from edgetune.realtime.serving import server


@pytest.mark.parametrize(
    ("text", "ready"),
    [
        ("", False),
        ("Sure", False),
        ("Sure.", False),  # more may follow: 3.5, e.g., a web address
        ("Sure. ", True),
        ("It is 21.5", False),
        ("It is 21.5 degrees, ", True),
        ("He said \u201cno.\u201d ", True),
        ("Sure\nthing", True),
        ("\n\nSure", False),
        ("... well", False),  # a mark before any word ends nothing
        ("你好，我", True),  # noqa: RUF001  # as that script writes it
        ("w " * (WORDS - 1), False),
        ("w " * WORDS, True),
        ('{"intent": "HassTurnOn", "area": "kitchen", ', False),
        (' ["a", "b", ', False),
        ("```json\n{", False),
    ],
)
def test_when_a_clause_is_ready(text, ready):
    assert clause_is_ready(text) is ready


def test_the_definition_says_the_number_of_words():
    assert f"{WORDS} words" in CLAUSE_DEFINITION


def answered(text, *, new_tokens=64):
    clock = FakeClock()
    runtime = SlowRuntime({"hi": text}, clock, prompt_s=1.0, token_s=0.1)
    clock.pass_by(5.0)
    with Assistant(runtime) as assistant:
        serve = server(assistant, [[{"role": "user", "content": "hi"}]], new_tokens, clock)
        return serve(0, 3.0, 1.0)  # scheduled two seconds before it can begin


def test_a_request_is_timed_from_its_schedule():
    found = answered("Ok, go")
    assert (found.scheduled_s, found.started_s, found.tokenised_s) == (2.0, 2.0, 2.0)
    assert found.token_s == pytest.approx([3.1, 3.2, 3.3, 3.4, 3.5, 3.6])
    assert (found.clause_s, found.clause_tokens) == (pytest.approx(3.4), 4)  # the space after the comma
    assert (found.finished_s, found.finish) == (pytest.approx(3.6), "stop")


def test_json_and_answers_without_an_end_are_ready_when_whole():
    found = answered('{"a, b": 1}')
    assert (found.clause_s, found.clause_tokens) == (found.finished_s, len('{"a, b": 1}'))
    cut = answered("abcdefgh", new_tokens=3)
    assert (cut.clause_s, cut.clause_tokens, cut.finish) == (cut.finished_s, 3, "length")


def test_an_empty_answer_has_no_clause():
    found = answered("")
    assert (found.token_s, found.clause_s, found.clause_tokens, found.finish) == ((), None, 0, "stop")


def test_prompts_are_taken_in_turn():
    clock = FakeClock()
    with Assistant(SlowRuntime(lambda question: question, clock, prompt_s=1, token_s=1)) as assistant:
        talks = [[{"role": "user", "content": text}] for text in ("a", "bb")]
        serve = server(assistant, talks, 9, clock)
        assert [(one.prompt, len(one.token_s)) for one in (serve(n, clock.now(), 0) for n in range(3))] == [
            (0, 1), (1, 2), (0, 1)
        ]  # fmt: skip
