"""A classifier whose graph is made by hand, so that nothing need be trained."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper
from tinyclassifier import tokenizer

from edgetune import files
from edgetune.artifact import Artifact, ArtifactManifest, write_manifest

#: Ids of "good" and "bad" in the tiny vocabulary.
GOOD, BAD = 5, 9


def write_classifier(folder, labels=("negative", "positive"), classes=2) -> Artifact:
    """Counts "bad" and "good" in a text: logits are [bads, goods] where there are two classes."""
    folder.mkdir(parents=True)
    table = np.zeros((23, classes), np.float32)
    table[BAD, 0] = table[GOOD, 1] = 1.0
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["float_mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["float_mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
    ]
    shape = ["batch", "sequence"]
    graph = helper.make_graph(
        nodes,
        "counts",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [
            onnx.numpy_helper.from_array(table, "table"),
            onnx.numpy_helper.from_array(np.array([2]), "last"),
            onnx.numpy_helper.from_array(np.array([1]), "middle"),
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "model.onnx"
    )
    tokenizer().save_pretrained(folder)
    hashes = dict(files.sha256_files(folder))
    manifest = ArtifactManifest(
        name="tiny-fp32",
        format="onnx",
        precision="fp32",
        runtime="onnxruntime",
        main_file="model.onnx",
        weights="merged",
        architecture="BertForSequenceClassification",
        base_source="x",
        base_sha256="x",
        merged_into="base",
        chat_template_sha256="",
        stop_ids=(),
        system=None,
        context_length=6,
        parameters=1,
        tensor_types={},
        fallbacks={},
        task="text-classification",
        labels=labels,
        sha256=hashes,
        size_bytes=sum((folder / name).stat().st_size for name in hashes),
        edgetune="0",
        created="2026-01-01T00:00:00Z",
    )
    return write_manifest(folder, manifest)
