"""Runs in Optimum's environment: an ONNX folder in ORTModelForCausalLM; prompts as JSON in, tokens as JSON out."""

import json
import sys
from pathlib import Path

import torch
from optimum.onnxruntime import ORTModelForCausalLM
from transformers import AutoConfig

job = json.load(sys.stdin)
graph = Path(job["graph"])
config = AutoConfig.from_pretrained(job["folder"])
model = ORTModelForCausalLM.from_pretrained(
    job["folder"], subfolder=graph.parent.as_posix(), file_name=graph.name, config=config, use_cache=True
)
found = []
for prompt in job["prompts"]:
    ids = torch.tensor([prompt])
    answer = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=job["new_tokens"], do_sample=False, pad_token_id=0
    )
    found.append(answer[0, len(prompt) :].tolist())
print(json.dumps(found))
