"""What a report says to people."""

from benchreports import report

from edgetune.bench.text import to_text


def with_intervals(found, interval):
    figures = tuple(one.model_copy(update={"mad": 1.0, "interval": interval}) for one in found.figures)
    return found.model_copy(update={"figures": figures})


def test_intervals_are_printed_beside_every_median():
    plain = report({"decode": [90, 100, 110], "decode@depth=512": [50, 60, 70], "prefill@depth=512": [1, 2, 3]})
    text = to_text(with_intervals(plain, (88.123, 121.9)))
    assert "100 ± 1 tokens/s       [88.1, 122]  decode" in text
    assert "60 ± 1 [88.1, 122]" in text
    assert "95 % interval of the median" in text


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
