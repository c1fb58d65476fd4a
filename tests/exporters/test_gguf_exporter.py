"""The whole export: what the file and its manifest say, and every way it can be refused."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from types import SimpleNamespace

import gguf
import pytest
import torch
from edgetune_gguf import GgufExporter
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from edgetune import memory
from edgetune.artifact import open_artifact
from edgetune.errors import ExportError, ModelError, ResourceError
from edgetune.exporters import find_exporter
from edgetune.models.nf4 import nf4_round_trip

TOKENS = list(range(5, 45))
ORIGINAL = {"rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, **ORIGINAL}
LONGROPE = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8, **ORIGINAL}


@pytest.fixture
def base(tmp_path, tiny):
    tiny.save_model(tmp_path / "base", "Llama")
    return tmp_path / "base"


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def nothing_beside(folder, *expected):
    return sorted(path.name for path in folder.iterdir()) == sorted(expected)


def metadata(file):
    return {name: field.contents() for name, field in gguf.GGUFReader(file).fields.items()}


def test_it_is_found_through_its_entry_point():
    assert isinstance(find_exporter("gguf"), GgufExporter)
    assert GgufExporter().precisions[:4] == ("f32", "bf16", "f16", "q8_0")


def test_file_and_manifest_say_what_the_model_is(tmp_path, tiny, base):
    model = tiny.tuned(base, system="Answer in JSON", licence="apache-2.0", run="runs-1", base_source=str(base))
    artifact = GgufExporter().export(model, "q8_0", tmp_path / "export")
    assert nothing_beside(tmp_path / "export", "manifest.json", "tiny-q8_0.gguf")
    assert open_artifact(tmp_path / "export", check_hashes=True).manifest == artifact.manifest
    manifest = artifact.manifest
    assert (manifest.name, manifest.precision, manifest.weights) == ("tiny-q8_0", "q8_0", "whole")
    assert (manifest.architecture, manifest.merged_into) == ("LlamaForCausalLM", "none")
    assert (manifest.context_length, manifest.stop_ids, manifest.system) == (128, (259,), "Answer in JSON")
    assert manifest.parameters == sum(tensor.numel() for tensor in load_file(base / "model.safetensors").values())
    assert manifest.size_bytes == artifact.main_file.stat().st_size
    keys = metadata(artifact.main_file)
    assert keys["general.license"] == "apache-2.0"
    assert keys["general.file_type"] == 7
    assert keys["general.quantization_version"] == 2
    assert keys["general.base_model.0.name"] == "base", "folders of this machine stay private"
    assert keys["edgetune.base_sha256"] == "0" * 64
    assert keys["edgetune.run"] == "runs-1"
    assert keys["edgetune.system"] == "Answer in JSON"
    assert keys["tokenizer.ggml.eos_token_id"] == 259
    assert "im_start" in keys["tokenizer.chat_template"]


def test_the_plan_predicts_the_file(tmp_path, tiny, base):
    for precision in ("f32", "q8_0", "q4_k_m"):
        plan = GgufExporter().plan(tiny.tuned(base), precision)
        artifact = GgufExporter().export(tiny.tuned(base), precision, tmp_path / precision)
        assert plan.tensor_types == artifact.manifest.tensor_types
        assert plan.fallbacks == artifact.manifest.fallbacks
        assert abs(plan.size_bytes - artifact.manifest.size_bytes) < 16_000, "metadata is estimated, tensors are not"


@pytest.mark.parametrize("against", ["base", "nf4"])
def test_an_adapter_is_merged_into_what_it_was_trained_against(tmp_path, tiny, against):
    model = tiny.save_model(tmp_path / "base", "Llama")
    modules = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear) and "head" not in name]
    for name in modules if against == "nf4" else ():
        part = model.get_submodule(name)
        part.weight.data = nf4_round_trip(part.weight.data)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.2 * torch.randn(parameter.shape)
    adapted.save_pretrained(tmp_path / "adapter")
    tuned = tiny.tuned(
        tmp_path / "base",
        adapter_folder=tmp_path / "adapter",
        trained_against=against,
        quantised_modules=tuple(modules) if against == "nf4" else (),
    )
    artifact = GgufExporter().export(tuned, "f32", tmp_path / "export")
    assert (artifact.manifest.weights, artifact.manifest.merged_into) == ("merged", against)
    found = tiny.llama_logits(artifact.main_file, TOKENS)
    assert tiny.mean_kl(tiny.torch_logits(adapted.eval(), TOKENS), found) < 1e-5


def test_an_adapter_on_a_tied_head_gets_an_output_tensor(tmp_path, tiny):
    model = tiny.save_model(tmp_path / "base", "Llama", tie_word_embeddings=True)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["lm_head", "q_proj"]))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.2 * torch.randn(parameter.shape)
    adapted.save_pretrained(tmp_path / "adapter")
    tuned = tiny.tuned(tmp_path / "base", adapter_folder=tmp_path / "adapter", trained_against="base")
    artifact = GgufExporter().export(tuned, "f32", tmp_path / "export")
    found = tiny.llama_logits(artifact.main_file, TOKENS)
    assert tiny.mean_kl(tiny.torch_logits(adapted.eval(), TOKENS), found) < 1e-5


def test_gemma2_cannot_hold_a_head_of_its_own(tmp_path, tiny):
    tiny.save_model(tmp_path / "base", "Gemma2", head_dim=16, query_pre_attn_scalar=16)
    edit_config(tmp_path / "base", tie_word_embeddings=False)
    edit_weights(tmp_path / "base", lambda tensors: tensors.update({"lm_head.weight": torch.zeros(272, 64)}))
    with pytest.raises(ExportError, match="no output tensor of its own"):
        GgufExporter().plan(tiny.tuned(tmp_path / "base"), "f32")


def test_a_head_stored_twice_is_written_once_if_it_is_the_same(tmp_path, tiny):
    tiny.save_model(tmp_path / "base", "Llama", tie_word_embeddings=True)
    embedding = "model.embed_tokens.weight"
    edit_weights(tmp_path / "base", lambda tensors: tensors.update({"lm_head.weight": tensors[embedding].clone()}))
    artifact = GgufExporter().export(tiny.tuned(tmp_path / "base"), "f32", tmp_path / "export")
    assert "output.weight" not in {tensor.name for tensor in gguf.GGUFReader(artifact.main_file).tensors}
    edit_weights(tmp_path / "base", lambda tensors: tensors.update({"lm_head.weight": tensors[embedding] + 1}))
    with pytest.raises(ExportError, match="tie_word_embeddings"):
        GgufExporter().plan(tiny.tuned(tmp_path / "base"), "f32")


def test_every_missing_odd_and_surplus_tensor_is_named(tmp_path, tiny, base):
    def change(tensors):
        del tensors["model.layers.1.mlp.up_proj.weight"]
        del tensors["lm_head.weight"]
        tensors["model.layers.0.self_attn.q_proj.weight"] = torch.zeros(60, 64)
        tensors["model.layers.0.self_attn.sinks"] = torch.zeros(4)

    edit_weights(base, change)
    with pytest.raises(ExportError, match="do not fit their config") as caught:
        GgufExporter().export(tiny.tuned(base), "f32", tmp_path / "export")
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    for part in (
        "layers.1.mlp.up_proj.weight is missing",
        "lm_head.weight is missing",
        "(60, 64)",
        "sinks has no place",
    ):
        assert part in text
    assert not (tmp_path / "export").exists()


def test_a_vocabulary_of_another_size_is_refused(tmp_path, tiny, base):
    edit_weights(base, lambda tensors: tensors.update({"model.embed_tokens.weight": torch.zeros(280, 64)}))
    with pytest.raises(ExportError, match=r"embed_tokens.weight has shape \(280, 64\)"):
        GgufExporter().plan(tiny.tuned(base), "f32")


def test_values_that_are_not_finite_are_refused_and_nothing_is_left(tmp_path, tiny, base):
    edit_weights(base, lambda tensors: tensors["model.layers.1.mlp.up_proj.weight"].fill_(float("nan")))
    with pytest.raises(ExportError, match=r"blk\.1\.ffn_up\.weight holds values that are not finite"):
        GgufExporter().export(tiny.tuned(base), "q8_0", tmp_path / "export")
    assert nothing_beside(tmp_path, "base")
    edit_weights(base, lambda tensors: tensors["model.layers.1.mlp.up_proj.weight"].fill_(1e5))
    with pytest.raises(ExportError, match="too large for F16"):
        GgufExporter().export(tiny.tuned(base), "f16", tmp_path / "export")
    GgufExporter().export(tiny.tuned(base), "bf16", tmp_path / "export")


def test_a_truncated_weight_file_is_one_message(tmp_path, tiny, base):
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged weights"):
        GgufExporter().export(tiny.tuned(base), "q8_0", tmp_path / "export")
    assert nothing_beside(tmp_path, "base")


@pytest.mark.parametrize(
    ("family", "changes", "named"),
    [
        ("Llama", {"hidden_act": "gelu"}, "activation gelu"),
        ("Llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "'dynamic'"),
        ("Llama", {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        (
            "Llama",
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "mscale": 0.7}},
            "'mscale' has no place",
        ),
        ("Qwen2", {"rope_parameters": LLAMA3}, "'llama3'"),
        ("Gemma2", {"attn_logit_softcapping": None}, "attn_logit_softcapping is off"),
        ("Gemma2", {"query_pre_attn_scalar": 99}, "query_pre_attn_scalar 99"),
        ("Gemma2", {"layer_types": ["full_attention", "full_attention", "sliding_attention"]}, "layer_types"),
        ("Gemma3", {"attn_logit_softcapping": 30.0}, "attn_logit_softcapping"),
        ("Gemma3", {"use_bidirectional_attention": True}, "bidirectional"),
        ("SmolLM3", {"no_rope_layers": [1, 0, 1]}, "no_rope_layers"),
        ("Granite", {"rope_parameters": LONGROPE}, "'longrope'"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(tmp_path, tiny, family, changes, named):
    extra = {"head_dim": 16, "query_pre_attn_scalar": 16} if "Gemma" in family else {}
    tiny.save_model(tmp_path / "base", family, num_hidden_layers=3, **extra)
    edit_config(tmp_path / "base", **changes)
    with pytest.raises(ExportError, match=r"llama\.cpp cannot compute") as caught:
        GgufExporter().plan(tiny.tuned(tmp_path / "base"), "q8_0")
    assert named in "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("content", "named"), [("{", "damaged"), ("{}", "names no architecture"), ('{"architectures": []}', "names no")]
)
def test_a_useless_config_is_one_message(tiny, base, content, named):
    (base / "config.json").write_text(content)
    with pytest.raises(ModelError, match=named):
        GgufExporter().plan(tiny.tuned(base), "q8_0")
    (base / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        GgufExporter().plan(tiny.tuned(base), "q8_0")


def test_a_window_that_llama_cpp_does_not_have_shortens_the_context(tmp_path, tiny):
    tiny.save_model(tmp_path / "base", "Mistral", sliding_window=48)
    plan = GgufExporter().plan(tiny.tuned(tmp_path / "base"), "f32")
    assert "context length 48 instead of 128" in plan.notes[0]
    artifact = GgufExporter().export(tiny.tuned(tmp_path / "base"), "f32", tmp_path / "export")
    assert artifact.manifest.context_length == 48
    assert metadata(artifact.main_file)["llama.context_length"] == 48


def test_a_plan_tells_when_llama_cpp_picks_other_factors(tmp_path, tiny):
    tiny.save_model(tmp_path / "base", "Phi3", rope_parameters=LONGROPE, original_max_position_embeddings=32)
    (note,) = GgufExporter().plan(tiny.tuned(tmp_path / "base"), "f32").notes
    assert "above 32 tokens" in note


def test_too_little_disk_is_said_before_anything_is_written(tmp_path, tiny, base, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ResourceError, match="the q8_0 file needs"):
        GgufExporter().export(tiny.tuned(base), "q8_0", tmp_path / "export")
    assert nothing_beside(tmp_path, "base")


def test_too_little_memory_is_said_before_anything_is_written(tmp_path, tiny, base, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    with pytest.raises(ResourceError, match="of memory"):
        GgufExporter().export(tiny.tuned(base), "q8_0", tmp_path / "export")
    assert nothing_beside(tmp_path, "base")


def test_a_full_disk_in_the_middle_leaves_nothing(tmp_path, tiny, base):
    """/dev/full stands in for the disk: every write to it fails as on a full one."""
    from edgetune_gguf import writing

    original = writing._write_head

    def head_on_a_full_disk(path, *rest):
        original(path, *rest)
        path.unlink()
        path.symlink_to("/dev/full")

    writing._write_head = head_on_a_full_disk
    try:
        with pytest.raises(ResourceError, match="disk full"):
            GgufExporter().export(tiny.tuned(base), "q8_0", tmp_path / "export")
    finally:
        writing._write_head = original
    assert nothing_beside(tmp_path, "base")


def test_a_read_only_folder_is_one_message(tmp_path, tiny, base, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(ResourceError, match=r"cannot write .*export: Read-only file system"):
        GgufExporter().export(tiny.tuned(base), "q8_0", tmp_path / "export")


@pytest.mark.parametrize("precision", ["f16", "q8_0"])
def test_the_size_of_a_task_does_not_change_the_file(tmp_path, tiny, base, monkeypatch, precision):
    large = GgufExporter().export(tiny.tuned(base), precision, tmp_path / "large")
    monkeypatch.setattr("edgetune_gguf.quantiser.TASK_VALUES", 1)  # a row, or a head where heads are reordered
    small = GgufExporter().export(tiny.tuned(base), precision, tmp_path / "small")
    assert small.sha256 == large.sha256
    assert open_artifact(small.path, check_hashes=True).sha256 == small.sha256


def test_an_interrupted_export_keeps_the_former_artifact(tmp_path, tiny, base, monkeypatch):
    former = GgufExporter().export(tiny.tuned(base), "q8_0", tmp_path / "export")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("edgetune_gguf.quantiser.Workers.quantise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        GgufExporter().export(tiny.tuned(base, name="other"), "q8_0", tmp_path / "export")
    assert open_artifact(tmp_path / "export", check_hashes=True).manifest == former.manifest
    assert nothing_beside(tmp_path, "base", "export")


def test_a_second_export_replaces_the_first(tmp_path, tiny, base):
    GgufExporter().export(tiny.tuned(base), "q8_0", tmp_path / "export")
    GgufExporter().export(tiny.tuned(base, name="other"), "q8_0", tmp_path / "export")
    assert nothing_beside(tmp_path / "export", "manifest.json", "other-q8_0.gguf")
