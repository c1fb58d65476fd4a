"""ONNX adapters: base and adapter compute what torch and PEFT compute in both runtimes, or the export is refused."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
from edgetune_gguf import GgufExporter
from edgetune_onnx import OnnxExporter
from edgetune_onnx.adapter import write
from edgetune_onnx.places import add_places, remove_places
from peft import LoraConfig, get_peft_model
from settings import LORA_SCALES
from tinyexports import randomise

from edgetune.adapters.tuned import base_alone
from edgetune.artifact import Artifact, open_artifact
from edgetune.assistant import load
from edgetune.errors import ArtifactError, ExportError
from edgetune.runtimes import adapters_of, open_runtime, open_with_adapters
from edgetune.runtimes.onnx_adapters import read_adapter
from edgetune.runtimes.onnx_genai import GenaiRuntime
from edgetune.runtimes.onnx_plain import OnnxRuntime
from edgetune.runtimes.pairing import on_base
from edgetune.runtimes.protocol import Decoding

TOKENS = [258, 40, 41, 250, 7, 99, 120, 3, 200]
RUNTIMES = [GenaiRuntime, OnnxRuntime]
KINDS = {
    **LORA_SCALES,
    "some-layers": {"target_modules": ["k_proj", "o_proj"], "layers_to_transform": [1]},
}


def separate(model, folder, base="fp32"):
    """Base and adapter, exported."""
    exporter = OnnxExporter()
    below = exporter.export_base(base_alone(model), base, folder / f"base-{base}")
    return below, exporter.export_adapter(model, "fp32", folder / "adapter-fp32")


def open_in(kind, base, **adapters):
    """A base in one of the two runtimes, with adapters."""
    runtime = kind(base, threads=1)
    for name, adapter in adapters.items():
        runtime.add_adapter(name, adapter)
    return runtime


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("kind", KINDS)
def test_base_and_adapter_compute_what_peft_computes(make, tiny, tmp_path, kind, runtime):
    model, tuned, plain = make(**KINDS[kind])
    base, adapter = separate(model, tmp_path / "out")
    expected = tiny.torch_logits(tuned, TOKENS)
    assert np.abs(expected - tiny.torch_logits(plain, TOKENS)).max() > 0.1  # the adapter does something
    opened = open_in(runtime, base, it=adapter)
    close(opened.logits(TOKENS), tiny.torch_logits(plain, TOKENS))
    opened.use_adapter("it")
    close(opened.logits(TOKENS), expected)
    opened.close()


@pytest.mark.parametrize("family", ["Qwen2", "Qwen3", "Granite", "Mistral"])
def test_every_family(make, tiny, tmp_path, family):
    model, tuned, plain = make(family, use_rslora=True, model_settings={"head_dim": 16} if family == "Qwen3" else None)
    _, adapter = separate(model, tmp_path / "out")
    expected = tiny.torch_logits(tuned, TOKENS)
    assert tiny.mean_kl(expected, tiny.torch_logits(plain, TOKENS)) > 1e-3
    runtime = open_runtime(adapter, threads=1)
    assert tiny.mean_kl(expected, runtime.logits(TOKENS)) < 1e-8
    runtime.close()


@pytest.mark.parametrize(
    ("precision", "limit"), [("fp16", 1e-4), ("int8", 0.05), ("int4_rtn", 1.0), ("int4_mixed", 1.0)]
)
def test_one_adapter_fits_a_base_of_every_precision(make, tiny, tmp_path, precision, limit):
    model, tuned, plain = make(model_settings={"intermediate_size": 128, "tie_word_embeddings": True})
    base, adapter = separate(model, tmp_path / "out", precision)
    runtime = open_with_adapters(base, {"it": adapter}, threads=1)
    expected, without = tiny.torch_logits(tuned, TOKENS), tiny.torch_logits(plain, TOKENS)
    found = tiny.mean_kl(expected, runtime.logits(TOKENS))
    runtime.use_adapter(None)
    assert found < limit
    assert found < tiny.mean_kl(expected, runtime.logits(TOKENS)) / 2
    assert tiny.mean_kl(without, runtime.logits(TOKENS)) < limit


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4_rtn"])
def test_with_no_adapter_on_it_is_the_base_to_the_last_bit(make, tmp_path, precision):
    model, _, _ = make()
    base, adapter = separate(model, tmp_path / "out", precision)
    whole = OnnxExporter().export(base_alone(model), precision, tmp_path / "plain")
    runtime = open_with_adapters(base, {"it": adapter}, threads=1)
    runtime.use_adapter(None)
    np.testing.assert_array_equal(runtime.logits(TOKENS), open_runtime(whole, threads=1).logits(TOKENS))
    assert (base.manifest.adapter_inputs, whole.manifest.adapter_inputs) == (True, False)


def test_places_can_be_taken_out_again(make, tmp_path):
    model, _, _ = make()
    base, _ = separate(model, tmp_path / "out", "int8")
    bare = OnnxExporter().without_places(base, tmp_path / "bare")
    whole = OnnxExporter().export(base_alone(model), "int8", tmp_path / "plain")
    graphs = [onnx.load(artifact.main_file).graph for artifact in (bare, whole)]
    assert graphs[0].SerializeToString() == graphs[1].SerializeToString()
    assert len(graphs[0].input) + 28 == len(onnx.load(base.main_file).graph.input)


def test_switching_between_adapters_of_different_rank_is_a_fresh_load(make, tiny, tmp_path):
    one, tuned_one, plain = make(seed=1)
    two, tuned_two, _ = make(seed=2, base=plain, use_rslora=True, r=8, target_modules=["q_proj", "down_proj"])
    base, first = separate(one, tmp_path / "one")
    second = OnnxExporter().export_adapter(two, "fp32", tmp_path / "two")
    ranks = [tensor.shape[1] for name, tensor in read_adapter(second.main_file).tensors.items() if ".lora_A" in name]
    assert set(ranks) == {8}
    torch_logits = {
        name: tiny.torch_logits(model, TOKENS)
        for name, model in (("one", tuned_one), ("two", tuned_two), (None, plain))
    }
    for kind in RUNTIMES:
        runtime = open_in(kind, base, one=first, two=second)
        assert (runtime.adapters, runtime.adapter) == (("one", "two"), None)
        for name in ("one", "two", "one", None, "two"):
            runtime.use_adapter(name)
            # From the middle: what the cache holds of another adapter must not be used.
            close(runtime.logits(TOKENS, 3), torch_logits[name][3:])
            best = int(torch_logits[name][-1].argmax())
            assert next(iter(runtime.stream(TOKENS, Decoding(max_new_tokens=1)))) == best
            assert runtime.generate([TOKENS, TOKENS], Decoding(max_new_tokens=1))[1].tokens == (best,)
        with pytest.raises(ArtifactError, match="no adapter 'three' is loaded"):
            runtime.use_adapter("three")
        runtime.close()


def test_an_assistant_switches_with_the_system_prompt(make, tiny, tmp_path):
    model, _, plain = make(seed=1)
    other, _, _ = make(seed=2, base=plain)
    base, first = separate(tiny.tuned(**vars(model) | {"folder": model.base_folder, "system": "Be brief"}), tmp_path)
    second = OnnxExporter().export_adapter(other, "fp32", tmp_path / "two")
    with load(base.path, adapters={"en": first.path, "es": second.path}, threads=1, max_new_tokens=6) as assistant:
        assert (assistant.adapters, assistant.adapter, assistant.system) == (("en", "es"), "en", "Be brief")
        answer = assistant.chat("Hello")
        assistant.use("es")
        assert assistant.system is None
        assert assistant.chat("Hello") != answer
        assistant.use("en")
        assert assistant.chat("Hello") == answer


def test_an_adapter_of_a_quantised_base_runs_on_that_base_alone(make, tiny, tmp_path):
    model, tuned, _ = make(nf4=True)
    base, adapter = separate(model, tmp_path / "out")
    close(open_runtime(adapter, threads=1).logits(TOKENS), tiny.torch_logits(tuned, TOKENS))
    other = OnnxExporter().export_base(
        base_alone(tiny.tuned(model.base_folder, adapter_folder=model.adapter_folder, trained_against="base")),
        "fp32",
        tmp_path / "sixteen",
    )
    assert base.manifest.base_sha256 == other.manifest.base_sha256
    with pytest.raises(ArtifactError, match="belongs to another base: it was trained on example/tiny, rounded to NF4"):
        open_runtime(on_base(adapter, other))
    facts = {entry.key: entry.value for entry in onnx.load(base.main_file).metadata_props}
    assert facts["edgetune.adapter_base"] == adapter.manifest.adapter_base
    # Also the file itself carries a mark of its base.
    write(adapter.main_file, read_adapter(adapter.main_file).tensors, "f" * 64)
    with pytest.raises(ArtifactError, match="was written for another base than its manifest says"):
        open_runtime(Artifact(adapter.path, adapter.manifest, base))


def test_models_adapters_and_formats_are_not_taken_for_each_other(make, tmp_path):
    model, _, _ = make()
    base, adapter = separate(model, tmp_path / "out")
    runtime = open_runtime(base)
    with pytest.raises(ArtifactError, match="is a model, not an adapter"):
        adapters_of(runtime).add_adapter("x", base)
    merged = OnnxExporter().export(model, "fp32", tmp_path / "merged")
    with pytest.raises(ArtifactError, match=r"is a tuned model, and .* belongs on its untuned base"):
        adapters_of(open_runtime(merged)).add_adapter("x", adapter)
    bare = OnnxExporter().export(base_alone(model), "fp32", tmp_path / "plain")
    with pytest.raises(ArtifactError, match="has no inputs for adapters") as caught:
        adapters_of(open_runtime(bare)).add_adapter("x", adapter)
    assert "--format onnx --adapter separate --with-base" in caught.value.hint
    gguf = GgufExporter().export_adapter(model, "f16", tmp_path / "gguf")
    with pytest.raises(ArtifactError, match=r"is for llama.cpp, and .* runs in onnxruntime-genai"):
        open_with_adapters(base, {"x": gguf})
    adapter.main_file.write_bytes(b"no adapter" + adapter.main_file.read_bytes()[10:])
    with pytest.raises(ArtifactError, match="is not an ONNX adapter"):
        adapters_of(runtime).add_adapter("x", adapter)


def test_a_base_of_another_format_beside_it_is_not_taken(make, tmp_path):
    model, _, _ = make()
    GgufExporter().export_base(base_alone(model), "f32", tmp_path / "out/base-f32")
    OnnxExporter().export(base_alone(model), "fp32", tmp_path / "out/base-plain")
    base, adapter = separate(model, tmp_path / "out", "int8")
    assert on_base(adapter).beneath.path == base.path
    assert on_base(GgufExporter().export_adapter(model, "f16", tmp_path / "out/adapter-f16")).beneath.name == "tiny-f32"


def test_dora_is_approximated_and_says_what_is_missing(make, tiny, tmp_path, capsys):
    model, tuned, plain = make(use_dora=True, r=8, target_modules=["q_proj", "k_proj", "down_proj"])
    _, adapter = separate(model, tmp_path / "out")
    missing = adapter.manifest.missing
    parts = ("self_attn.q_proj", "self_attn.k_proj", "mlp.down_proj")
    assert set(missing) == {f"model.layers.{n}.{part}.weight" for n in (0, 1) for part in parts}
    assert 0 < max(missing.values()) < 0.3
    assert "DoRA approximated in 6 modules" in capsys.readouterr().err
    # The stated residual is that of the weights themselves.
    name = "model.layers.1.mlp.down_proj"
    tensors = read_adapter(adapter.main_file).tensors
    merged = copy.deepcopy(tuned).merge_and_unload()
    change = (merged.get_submodule(name).weight - plain.get_submodule(name).weight).detach().numpy()
    sum_ = (tensors[f"{name}.lora_A.weight"] @ tensors[f"{name}.lora_B.weight"]).T
    residual = np.linalg.norm(change - sum_) / np.linalg.norm(change)
    assert residual == pytest.approx(missing[f"{name}.weight"], rel=1e-3)
    expected = tiny.torch_logits(tuned, TOKENS)
    found = open_runtime(adapter, threads=1).logits(TOKENS)
    assert tiny.mean_kl(expected, found) < tiny.mean_kl(expected, tiny.torch_logits(plain, TOKENS)) / 10


def test_dora_without_a_low_rank_is_refused(make, tmp_path):
    model, tuned, _ = make(use_dora=True)
    randomise(tuned, "lora_magnitude", 2.0, 5)
    tuned.save_pretrained(model.adapter_folder)
    with pytest.raises(ExportError, match=r"DoRA's change of .* has no low rank"):
        OnnxExporter().export_adapter(model, "fp32", tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"modules_to_save": ["lm_head"]}, "cannot carry tensors that were trained whole: lm_head.weight"),
        ({"modules_to_save": ["norm"]}, r"cannot carry tensors that were trained whole: .*layernorm\.weight"),
        ({"bias": "all"}, r"cannot carry tensors that were trained whole: .*q_proj\.bias"),
        ({"target_modules": ["q_proj", "lm_head"]}, r"lm_head\.weight has no place in the graph"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, r"model\.embed_tokens\.weight has no place in the graph"),
    ],
    ids=str,
)
def test_what_has_no_place_is_refused_by_name(make, settings, reason):
    settings = {"target_modules": ["q_proj", "down_proj"], **settings}
    model, tuned, _ = make(model_settings={"attention_bias": True}, **settings)
    if "bias" in settings:
        randomise(tuned, "q_proj.base_layer.bias", 0.2, 3)
        tuned.save_pretrained(model.adapter_folder)
    with pytest.raises(ExportError, match=reason) as caught:
        OnnxExporter().plan_adapter(model, "fp32")
    assert caught.value.problems
    assert "merge it" in caught.value.hint


def test_a_vocabulary_that_grew_is_refused(make, tiny):
    model, _, plain = make()
    grown = copy.deepcopy(plain)
    grown.resize_token_embeddings(tiny.vocabulary + 2)
    adapted = get_peft_model(grown, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    adapted.save_pretrained(model.adapter_folder, save_embedding_layers=True)
    with pytest.raises(ExportError, match=r"trained whole: .*(embed_tokens|lm_head)"):
        OnnxExporter().plan_adapter(model, "fp32")


def test_other_precisions_are_refused(make):
    model, _, _ = make()
    with pytest.raises(ExportError, match="an ONNX adapter has no precision int8") as caught:
        OnnxExporter().plan_adapter(model, "int8")
    assert "fp32" in caught.value.hint
    with pytest.raises(ExportError, match="no precision 'f16'"):
        OnnxExporter().plan_adapter(model, "f16")


def test_plan_and_export_agree(make, tmp_path):
    model, _, _ = make()
    plan = OnnxExporter().plan_adapter(model, "fp32")
    _, adapter = separate(model, tmp_path / "out")
    assert plan.tensor_types == adapter.manifest.tensor_types == {"F32": 28}
    assert adapter.manifest.size_bytes <= plan.size_bytes < 1.2 * adapter.manifest.size_bytes
    assert open_artifact(adapter.path, check_hashes=True) == adapter


def test_nothing_is_asked_of_programs_that_know_no_adapters(make, tmp_path, capfd):
    """The places are no inputs that must be given, and ONNX Runtime does not warn of them."""
    model, _, _ = make()
    base, adapter = separate(model, tmp_path / "out")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(base.main_file, options)
    assert [value.name for value in session.get_inputs() if "lora" in value.name] == []
    assert len(session.get_overridable_initializers()) == 28
    for kind in RUNTIMES:
        open_in(kind, base, it=adapter).close()
    assert "Initializer" not in capfd.readouterr().err


def test_a_graph_without_a_layer_is_told():
    graph = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    with pytest.raises(ExportError, match=r"wrote no /model/layers\.0/mlp/up_proj/MatMul"):
        add_places(graph, {"model.layers.0.mlp.up_proj.weight": (8, 4), "model.norm.weight": (4,)}, half=False)
    remove_places(graph)
    assert not graph.graph.node
