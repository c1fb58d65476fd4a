"""The merged folder is what plain transformers loads, and writing it takes the memory of about one tensor."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from tinymodels import tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from edgetune.adapters.merged_folder import write_merged
from edgetune.adapters.merging import HEAD, MergedWeights
from edgetune.errors import ModelError
from edgetune.models.nf4 import nf4_round_trip
from edgetune.models.weights import weight_files

LAYERS = [f"model.layers.{i}.{part}" for i in range(2) for part in ("self_attn.q_proj", "mlp.up_proj")]


@pytest.fixture
def tokenizer_folder(tmp_path):
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture
def written(tmp_path, tokenizer_folder):
    """``written(weights)``: the folder of a merged model."""

    def write(weights, **options):
        folder = tmp_path / "merged"
        folder.mkdir()
        write_merged(folder, weights, tokenizer_folder, **options)
        return folder

    return write


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"use_dora": True},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["embed_tokens"]},
    ],
    ids=["lora", "rslora", "dora", "saved-head", "embedding"],
)
def test_plain_transformers_loads_the_tuned_model(tmp_path, tiny, written, settings, tied):
    base = tiny.save_base(tmp_path / "base", tied=tied)
    tuned = tiny.save_adapter(base, tmp_path / "adapter", **settings)
    folder = written(MergedWeights(base, tmp_path / "adapter", "base"))
    loaded, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    torch.testing.assert_close(tiny.logits(loaded.eval()), tiny.logits(tuned), atol=1e-5, rtol=1e-5)


def test_the_rounded_base_is_in_the_folder(tmp_path, tiny, written):
    base = tiny.save_base(tmp_path / "base")
    tiny.save_adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    folder = written(MergedWeights(base, tmp_path / "adapter", "nf4", LAYERS))
    before, after = load_file(base / "model.safetensors"), load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    torch.testing.assert_close(after[name], nf4_round_trip(before[name]))
    assert not torch.equal(after[name], before[name])
    assert torch.equal(after[HEAD], before[HEAD])


def test_types_are_those_of_the_base(tmp_path, tiny, written):
    base = tiny.save_base(tmp_path / "base", dtype=torch.bfloat16)
    tiny.save_adapter(base, tmp_path / "adapter", modules_to_save=["lm_head"])
    weights = MergedWeights(base, tmp_path / "adapter", "base")
    stored = load_file(written(weights) / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    for name, tensor in stored.items():
        assert torch.equal(tensor, torch.from_numpy(weights.read(name)).bfloat16()), name
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "merged").dtype == torch.bfloat16


def test_a_large_model_becomes_shards_with_an_index(tmp_path, tiny, written):
    base = tiny.save_base(tmp_path / "base")
    tuned = tiny.save_adapter(base, tmp_path / "adapter")
    folder = written(MergedWeights(base, tmp_path / "adapter", "base"), shard_bytes=20_000)
    files = weight_files(folder)
    assert len(files) > 2
    assert all(file.stat().st_size < 25_000 for file in files)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(t.nbytes for file in files for t in load_file(file).values())
    loaded = AutoModelForCausalLM.from_pretrained(folder).eval()
    torch.testing.assert_close(tiny.logits(loaded), tiny.logits(tuned), atol=1e-5, rtol=1e-5)


def test_answers_end_where_the_template_ends_them(tmp_path, tiny, written):
    """The base's own end is kept, and its other settings with it."""
    base = tiny.save_base(tmp_path / "base")
    (base / "generation_config.json").write_text('{"eos_token_id": 9, "repetition_penalty": 1.1}')
    folder = written(MergedWeights(base))
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert loaded.generation_config.eos_token_id == [tokenizer.convert_tokens_to_ids("<|im_end|>"), 9]
    assert loaded.generation_config.repetition_penalty == 1.1
    talk = [{"role": "user", "content": "hello"}]
    assert tokenizer.apply_chat_template(talk, tokenize=False) == "<|im_start|>user\nhello<|im_end|>\n"


def test_damaged_settings_are_one_message(tmp_path, tiny, written):
    base = tiny.save_base(tmp_path / "base")
    (base / "generation_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"generation_config\.json"):
        written(MergedWeights(base))


#: Runs alone so that nothing else moves the peak. Writing 5 to clear_refs resets it (proc(5)).
MEASURE = """
import json, sys
from pathlib import Path
from edgetune.adapters.merged_folder import write_merged
from edgetune.adapters.merging import MergedWeights

def status(key):
    line = next(line for line in open("/proc/self/status") if line.startswith(key))
    return int(line.split()[1]) * 1024

small, base, tokenizer, out = map(Path, sys.argv[1:5])
def write(folder, layers, name):
    modules = [f"model.layers.{i}.mlp.{part}_proj" for i in range(layers) for part in ("gate", "up", "down")]
    (out / name).mkdir(parents=True)
    write_merged(out / name, MergedWeights(folder, folder / "adapter", "nf4", modules), tokenizer)
write(small, 1, "warm")
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
write(base, 10, "big")
print(json.dumps({"peak": status("VmHWM") - before}))
"""


def save_large(folder, layers, inner):
    """A base of bfloat16 tensors with an adapter on every linear layer of its MLPs."""
    config = LlamaConfig(
        hidden_size=256,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=64,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    adapter = {}
    for i in range(layers):
        for part, shape in (("gate", (inner, 256)), ("up", (inner, 256)), ("down", (256, inner))):
            module = f"base_model.model.model.layers.{i}.mlp.{part}_proj"
            adapter[f"{module}.lora_A.weight"] = torch.ones(2, shape[1])
            adapter[f"{module}.lora_B.weight"] = torch.ones(shape[0], 2)
    (folder / "adapter").mkdir()
    save_file(adapter, folder / "adapter/adapter_model.safetensors", metadata={"format": "pt"})
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["gate_proj", "up_proj", "down_proj"]}
    (folder / "adapter/adapter_config.json").write_text(json.dumps(settings))
    return folder


def test_writing_holds_about_one_tensor(tmp_path, tokenizer_folder):
    """Thirty tensors of 8 MB in float32, each merged over its rounded base: the peak is that of one.

    The allocator gives back at once what is freed, so that the peak is what is really held.
    """
    small, base = save_large(tmp_path / "small", 1, 64), save_large(tmp_path / "base", 10, 8192)
    largest, total = 8192 * 256 * 4, 30 * 8192 * 256 * 4
    command = [sys.executable, "-c", MEASURE, small, base, tokenizer_folder, tmp_path / "out"]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "500000"}
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    found = json.loads(done.stdout)
    assert (tmp_path / "out/big/model.safetensors").stat().st_size > total / 2
    # Values as read, before and after packing to NF4, and as written.
    assert largest < found["peak"] < 4.5 * largest
    assert found["peak"] < total / 6
