"""Figures of some of the rows, and how a summary shows them."""

from __future__ import annotations

from dataclasses import replace

from edgetune.data.conversation import Conversation
from edgetune.evaluation.evaluate import Subject, evaluate
from edgetune.evaluation.figures import part
from edgetune.evaluation.record import Basis
from edgetune.evaluation.report import Report
from edgetune.evaluation.text import score_lines, to_text
from edgetune.runtimes.fake import FakeRuntime


def row(number, group=None):
    messages = ({"role": "user", "content": f"say {number}"}, {"role": "assistant", "content": str(number)})
    return Conversation(messages, f"rows:{number}", group=group)


def evaluation(name, rows, right, group=None, data="d"):
    """``right`` of twenty rows are answered, the first ones."""
    basis = Basis(
        weights_sha256="w",
        data_sha256=data,
        rows=tuple(rows),
        runtime="fake",
        metrics=("exact_match",),
        max_new_tokens=8,
        system=None,
        edgetune="0",
    )
    runtime = FakeRuntime({f"say {n}": str(n) for n in range(right)})
    return evaluate(Subject(name, runtime), [row(n, group and f"{group} {n % 2}") for n in range(20)], basis)


def test_a_part_is_what_would_have_been_measured_on_those_rows_alone():
    whole = evaluation("tuned", range(20), 10)
    direct = evaluation("tuned", range(4, 12), 10)
    again = part(whole, range(4, 12))
    assert again.scores == direct.scores
    assert again.answers == direct.answers
    assert again.basis == direct.basis
    assert again.score("exact_match").value == 6 / 8
    assert whole.score("exact_match").value == 10 / 20, "the whole stays as it was"


def test_groups_of_a_part_are_counted_again():
    rows = [row(n, f"g{n // 5}") for n in range(20)]
    basis = evaluation("tuned", range(20), 10).basis
    whole = evaluate(Subject("tuned", FakeRuntime({})), rows, basis)
    assert (whole.groups, part(whole, range(10)).groups) == (4, 2)


def test_a_summary_shows_both_on_the_same_rows_and_then_on_all():
    base, artifact = evaluation("base", range(10), 1), evaluation("q8_0", range(20), 8)
    lines = score_lines("tiny-q8_0", artifact, beside=base)
    headings = [line for line in lines if not line.startswith(" ")]
    assert headings == [
        "tiny-q8_0 (the same 10 held-out rows, fake)",
        "tiny-q8_0 (all 20 held-out rows, fake)",
    ]
    shares = [line.split()[1] for line in lines if "exact_match" in line]
    assert shares == ["0.8000", "0.4000"]
    assert score_lines("untuned base", base)[0] == "untuned base (10 held-out rows, fake)"


def test_equal_rows_need_no_second_block_and_other_data_is_not_the_same_rows():
    base, artifact = evaluation("base", range(10), 1), evaluation("q8_0", range(10), 8)
    assert [line for line in score_lines("q", artifact, beside=base) if not line.startswith(" ")] == [
        "q (the same 10 held-out rows, fake)"
    ]
    other = evaluation("base", range(10), 1, data="other")
    assert score_lines("q", artifact, beside=other) == score_lines("q", artifact)
    fewer = evaluation("q8_0", range(5, 12), 8)
    assert score_lines("q", fewer, beside=base)[0] == "q (of the same 10: 5 held-out rows, fake)"


def test_how_the_intervals_were_made_is_said():
    plain, grouped = evaluation("base", range(10), 1), evaluation("tuned", range(10), 1, group="all")
    text = to_text(Report((plain, grouped), ()), misses=0, width=200)
    assert "[ ] are 95 % intervals: Wilson's for shares, else a bootstrap over rows" in text
    assert "a bootstrap over 2 groups of alike rows" in text
    assert "10 held-out rows in 2 groups" in score_lines("tuned", grouped)[0]
    assert replace(row(1), group="x").to_row()["group"] == "x"


def texts(name, said):
    basis = evaluation(name, (0,), 0).basis.model_copy(update={"metrics": ("rouge_l",), "rows": (0, 1)})
    asked = {f"say {n}": said for n in range(2)}
    return evaluate(Subject(name, FakeRuntime(asked)), [row(n) for n in range(2)], basis)


def test_texts_are_shown_beside_the_answers_of_the_base():
    base, tuned = texts("base", "as AI"), texts("tuned", "for you")
    assert tuned.by_likeness
    text = to_text(Report((base, tuned), ()), misses=1, width=200)
    assert "the 1 of 2 answers of 'tuned' that are least like the reference" in text
    assert "  base      as AI\n  answered  for you" in text
    assert "worst" not in text


def test_right_or_wrong_answers_are_misses():
    found = evaluation("tuned", range(4), 2)
    assert not found.by_likeness
    text = to_text(Report((found,), ()), misses=1, width=200)
    assert "the 1 worst of 2 misses of 'tuned'" in text
    assert "  base  " not in text
