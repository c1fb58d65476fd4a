"""Metrics against values worked out by hand."""

from __future__ import annotations

import pytest

from edgetune.errors import DataError, MissingExtra
from edgetune.evaluation import metrics
from edgetune.evaluation.jsonfields import parse
from edgetune.evaluation.metrics import METRICS, chosen, perplexity, score, score_answers

JSON = {metric.name: metric for metric in METRICS["json"]}


def value(name, predictions, references):
    return score_answers(JSON[name], predictions, references).value


def test_exact_match_ignores_outer_white_space_only():
    assert metrics.is_exact(" on\n", "on")
    assert not metrics.is_exact("o n", "on")
    assert not metrics.is_exact("On", "on")


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        ('{"a": 1, "b": 2}', '{"b":2,"a":1}', True),
        ('{"a": 1.0}', '{"a": 1}', True),
        ('{"a": true}', '{"a": 1}', False),
        ('{"a": "1"}', '{"a": 1}', False),
        ("[1, 2]", "[2, 1]", False),
        ('{"0": 1}', "[1]", False),
        ('{"a": {}}', '{"a": []}', False),
        ("{}", "{}", True),
        ('{"a": null}', "{}", False),
        ('"é"', '"\\u00e9"', True),
    ],
)
def test_json_equality(a, b, equal):
    assert (parse(a) == parse(b)) is equal


@pytest.mark.parametrize("text", ["", "lights on", "{'a': 1}", '{"a": NaN}', '{"a": 1} and', "[" * 100_000, "9" * 5000])
def test_not_json(text):
    assert parse(text) is None


def test_deeply_nested_json_is_walked_without_recursion():
    deep = "[" * 400 + "1" + "]" * 400
    assert parse(deep) == {((0,) * 400, "1")}


def test_field_figures_are_micro_averages():
    # agreeing 1 + 0 + 0, answered 2 + 3 + 0, expected 2 + 1 + 2
    predictions = ['{"intent": "on", "area": "hall"}', '{"a": 1, "b": 2, "c": 3}', "cannot do that"]
    references = ['{"intent": "on", "area": "bath"}', '{"z": 1}', '{"x": 1, "y": 2}']
    assert value("json_precision", predictions, references) == 1 / 5
    assert value("json_recall", predictions, references) == 1 / 5
    assert value("json_f1", predictions, references) == 2 / 10
    assert value("json_parsable", predictions, references) == pytest.approx(2 / 3)
    assert value("json_equal", predictions, references) == 0


def test_f1_is_the_harmonic_mean():
    predictions, references = ['{"a": 1}'], ['{"a": 1, "b": 2, "c": 3}']
    precision, recall = value("json_precision", predictions, references), value("json_recall", predictions, references)
    assert value("json_f1", predictions, references) == pytest.approx(2 * precision * recall / (precision + recall))


def test_json_metric_refuses_a_reference_that_is_not_json():
    with pytest.raises(DataError, match="needs JSON answers") as caught:
        value("json_f1", ["{}"], ["turn it on"])
    assert "task.metrics" in caught.value.hint


def test_rouge_l_by_hand():
    # longest common subsequence "the cat mat": 3 of 4 words answered, 3 of 6 expected
    (metric,) = METRICS["rouge_l"]
    got = score_answers(metric, ["the cat the mat"], ["The cat sat on the mat"]).value
    longest = 4  # the, cat, the, mat
    precision, recall = longest / 4, longest / 6
    assert got == pytest.approx(2 * precision * recall / (precision + recall))


def test_rouge_l_equals_the_library_on_ascii_and_works_beyond_it():
    from rouge_score.rouge_scorer import RougeScorer

    (metric,) = METRICS["rouge_l"]
    prediction, reference = "It's 21_5 degrees, isn't it?", "It is 21.5 degrees in the hall"
    expected = RougeScorer(["rougeL"]).score(reference, prediction)["rougeL"].fmeasure
    assert score_answers(metric, [prediction], [reference]).value == pytest.approx(expected)
    assert score_answers(metric, ["включи свет"], ["включи свет"]).value == 1


def test_chrf_is_sacrebleus():
    import sacrebleu

    (metric,) = METRICS["chrf"]
    expected = sacrebleu.sentence_chrf("turn of the light", ["turn off the lights"]).score
    assert score_answers(metric, ["turn of the light"], ["turn off the lights"]).value == pytest.approx(expected)
    assert score_answers(metric, ["same"], ["same"]).value == pytest.approx(100)


@pytest.mark.parametrize(("name", "module"), [("rouge_l", "rouge_score"), ("chrf", "sacrebleu")])
def test_a_missing_library_is_one_sentence(monkeypatch, name, module):
    def absent(wanted):
        raise ModuleNotFoundError(name=wanted)

    metrics._rouge.cache_clear()
    metrics._chrf_scorer.cache_clear()
    monkeypatch.setattr("edgetune.extras.importlib.import_module", absent)
    with pytest.raises(MissingExtra, match=f"the {name} metric needs the 'eval' extra"):
        score_answers(METRICS[name][0], ["a"], ["a"])


def test_every_score_carries_n_interval_and_definition():
    for name in METRICS:
        for metric in METRICS[name]:
            got = score_answers(metric, ["{}", "[1]", '{"a": 2}'], ["{}", "[1]", '{"a": 1}'])
            assert got.low <= got.value <= got.high
            assert got.n == 3
            assert got.definition


@pytest.mark.parametrize(
    ("named", "metrics"),
    [
        (["chrf", "exact_match"], ["chrf", "exact_match"]),
        (["exact_match", "chrf"], ["exact_match", "chrf"]),
        (["rouge_l", "chrf"], ["rouge_l", "chrf", "exact_match"]),
        ([], ["exact_match"]),
    ],
)
def test_chosen_keeps_the_order_and_has_exact_match_once(named, metrics):
    assert [metric.name for metric in chosen(named)] == metrics


def test_no_rows_is_an_error():
    with pytest.raises(DataError, match="no rows"):
        score("loss", "nats", [], proportion=False)


def test_perplexity_is_exp_of_loss_and_never_overflows():
    loss = score("loss", "nats", [(2.0, 4.0), (3.0, 4.0)], proportion=False)
    got = perplexity(loss)
    assert got.value == pytest.approx(1.8682459574322223)
    assert got.low <= got.value <= got.high
    assert perplexity(score("loss", "nats", [(9000.0, 1.0)], proportion=False)).value < float("inf")
