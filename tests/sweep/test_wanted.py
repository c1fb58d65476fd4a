from __future__ import annotations

import pytest

from edgetune.errors import WrongUsage
from edgetune.sweep.wanted import wanted_of

GIVEN = {
    "trials": 3,
    "minutes": None,
    "workers": 1,
    "storage": None,
    "methods": (),
    "ranks": (),
    "rates": 10.0,
    "trial_steps": None,
    "trial_minutes": None,
    "allow_scripts": False,
}


def test_methods_and_ranks():
    found = wanted_of(**GIVEN | {"methods": ("lora", "full"), "ranks": (4, 8)})
    assert found.methods == ("lora", "full")
    assert found.ranks == (4, 8)


def test_limits_are_those_given():
    assert wanted_of(**GIVEN).limits == {}
    assert wanted_of(**GIVEN | {"trial_steps": 5}).limits == {"max_steps": 5}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"methods": ("lara",)}, "no method called lara"),
        ({"methods": ("freeze",)}, "no method called freeze"),
        ({"ranks": (4, 0)}, "0 is no rank"),
    ],
)
def test_what_is_none_is_refused(given, words):
    with pytest.raises(WrongUsage, match=words):
        wanted_of(**GIVEN | given)
