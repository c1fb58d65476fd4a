"""What a report says to people."""

import numpy as np
from benchreports import NAMES, report

from edgetune.bench.figuring import interval_note
from edgetune.bench.statistics import coverage, rounds_interval
from edgetune.bench.text import to_text


def with_intervals(found, interval):
    figures = tuple(one.model_copy(update={"mad": 1.0, "interval": interval}) for one in found.figures)
    return found.model_copy(update={"figures": figures})


def test_intervals_are_printed_beside_every_median():
    plain = report({"decode": [90, 100, 110], "decode@depth=512": [50, 60, 70], "prefill@depth=512": [1, 2, 3]})
    text = to_text(with_intervals(plain, (88.123, 121.9)))
    assert "100 ± 1 tokens/s       [88.1, 122]  decode" in text
    assert "60 ± 1 [88.1, 122]" in text
    assert "stays within their range; it holds the median with a chance of at most 75% of 3 rounds" in text
    assert "95 % interval" not in text, "which three rounds do not give"


def test_what_an_interval_is_worth_is_said_by_its_rounds():
    def note(*counts):
        plain = report({name: [1.0] * count for name, count in zip(NAMES, counts, strict=False)})
        return interval_note(with_intervals(plain, (1.0, 1.0)).figures)

    assert note(6, 9) == "the 95 % interval of the median: a bootstrap that draws whole rounds again"
    assert note(3, 5).endswith("with a chance of at most 75% of 3 rounds, 94% of 5 rounds")
    assert note(3, 7, 8).endswith("with a chance of at most 75% of 3 rounds, 95% of 7 rounds or more")


def test_intervals_of_few_rounds_hold_the_median_as_seldom_as_is_said():
    """By simulation: rounds that differ, tokens of one alike."""
    random = np.random.default_rng(0)
    for count in (3, 5):
        held = []
        for _ in range(150):
            rounds = random.normal(0, 1, (count, 1)) + random.normal(0, 0.01, (count, 5))
            low, high = rounds_interval(rounds.tolist())
            held.append(low <= 0 <= high)
        assert coverage(count) - 0.08 < np.mean(held) < coverage(count) + 0.03


def test_without_intervals_it_says_why():
    plain = report({"decode": [90.0]})
    reasons = {"interval": "1 round; an interval needs 3"}
    few = plain.model_copy(update={"figures": (plain.figures[0].model_copy(update={"reasons": reasons}),)})
    assert "no intervals: 1 round; an interval needs 3" in to_text(few)
    assert "[" not in to_text(few)


def test_how_long_it_took_is_said_where_the_report_knows():
    plain = report({"decode": [90.0]})
    assert plain.seconds is None
    assert "took" not in to_text(plain)
    assert to_text(plain.model_copy(update={"seconds": 171.3})).endswith("took 2 min 51 s")
