"""Runs in Optimum's environment: a classifier in its own class; texts or files in, classes and logits out, as JSON."""

import json
import sys

import torch
from optimum.onnxruntime import ORTModelForImageClassification, ORTModelForSequenceClassification
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedTokenizerFast


def read_texts(job, given):
    """Model inputs of one text, by transformers' tokenizer."""
    if job["tokenizer"] == "auto":
        tokenizer = AutoTokenizer.from_pretrained(job["folder"])
    else:
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{job['folder']}/tokenizer.json")
    return tokenizer(given, truncation=True, max_length=job["max_tokens"], return_tensors="pt")


def read_pictures(job, given):
    """Model inputs of one picture's file, by the processor that preprocessor_config.json names."""
    processor = AutoImageProcessor.from_pretrained(job["folder"], use_fast=False)
    return processor(Image.open(given), return_tensors="pt")


#: Task → Optimum's class, and what makes its inputs of what is given.
TASKS = {
    "text-classification": (ORTModelForSequenceClassification, read_texts),
    "image-classification": (ORTModelForImageClassification, read_pictures),
}

job = json.load(sys.stdin)
kind, read = TASKS[job["task"]]
model = kind.from_pretrained(job["folder"], file_name=job["graph"])
found = []
for given in job["given"]:
    inputs = read(job, given)
    with torch.no_grad():
        logits = model(**{name: inputs[name] for name in model.input_names if name in inputs}).logits[0]
    found.append({"label": model.config.id2label[int(logits.argmax())], "logits": logits.tolist()})
print(json.dumps({"labels": [model.config.id2label[n] for n in range(len(model.config.id2label))], "found": found}))
