"""Mixtures by size: they fit, bits go where they matter, and what cannot be done is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tinyexports
import torch
from edgetune_gguf import GgufExporter
from edgetune_gguf.imatrix import read_imatrix
from edgetune_gguf.mixed import _at, _cheapest, wanted_bytes
from edgetune_gguf.mixture import require_precision
from edgetune_gguf.preparing import prepare

from edgetune.errors import ExportError
from edgetune.exporters import Importance

WIDTH = {"hidden_size": 96, "intermediate_size": 256, "num_attention_heads": 6, "num_key_value_heads": 2}


def write(tmp_path, curvature=None):
    """A tuned model with an imatrix; every weight curved alike but those named."""
    model = tinyexports.save_model(tmp_path / "base", "Llama", tie_word_embeddings=True, **WIDTH)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"}
    squares = {name: np.ones(layer.in_features, np.float32) for name, layer in layers.items()}
    curved = dict.fromkeys([*layers, "model.embed_tokens"], 1e-3)
    found = Importance(squares, 100, ("rows",), {} if curvature is None else curved | curvature)
    tuned = tinyexports.tuned(tmp_path / "base")
    GgufExporter().write_importance(tuned, found, tmp_path / "imatrix.gguf")
    return replace(tuned, importance=tmp_path / "imatrix.gguf")


def size_of(model, precision):
    return GgufExporter().plan(model, precision).size_bytes


def sized(model, precision):
    """The name of a mixture as large as a precision."""
    return f"mixed_{size_of(model, precision) / 1e6:.4f}mb"


@pytest.mark.parametrize("like", ["q4_0", "q5_0", "q8_0"])
def test_the_file_fits_and_has_the_types_that_were_planned(tmp_path, like):
    model = write(tmp_path, {})
    name = sized(model, like)
    artifact = GgufExporter().export(model, name, tmp_path / "out")
    assert artifact.manifest.size_bytes <= wanted_bytes(name) * 1.01
    assert artifact.manifest.tensor_types == dict(GgufExporter().plan(model, name).tensor_types)
    assert GgufExporter().metadata_problems(model, artifact) == []
    assert artifact.manifest.name.endswith(f"{name}-imatrix")


def test_what_matters_gets_the_bits(tmp_path):
    loved, unloved = "model.layers.0.mlp.gate_proj", "model.layers.1.mlp.gate_proj"
    model = write(tmp_path, {loved: 1.0, unloved: 1e-9})
    types = {name: choice.type for name, choice in prepare(model, sized(model, "q5_0")).choices.items()}
    assert types["blk.0.ffn_gate.weight"] in ("Q8_0", "F16")
    assert types["blk.1.ffn_gate.weight"] == "Q4_0"
    assert types["blk.0.attn_norm.weight"] == "F32"


def test_the_curvature_comes_back_from_the_file(tmp_path):
    read = read_imatrix(write(tmp_path, {"model.embed_tokens": 0.25}).importance)
    assert read.curvature["token_embd.weight"] == 0.25
    assert read.curvature["blk.0.ffn_up.weight"] == pytest.approx(1e-3)


def test_no_choice_of_the_same_size_is_cheaper():
    random = np.random.default_rng(0)
    sizes = {"Q4_0": 4, "Q5_0": 5, "Q8_0": 8}
    costs = {
        f"t{n}": {kind: (float(weight * 4.0 ** (-size)), size * 10) for kind, size in sizes.items()}
        for n, weight in enumerate(random.random(6) * 100)
    }
    for budget in range(240, 480, 20):
        chosen = _cheapest(costs, budget)
        taken = sum(costs[name][kind][1] for name, kind in chosen.items())
        assert taken <= budget
        spent = sum(costs[name][kind][0] for name, kind in chosen.items())
        combinations = np.stack(np.meshgrid(*[np.arange(3)] * 6), -1).reshape(-1, 6)
        kinds = list(sizes)
        every = [
            sum(costs[f"t{n}"][kinds[k]][0] for n, k in enumerate(one))
            for one in combinations
            if sum(sizes[kinds[k]] * 10 for k in one) <= taken
        ]
        assert spent <= min(every) * (1 + 1e-9)
    assert set(_at(costs, 1e9).values()) == {"Q4_0"}


def test_without_an_imatrix_nothing_is_known(tmp_path):
    model = replace(write(tmp_path, {}), importance=None)
    with pytest.raises(ExportError, match="nothing was") as caught:
        GgufExporter().plan(model, "mixed_92mb")
    assert "add --imatrix auto, in a recipe `imatrix: true`" in caught.value.hint


def test_an_imatrix_from_elsewhere_does_not_say(tmp_path):
    with pytest.raises(ExportError, match="was collected elsewhere") as caught:
        GgufExporter().plan(write(tmp_path), "mixed_92mb")
    assert "--imatrix auto" in caught.value.hint


def test_too_small_a_size_names_the_smallest(tmp_path):
    with pytest.raises(ExportError, match=r"the smallest takes 0\.\d MB"):
        GgufExporter().plan(write(tmp_path, {}), "mixed_0.01mb")


@pytest.mark.parametrize(
    ("name", "known"),
    [("mixed-92MB", "mixed_92mb"), ("mixed_1.5mb", "mixed_1.5mb"), ("mixed", None), ("mixed_mb", None)],
)
def test_names(name, known):
    if known:
        assert require_precision(name) == known
        return
    with pytest.raises(ExportError, match="unknown GGUF precision"):
        require_precision(name)
