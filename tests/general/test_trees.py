"""Where a context ends and a continuation begins."""

from __future__ import annotations

import pytest

from edgetune.errors import DataError
from edgetune.general.trees import grow, paths
from edgetune.runtimes.fake import FakeTokenizer


class Pairs(FakeTokenizer):
    """Joins two equal letters into one token, so that a border can fall inside one; begins texts with 999."""

    beginning = (999,)

    def encode(self, text, *, special=True):
        ids, at = [], 0
        while at < len(text):
            twice = text[at : at + 2] == text[at] * 2
            ids.append(ord(text[at]) + (1000 if twice else 0))
            at += 2 if twice else 1
        return ids


def test_the_rest_of_both_together_is_the_continuation():
    tree = grow("here", "ab", [" c", " dd"], Pairs())
    assert tree.context == (999, ord("a"), ord("b"))
    assert tree.branches == ((ord(" "), ord("c")), (ord(" "), 1000 + ord("d")))
    assert (tree.size, tree.depth) == (5, 5)


def test_white_space_at_the_end_of_the_context_goes_to_the_continuation():
    tree = grow("here", "ab ", [" c"], Pairs())
    assert tree.context == (999, ord("a"), ord("b"))
    assert tree.branches == ((1000 + ord(" "), ord("c")),)


def test_a_token_over_the_border_counts_by_number_as_in_the_harness():
    tree = grow("here", "ab", ["bc"], Pairs())
    assert tree.context == (999, ord("a"), ord("b"))
    assert tree.branches == ((ord("c"),),)


def test_nothing_left_to_predict_is_refused():
    with pytest.raises(DataError, match="here"):
        grow("here", "ab", ["b"], Pairs())


def test_paths_score_the_branches_only():
    one, two = paths(grow("here", "ab", [" c", " dd"], Pairs()))
    assert one.input_ids == (999, 97, 98, 32, 99)
    assert one.labels == (-100, -100, -100, 32, 99)
    assert two.labels[3:] == two.input_ids[3:]
