"""config.json in every layout that transformers has had."""

from __future__ import annotations

import json

import pytest
from settings import PLAIN, SCALING

from edgetune.models.text_config import Rope, _normalise, generation_stops


def test_both_layouts_of_rotary_settings_mean_the_same():
    new = _normalise("X", {**PLAIN, "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **SCALING}})
    old = _normalise("X", {**PLAIN, "rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **SCALING}})
    assert new.rope == old.rope == Rope(5e5, "llama3", SCALING)
    oldest = _normalise("X", {**PLAIN, "rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 2.0}})
    assert oldest.rope == Rope(1e4, "linear", {"factor": 2.0})
    assert _normalise("X", PLAIN).rope == Rope(1e4, "default", {})
    assert _normalise("X", {**PLAIN, "rope_scaling": {"type": "su"}}).rope.kind == "longrope"


def test_both_layouts_of_local_rotary_settings_mean_the_same():
    both = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
    new = _normalise("X", {**PLAIN, "rope_parameters": both})
    old = _normalise("X", {**PLAIN, "rope_theta": 1e6, "rope_local_base_freq": 1e4})
    assert (
        (new.rope, new.local_rope) == (old.rope, old.local_rope) == (Rope(1e6, "default", {}), Rope(1e4, "default", {}))
    )


@pytest.mark.parametrize(
    ("settings", "window"),
    [
        ({"sliding_window": 32}, 32),
        ({"sliding_window": None}, None),
        ({"sliding_window": 32, "use_sliding_window": False}, None),
        ({"sliding_window": 32, "layer_types": ["full_attention"] * 2}, None),
        ({"sliding_window": 32, "layer_types": ["full_attention", "sliding_attention"]}, 32),
    ],
)
def test_a_window_counts_only_where_a_layer_uses_it(settings, window):
    assert _normalise("X", {**PLAIN, **settings}).window == window


@pytest.mark.parametrize(("eos", "stops"), [(None, ()), (7, (7,)), ([7, 9], (7, 9))])
def test_stops_come_from_the_generation_config(tmp_path, eos, stops):
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": eos}))
    assert generation_stops(tmp_path) == stops


def test_no_generation_config_means_no_further_stops(tmp_path):
    assert generation_stops(tmp_path) == ()
