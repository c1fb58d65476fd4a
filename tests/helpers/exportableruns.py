"""Fixtures: a tiny trained run that the real exporter exports and llama.cpp runs."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from rowfiles import write_rows
from tinyexports import save_model, save_tokenizer
from tinyruns import ROWS

from edgetune.models import resolve_base
from edgetune.models.nf4 import nf4_round_trip
from edgetune.recipe import ModelSettings, Resolved, validate
from edgetune.run import Run, create_run

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make_run(tmp_path):
    """``make_run(seed, method, rank)``: a run whose adapter is random and, unless ``strength`` is low, large enough."""

    def make(seed: int = 0, method: str = "lora", rank: int = 4, strength: float = 0.05, **settings) -> Run:
        folder = tmp_path / f"run-{method}-{seed}-{strength}"
        base = tmp_path / f"base-{method}-{seed}-{strength}"
        model = save_model(base, "Llama", seed, **settings)
        recipe = validate(
            {
                "name": "tiny",
                "model": {"source": str(base)},
                "task": {"system": "Be brief", "max_new_tokens": 8},
                "verify": {"rows": 6},
            },
            "test",
        )
        run = create_run(Resolved(recipe, {}, tmp_path / "recipe.yaml"), folder, created="now", version="0")
        run.data_folder.mkdir()
        write_rows(run.heldout_file, ROWS)
        _save_adapter(model, run.adapter_folder, seed, method, rank, strength)
        save_tokenizer(run.tokenizer_folder)
        run.update_manifest(
            state="trained",
            base_folder=str(base),
            base_sha256=resolve_base(ModelSettings(source=str(base)), tmp_path).sha256,
            base_source=str(base),
            trained_against="nf4" if method == "qlora" else "base",
            quantised_modules=_linear(model) if method == "qlora" else (),
        )
        return run

    return make


def _linear(model: torch.nn.Module) -> tuple[str, ...]:
    return tuple(n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head")


def _save_adapter(model: torch.nn.Module, folder: Path, seed: int, method: str, rank: int, strength: float) -> None:
    model = copy.deepcopy(model)
    if method == "qlora":
        for name in _linear(model):
            weight = model.get_submodule(name).weight
            weight.data = nf4_round_trip(weight.data)
    torch.manual_seed(seed + 100)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=LINEAR,
        use_rslora=method == "rslora",
        use_dora=method == "dora",
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data = strength * torch.randn(parameter.shape)
        if "magnitude" in name:
            parameter.data *= 1 + 0.2 * torch.rand(parameter.shape)
    adapted.save_pretrained(folder)
