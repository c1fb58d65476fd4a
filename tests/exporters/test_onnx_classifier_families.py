"""Classifiers of other families than BERT: the graph says what torch says, for any batch, length and padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
import transformers
from edgetune_onnx import OnnxExporter, classifier, classifier_graph
from safetensors.torch import load_file, save_file
from tinyclassifier import write_base

from edgetune.errors import ExportError
from edgetune.exporters import TunedModel
from edgetune.runtimes.torch_classifier import load_classifier

SIZES = {"vocab_size": 23, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 32, "max_position_embeddings": 32, "pad_token_id": 0}
FAMILIES = {
    "DistilBert": {"dim": 16, "hidden_dim": 32, "n_layers": 1, "n_heads": 2},
    "Roberta": {"max_position_embeddings": 34, "pad_token_id": 1},
    "ModernBert": {"num_hidden_layers": 4, "local_attention": 8},
    "Llama": {"num_key_value_heads": 2},
}


def tiny(family, folder):
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SIZES | FAMILIES[family], num_labels=2)
    base = write_base(folder, getattr(transformers, f"{family}ForSequenceClassification")(config))
    return TunedModel(
        name="tiny",
        base_folder=base,
        adapter_folder=None,
        trained_against=None,
        quantised_modules=(),
        tokenizer_folder=base,
        base_source="tiny",
        base_sha256="0",
        task="text-classification",
        labels=("bad", "good"),
        max_tokens=32,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_is_the_model(tmp_path, family):
    import onnxruntime

    model = tiny(family, tmp_path / "base")
    config = load_classifier(model).config
    classifier_graph.write(model, "fp32", tmp_path / "model.onnx", {})
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    torch_model = load_classifier(model)
    for rows, length in ((1, 3), (3, 7), (2, 32), (4, 1)):
        ids = torch.randint(5, 23, (rows, length))
        mask = torch.ones(rows, length, dtype=torch.long)
        if length > 4:
            ids[0, 4:], mask[0, 4:] = config.pad_token_id, 0
        with torch.no_grad():
            expected = torch_model(input_ids=ids, attention_mask=mask).logits.numpy()
        (found,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        assert np.allclose(found, expected, atol=1e-5)


def test_it_is_traced_once_for_all_precisions_and_anew_when_it_changed(tmp_path, monkeypatch):
    traced, honest = [], classifier_graph._trace
    monkeypatch.setattr(classifier_graph, "_trace", lambda *given: (traced.append(given), honest(*given)))
    model = tiny("DistilBert", tmp_path / "base")
    for name, precision in (("one", "fp32"), ("half", "fp16"), ("eight", "int8"), ("again", "fp32")):
        classifier_graph.write(model, precision, tmp_path / name, {"name": name})
    assert len(traced) == 1
    one, again = (onnx.load(tmp_path / name) for name in ("one", "again"))
    assert [fact.value for fact in again.metadata_props] == ["again"]
    assert one.graph == again.graph, "no precision changed what the others start from"
    changed = [{"labels": ("good", "bad")}, {"max_tokens": 16}, {"adapter_folder": tmp_path / "base"}]
    known = {classifier_graph._content(replace(model, **change)) for change in [{}, *changed]}
    assert len(known) == 4
    weights = load_file(model.base_folder / "model.safetensors")
    save_file(
        {name: 2 * value for name, value in weights.items()}, model.base_folder / "model.safetensors", {"format": "pt"}
    )
    classifier_graph.write(model, "fp32", tmp_path / "other", {})
    assert len(traced) == 2
    assert onnx.load(tmp_path / "other").graph != one.graph


def test_what_one_file_cannot_hold_is_refused_before_it_is_traced(tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "count_parameters", lambda _: 560_000_000)
    with pytest.raises(ExportError, match="560 million weights does not fit into one float32 ONNX file of 2 GB"):
        OnnxExporter().plan(tiny("DistilBert", tmp_path / "base"), "int8")
