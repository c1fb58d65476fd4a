"""Types, and where quick enough bytes, equal those of llama.cpp's own quantiser for every precision."""

from __future__ import annotations

from collections import Counter

import pytest
from edgetune_gguf import GgufExporter
from edgetune_gguf.metadata import file_type
from edgetune_gguf.mixture import PRECISIONS, Shape, choose_types, require_precision

from edgetune.errors import ExportError

WIDE = {"hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 16, "num_hidden_layers": 16}
MODELS = {
    "wide-grouped": ("Llama", {**WIDE, "num_key_value_heads": 4}),
    "wide-tied": ("Llama", {**WIDE, "num_hidden_layers": 3, "num_key_value_heads": 8, "tie_word_embeddings": True}),
    "wide-fused": ("Phi3", {**WIDE, "num_hidden_layers": 2, "num_key_value_heads": 16}),
    "narrow": ("Llama", {"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2}),
    "narrow-tied": ("Qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
    "mixed": ("Qwen2", {"hidden_size": 256, "intermediate_size": 96, "tie_word_embeddings": True}),
    "odd": ("Llama", {"intermediate_size": 40, "num_hidden_layers": 1}),
}
QUANTISED = [precision for precision in PRECISIONS if precision != "f32"]


def llama_quantise(source, target, precision):
    import llama_cpp

    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = file_type(precision)
    settings.nthread = 2
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), settings) == 0


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny):
    """Model name → its folder and F32 file, made when first asked for."""
    tiny.silence()
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            family, settings = MODELS[name]
            tiny.save_model(folder / "base", family, **settings)
            artifact = GgufExporter().export(tiny.tuned(folder / "base"), "f32", folder / "f32")
            made[name] = folder, artifact.main_file
        return made[name]

    return get


@pytest.mark.parametrize("precision", QUANTISED)
@pytest.mark.parametrize("name", MODELS)
def test_the_file_equals_the_one_llama_cpp_quantises(exported, tiny, tmp_path, name, precision):
    folder, file = exported(name)
    model = tiny.tuned(folder / "base")
    plan = GgufExporter().plan(model, precision)
    artifact = GgufExporter().export(model, precision, tmp_path / "ours")
    llama_quantise(file, tmp_path / "theirs.gguf", precision)
    ours, our_keys = tiny.contents(artifact.main_file)
    theirs, their_keys = tiny.contents(tmp_path / "theirs.gguf")
    assert {tensor: kind for tensor, (kind, _) in ours.items()} == {
        tensor: kind for tensor, (kind, _) in theirs.items()
    }
    assert [tensor for tensor in ours if ours[tensor][1] != theirs[tensor][1]] == []
    assert our_keys == their_keys
    assert list(ours) == list(theirs)
    counted = Counter(kind for kind, _ in theirs.values())
    assert plan.tensor_types == artifact.manifest.tensor_types == counted


def test_narrow_rows_are_predicted_with_their_reason(exported, tiny):
    folder, _ = exported("narrow")
    plan = GgufExporter().plan(tiny.tuned(folder / "base"), "q4_k_m")
    assert plan.fallbacks["blk.0.attn_q.weight"] == "Q5_0 instead of Q4_K: 96 columns are not a multiple of 256"
    assert plan.fallbacks["output.weight"] == "Q8_0 instead of Q6_K: 96 columns are not a multiple of 256"
    assert "blk.0.attn_norm.weight" not in plan.fallbacks
    assert GgufExporter().plan(tiny.tuned(folder / "base"), "q8_0").fallbacks == {}
    odd, _ = exported("odd")
    plan = GgufExporter().plan(tiny.tuned(odd / "base"), "q8_0")
    assert plan.fallbacks == {"blk.0.ffn_down.weight": "F16 instead of Q8_0: 40 columns are not a multiple of 32"}


def test_a_70b_gets_more_bits_for_values():
    tensors = [(f"blk.{layer}.attn_v.weight", (1024, 8192)) for layer in range(80)]
    small = choose_types(tensors, "q4_k_m", Shape(80, 8))
    large = choose_types(tensors, "q4_k_m", Shape(80, 8, large=True))
    kinds = {choice.type for choice in small.values()}
    assert kinds == {"Q4_K", "Q6_K"}
    assert {choice.type for choice in large.values()} == {"Q5_K", "Q6_K"}


@pytest.mark.parametrize(
    ("asked", "hint"), [("q4_km", "q4_k_m"), ("Q8", "q8_0"), ("int4", "known: f32"), ("q9_0", "q8_0")]
)
def test_an_unknown_precision_names_the_nearest(asked, hint):
    with pytest.raises(ExportError, match=asked) as caught:
        require_precision(asked)
    assert hint in caught.value.hint


def test_precisions_are_accepted_in_any_case():
    assert require_precision("Q4_K_M") == require_precision("q4-k-m") == "q4_k_m"
