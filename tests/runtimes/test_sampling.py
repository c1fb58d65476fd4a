import numpy as np
import pytest

from edgetune.runtimes.protocol import Decoding
from edgetune.runtimes.sampling import Sampler, nucleus, softmax

LOGITS = np.log(np.array([0.1, 0.6, 0.25, 0.05], np.float32))


def test_greedy_takes_the_largest():
    assert [Sampler(Decoding(), index).choose(LOGITS) for index in range(3)] == [1, 1, 1]


def test_sampling_follows_the_probabilities():
    sampler = Sampler(Decoding(temperature=1.0, seed=1))
    counts = np.bincount([sampler.choose(LOGITS) for _ in range(4000)], minlength=4) / 4000
    np.testing.assert_allclose(counts, [0.1, 0.6, 0.25, 0.05], atol=0.03)


def test_top_p_leaves_the_tail_out():
    sampler = Sampler(Decoding(temperature=1.0, top_p=0.7, seed=1))
    assert {sampler.choose(LOGITS) for _ in range(500)} == {1, 2}


def test_a_low_temperature_sharpens():
    sampler = Sampler(Decoding(temperature=0.05, seed=1))
    assert {sampler.choose(LOGITS) for _ in range(200)} == {1}


def test_streams_of_two_prompts_differ_and_repeat():
    def draw(seed, index):
        sampler = Sampler(Decoding(temperature=2.0, seed=seed), index)
        return [sampler.choose(LOGITS) for _ in range(30)]

    assert draw(1, 0) == draw(1, 0)
    assert draw(1, 0) != draw(1, 1)
    assert draw(1, 0) != draw(2, 0)


@pytest.mark.parametrize("top_p", [0.1, 0.6, 0.85, 0.999, 1.0])
def test_nucleus_is_a_distribution(top_p):
    kept = nucleus(softmax(LOGITS), top_p)
    assert kept.sum() == pytest.approx(1)
    assert kept[1] > 0


def test_softmax_does_not_overflow():
    assert softmax(np.array([1e4, 0], np.float32)).tolist() == [1, 0]
