"""Real weights: merged over NF4 the model is the trained one, merged into the base as stored it is another."""

from __future__ import annotations

import torch
from realruns import QUESTIONS, smollm2_run
from transformers import AutoModelForCausalLM, AutoTokenizer

from edgetune.merging.merge import Wanted, merge
from edgetune.runtimes.protocol import Decoding
from edgetune.runtimes.torch_runtime import open_torch


def test_the_merged_folder_is_the_trained_model(tmp_path):
    run = smollm2_run(tmp_path)
    record = merge(run, Wanted(rows=4))
    unmerged, nf4, base = (record.form(name).scores[0].value for name in ("unmerged", "nf4", "base"))
    assert record.chosen == "nf4"
    assert abs(nf4 - unmerged) < 1e-4 * unmerged
    assert abs(base - unmerged) > 0.01 * unmerged
    assert record.rounding.layers == 210
    tokenizer, model = (kind.from_pretrained(run.merged_folder) for kind in (AutoTokenizer, AutoModelForCausalLM))
    reference = open_torch(run)
    for question in list(QUESTIONS)[:2]:
        talk = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
        assert ids == reference.tokenizer.encode(reference.tokenizer.render(talk))
        (expected,) = reference.generate([ids], Decoding(max_new_tokens=16))
        made = model.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)[0, len(ids) :].tolist()
        assert made[: len(expected.tokens)] == list(expected.tokens)
