"""Mixtures by size: they fit, bits go where they matter, and what cannot be done is told."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import tinyexports
import torch
from edgetune_gguf import GgufExporter
from edgetune_gguf.imatrix import read_imatrix
from edgetune_gguf.mixed import _cheapest, _filled, wanted_bytes
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
    assert 0.9 * wanted_bytes(name) < artifact.manifest.size_bytes <= wanted_bytes(name)
    assert artifact.manifest.size_bytes == size_of(model, name), "of a mixture the size is known beforehand"
    assert artifact.manifest.tensor_types == dict(GgufExporter().plan(model, name).tensor_types)
    assert GgufExporter().metadata_problems(model, artifact) == []
    assert artifact.manifest.name.endswith(f"{name}-imatrix")


def test_another_quantisers_mixture_is_told_by_its_own_types(tmp_path):
    model = write(tmp_path, {})
    name = sized(model, "q5_0")
    artifact = GgufExporter().export(model, name, tmp_path / "out")
    elsewhere = replace(artifact, manifest=artifact.manifest.model_copy(update={"quantiser": "another"}))
    other = write(tmp_path, {"model.layers.0.mlp.gate_proj": 1.0})  # as if its quantiser had chosen otherwise
    said = [problem for problem in GgufExporter().metadata_problems(other, elsewhere) if " is " in problem]
    assert not [problem for problem in said if "Q5_0" in problem or "Q8_0" in problem]
    assert any("Q8_0" in problem for problem in GgufExporter().metadata_problems(other, artifact))


def test_a_shared_base_is_no_mixture(tmp_path):
    with pytest.raises(ExportError, match="suits one model") as caught:
        GgufExporter().plan_base(write(tmp_path, {}), "mixed_92mb")
    assert "q8_0" in caught.value.hint


def test_a_head_of_its_own_beside_a_tied_base_is_known(tmp_path):
    """Olmo2's file always has one."""
    model = tinyexports.save_model(tmp_path / "base", "Olmo2", tie_word_embeddings=True)
    curved = {n: 1e-3 for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)} | {
        "model.embed_tokens": 1e-3
    }
    squares = {n: np.ones(model.get_submodule(n).in_features, np.float32) for n in curved if ".layers." in n}
    tuned = tinyexports.tuned(tmp_path / "base")
    GgufExporter().write_importance(tuned, Importance(squares, 100, ("rows",), curved), tmp_path / "imatrix.gguf")
    tuned = replace(tuned, importance=tmp_path / "imatrix.gguf")
    assert "output.weight" in prepare(tuned, sized(tuned, "q5_0")).choices


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


def test_no_change_that_fits_is_better_and_it_is_near_the_best():
    random = np.random.default_rng(0)
    sizes = {"Q4_0": 40, "Q5_0": 50, "Q8_0": 80}
    weights = random.random(6) * 100
    costs = {
        f"t{n}": {kind: (float(weight * 4.0 ** (-size / 10)), size) for kind, size in sizes.items()}
        for n, weight in enumerate(weights)
    }
    choices = [dict(zip(costs, kinds, strict=True)) for kinds in product(sizes, repeat=len(costs))]
    for budget in range(240, 480, 10):
        chosen = _filled(costs, _cheapest(costs, budget), budget)
        assert size_and_cost(costs, chosen)[0] <= budget
        spent = size_and_cost(costs, chosen)[1]
        for name, kind in product(costs, sizes):
            size, cost = size_and_cost(costs, chosen | {name: kind})
            assert size > budget or cost >= spent
        best = min(cost for size, cost in (size_and_cost(costs, one) for one in choices) if size <= budget)
        assert spent <= 1.6 * best, "one price a byte, and the rest filled up"


def size_and_cost(costs, types):
    found = [costs[name][kind] for name, kind in types.items()]
    return sum(size for _, size in found), sum(cost for cost, _ in found)


def test_without_an_imatrix_nothing_is_known(tmp_path):
    model = replace(write(tmp_path, {}), importance=None)
    with pytest.raises(ExportError, match="nothing was") as caught:
        GgufExporter().plan(model, "mixed_92mb")
    assert "of which it is collected" in caught.value.hint


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
