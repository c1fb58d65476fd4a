"""ONNX folders: good ones pass, every planted fault is caught by the check that is meant to."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest
from edgetune_onnx import blocks
from faults import (
    drop_magnitudes,
    export_with,
    fit_manifest,
    flip_a_byte,
    forget_rslora,
    older,
    other_adapter,
    silence_layer,
)
from faults_onnx import edit_graph, edit_settings, replace_values, tensor
from rowfiles import write_rows
from tinyruns import ROWS
from verdicts import failed

from edgetune.adapters.tuned import tuned_model
from edgetune.exporting import Wanted, export, find_source
from edgetune.verification.verify import Verifier, verify_portable

PRECISIONS = ("fp32", "fp16", "int8", "int8_k_quant", "int4", "int4_rtn", "int4_last", "int4_mixed", "int4_b16")
SIZES = {"intermediate_size": 128}


@pytest.fixture
def make(make_run):
    return lambda *given, **settings: make_run(*given, **{**SIZES, **settings})


@pytest.mark.parametrize("seed", range(20))
def test_no_false_alarm(make, seed):
    method = ("lora", "qlora", "rslora", "dora")[seed % 4]
    verifier = Verifier(run := make(seed, method, tie_word_embeddings=seed % 8 < 4), quick=True)
    for precision in PRECISIONS:
        found = verifier.verify(export(run, "onnx", precision))
        # Four bits are too few for a network this small and random: only what bits cannot excuse is held against them.
        lossy = {"distributions", "endings"} if precision.startswith("int4") else set()
        assert {check.name for check in found.failed} <= lossy, (precision, found.failed)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("seed", "method"), enumerate(("lora", "qlora", "rslora", "dora")))
def test_no_false_alarm_of_errors_that_make_up_for_one_another(make, seed, method, tied):
    run = make(seed, method, tie_word_embeddings=tied)
    write_rows(run.train_file, ROWS)
    verifier = Verifier(run, quick=True)
    for part in find_source(str(run.folder)).parts(Wanted("onnx", ("int4_gptq", "int4_gptq_mixed"))):
        found = verifier.verify(part.write())
        assert {check.name for check in found.failed} <= {"distributions", "endings"}, (part.precision, found.failed)


@pytest.mark.parametrize("precision", ["int8", "int8_k_quant", "int4", "int4_rtn", "int4_mixed"])
@pytest.mark.parametrize("strength", [0.02, 0.002])
def test_hardly_trained_and_trained_on(make, tmp_path, precision, strength):
    """Where a fine-tune is far smaller than the rounding, its own graph is told from that of an older adapter."""
    run = make(method="qlora", strength=strength)
    artifact = export(run, "onnx", precision)
    assert weights_of(run, artifact).passed
    adapter = other_adapter(tuned_model(run), tmp_path / "bad", older)
    found = weights_of(run, export_with(tuned_model(run), precision, artifact, adapter_folder=adapter))
    assert found.passed is False
    assert "of the trained weights" in " ".join(found.problems)


def test_what_other_libraries_rounded_is_not_rounded_again(make, tmp_path, monkeypatch):
    run = make(method="qlora", strength=0.002)
    artifact = export(run, "onnx", "int4")
    adapter = other_adapter(tuned_model(run), tmp_path / "bad", older)
    planted = export_with(tuned_model(run), "int4", artifact, adapter_folder=adapter)
    monkeypatch.setattr(blocks, "identity", lambda: "onnxruntime 1.0, onnxruntime-genai 0.1")
    assert not any("makes of the trained weights" in problem for problem in weights_of(run, planted).problems)


def weights_of(run, artifact):
    (check,) = [c for c in Verifier(run, quick=True).verify(artifact).checks if c.name == "weights"]
    return check


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4_rtn"])
@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("lora", silence_layer),
        ("rslora", forget_rslora),
        ("dora", drop_magnitudes),
        ("lora", older),
        ("qlora", older),
    ],
)
def test_faults_of_the_adapter(make, tmp_path, precision, method, change):
    run = make(method=method)
    artifact = export(run, "onnx", precision)
    adapter = other_adapter(tuned_model(run), tmp_path / "bad", change)
    planted = export_with(tuned_model(run), precision, artifact, adapter_folder=adapter)
    assert "weights" in failed(run, planted)


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4_rtn"])
def test_a_merge_into_the_wrong_base(make, precision):
    run = make(method="qlora")
    artifact = export(run, "onnx", precision)
    planted = export_with(tuned_model(run), precision, artifact, trained_against="base", quantised_modules=())
    found = Verifier(run, quick=True).verify(planted)
    (check,) = [check for check in found.failed if check.name == "weights"]
    assert "merged into the 16-bit base" in check.cause


def wrong_end(settings):
    settings["model"]["eos_token_id"] = [258]


def another_context(settings):
    settings["model"]["context_length"] = 64


def another_template(settings):
    settings["chat_template"] = settings["chat_template"].replace("assistant", "model")


def begin_twice(settings):
    settings["add_bos_token"] = True


def another_search(settings):
    settings["search"].update(repetition_penalty=1.9, temperature=2.0, do_sample=True, max_length=5)


def other_tokens(settings):
    settings["model"].update(bos_token_id=9, pad_token_id=9, type="phi")


def penalise(settings):
    settings.update(repetition_penalty=1.9, max_length=5, bad_words_ids=[[7]])


def tie_flag(settings):
    settings["tie_word_embeddings"] = not settings["tie_word_embeddings"]


def other_session(settings):
    settings["model"]["decoder"]["session_options"]["graph_optimization_level"] = "ORT_DISABLE_ALL"


def another_part(settings):
    settings["engine"] = {"dynamic_batching": {}}


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("genai_config.json", other_session, {"metadata"}),
        ("genai_config.json", another_part, {"metadata"}),
        ("genai_config.json", wrong_end, {"metadata"}),
        ("genai_config.json", another_context, {"metadata"}),
        ("tokenizer_config.json", another_template, {"metadata", "prompts"}),
        ("tokenizer_config.json", begin_twice, {"metadata"}),
        ("config.json", tie_flag, {"metadata"}),
        ("genai_config.json", another_search, {"metadata"}),
        ("genai_config.json", other_tokens, {"metadata"}),
        ("generation_config.json", penalise, {"metadata"}),
    ],
)
def test_faults_of_the_settings(make, name, change, expected):
    run = make()
    assert failed(run, edit_settings(export(run, "onnx", "fp32"), name, change)) >= expected


def swap_rows(model):
    """Rows of q in the order that llama.cpp wants; the packed matrix holds q, k, v as columns."""

    def change(values):
        queries = values[:, :64].reshape(64, 4, 2, 8).swapaxes(2, 3).reshape(64, 64)
        return np.concatenate([queries, values[:, 64:]], axis=1)

    replace_values(model, "model.layers.0.attn.qkv_proj.MatMul.weight", change)


def look_up_the_head(model):
    """What a wrong tie flag does to a model with a head of its own."""
    head = np.frombuffer(tensor(model, "lm_head.MatMul.weight").raw_data, np.float32).reshape(64, -1)
    replace_values(model, "model.embed_tokens.weight", lambda _: head.T)


def round_twice(model):
    def change(codes):
        return ((codes.astype(np.int16) - 128) // 16 * 16 + 128).astype(np.uint8)

    replace_values(model, "model.layers.0.mlp.down_proj.MatMul.weight_Q8", change)


def turn_faster(model):
    replace_values(model, "cos_cache", lambda values: np.roll(values, 1, axis=0))


def stop_turning(model):
    """From a position on that no held-out row reaches."""

    def change(values):
        values[50:] = values[0]
        return values

    for name in ("cos_cache", "sin_cache"):
        replace_values(model, name, change)


def set_attribute(name, value):
    def change(model):
        for node in model.graph.node:
            for attribute in node.attribute:
                if attribute.name == name:
                    attribute.CopyFrom(onnx.helper.make_attribute(name, value))

    return change


def without_rotation_in_one_layer(model):
    node = next(one for one in model.graph.node if one.name == "/model/layers.1/attn/GroupQueryAttention")
    next(one for one in node.attribute if one.name == "do_rotary").i = 0


def after_logits(model, kind, *others):
    """A node between the head and the output."""
    head = next(node for node in model.graph.node if "logits" in node.output)
    head.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node(kind, ["before", *others], ["logits"], "/lm_head/More"))


def louder_logits(model):
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1.1, np.float32), "louder"))
    after_logits(model, "Mul", "louder")


def cut_off_logits(model):
    after_logits(model, "Relu")


def doubled_stream(model):
    """What the first layer reads, twice."""
    first = next(node for node in model.graph.node if "/layers.0/input_layernorm/" in node.name)
    place = list(model.graph.node).index(first)
    name = first.input[0]
    model.graph.node.insert(place, onnx.helper.make_node("Add", [name, name], ["twice"], "/model/embed_tokens/Add"))
    first.input[0] = "twice"


def another_norm(model):
    """The second layer is normed by the first one's weights."""
    node = next(one for one in model.graph.node if "/layers.1/input_layernorm/" in one.name)
    node.input[2] = "model.layers.0.input_layernorm.weight"


def without_a_gate(model):
    """One layer multiplies what goes up with itself."""
    node = next(one for one in model.graph.node if one.name == "/model/layers.1/mlp/Mul")
    node.input[0] = node.input[1]


@pytest.mark.parametrize(
    ("precision", "change", "expected"),
    [
        ("fp32", swap_rows, {"weights", "distributions"}),
        ("fp32", look_up_the_head, {"weights", "distributions"}),
        ("fp32", turn_faster, {"distributions"}),
        ("int8", round_twice, {"weights"}),
        ("fp32", stop_turning, {"metadata"}),
        ("fp32", set_attribute("local_window_size", 60), {"metadata"}),
        ("fp32", set_attribute("softcap", 30.0), {"metadata"}),
        ("int8", set_attribute("accuracy_level", 1), {"metadata"}),
        ("fp32", set_attribute("do_rotary", 0), {"metadata"}),
        ("fp32", without_rotation_in_one_layer, {"metadata"}),
        ("int8", louder_logits, {"metadata"}),
        ("fp32", doubled_stream, {"metadata"}),
        ("fp32", without_a_gate, {"metadata"}),
        ("fp32", another_norm, {"metadata"}),
        ("fp32", cut_off_logits, {"metadata"}),
    ],
)
def test_faults_of_the_graph(make, precision, change, expected):
    run = make()
    assert failed(run, edit_graph(export(run, "onnx", precision), change)) >= expected


def test_a_table_of_its_own_where_the_model_has_one_for_both(make):
    run = make(tie_word_embeddings=True)

    def separate(model):
        lookup = next(node for node in model.graph.node if node.name == "/model/embed_tokens/Gather")
        table = numpy_like(tensor(model, "lm_head.MatMul.weight"))
        table.name = lookup.input[0] = "model.embed_tokens.weight"
        model.graph.initializer.append(table)

    assert "weights" in failed(run, edit_graph(export(run, "onnx", "fp32"), separate))


def numpy_like(found):
    from onnx import numpy_helper

    return numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(found).T), found.name)


def test_a_truncated_vocabulary(make):
    run = make()
    artifact = edit_settings(
        export(run, "onnx", "fp32"), "genai_config.json", lambda s: s["model"].update(vocab_size=264)
    )

    def cut(model):
        replace_values(model, "model.embed_tokens.weight", lambda values: values[:264])
        replace_values(model, "lm_head.MatMul.weight", lambda values: values[:, :264])

    assert failed(run, edit_graph(artifact, cut)) >= {"metadata", "weights", "distributions"}


def test_another_precision_than_it_says(make):
    run = make()
    int8, int4 = export(run, "onnx", "int8"), export(run, "onnx", "int4_rtn")
    shutil.copy(int8.main_file, int4.main_file)
    found = Verifier(run, quick=True).verify(fit_manifest(int4))
    (check,) = [check for check in found.failed if check.name == "metadata"]
    assert any("INT8 where INT4 was asked for" in problem for problem in check.problems)


def test_another_block_than_it_says(make):
    run = make()
    wide, int8 = export(run, "onnx", "int8_b64"), export(run, "onnx", "int8")
    shutil.copy(wide.main_file, int8.main_file)

    def stamp(model):
        next(entry for entry in model.metadata_props if entry.key == "edgetune.precision").value = "int8"

    found = Verifier(run, quick=True).verify(edit_graph(int8, stamp))
    (check,) = [check for check in found.failed if check.name == "metadata"]
    assert any("block_size is 64, should be 32" in problem for problem in check.problems)


def test_files_beside_those_exported(make):
    run = make()
    artifact = export(run, "onnx", "fp32")
    (artifact.path / "special_tokens_map.json").write_text("{}")
    assert failed(run, artifact) == {"file"}


def test_one_flipped_bit_and_half_a_copy(make):
    run = make()
    artifact = flip_a_byte(export(run, "onnx", "int8"))
    assert failed(run, artifact) == {"file"}
    (artifact.path / "tokenizer.json").unlink()
    assert failed(run, artifact) == {"file"}


def test_portable_needs_neither_run_nor_torch(make):
    run = make()
    artifact = export(run, "onnx", "int8")
    assert Verifier(run, quick=True).verify(artifact, portable=True).passed
    assert {check.name: check.passed for check in verify_portable(artifact).checks} == {
        "file": True,
        "metadata": True,
        "prompts": True,
        "distributions": True,
        "endings": True,
    }
