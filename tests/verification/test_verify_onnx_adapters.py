"""An ONNX adapter kept apart is verified on its base: good pairs pass, faults of either are caught."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from edgetune_onnx.adapter import write
from edgetune_onnx.places import A, B
from faults import fit_manifest, flip_a_byte, tame_magnitudes
from faults_onnx import edit_graph

from edgetune.artifact import open_artifact
from edgetune.bench import adapter_cost
from edgetune.cli import main
from edgetune.cli.export import export as export_command
from edgetune.exporting import Wanted, find_source
from edgetune.runtimes.onnx_adapters import read_adapter
from edgetune.runtimes.pairing import on_base
from edgetune.verification.record import load
from edgetune.verification.verify import Verifier, verify_portable

SIZES = {"intermediate_size": 128}


@pytest.fixture
def make(make_run):
    return lambda *given, **settings: make_run(*given, **{**SIZES, **settings})


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(adapter_cost, "MOST", 3)


def separate(run, base="fp32"):
    parts = find_source(str(run.folder)).parts(Wanted("onnx", separate=True, with_base=base))
    below, adapter = (part.write() for part in parts)
    return below, on_base(adapter, below)


def edit_adapter(adapter, change):
    """Write an adapter's file with other tensors, and a manifest that fits it."""
    tensors = dict(read_adapter(adapter.main_file).tensors)
    change(tensors)
    write(adapter.main_file, tensors, adapter.manifest.adapter_base)
    return on_base(fit_manifest(adapter), adapter.beneath)


def failed(run, adapter):
    found = Verifier(run, quick=True).verify(adapter)
    assert not found.passed
    return {check.name: check for check in found.failed}


@pytest.mark.parametrize("seed", range(20))
def test_good_pairs_pass(make, seed):
    method = ("lora", "qlora", "rslora", "dora")[seed % 4]
    run = make(seed, method, tie_word_embeddings=seed % 8 < 4)
    if method == "dora":
        tame_magnitudes(run)
    verifier = Verifier(run, quick=True)
    classes = {"fp32": "32 bits", "fp16": "16 bits", "int8": "8 bits", "int4": "4 bits"}
    for base, precision_class in classes.items():
        found = verifier.verify(separate(run, base)[1])
        lossy = {"distributions", "endings"} if base == "int4" or method == "dora" else set()
        assert {check.name for check in found.failed} <= lossy, (base, found.failed)
        assert found.precision_class == precision_class


@pytest.mark.parametrize("base", ["fp32", "int8"])
def test_rslora_a_root_of_its_rank_too_weak(make, base):
    run = make(0, "rslora", rank=9)
    _, adapter = separate(run, base)

    def weaken(tensors):
        for name in tensors:
            tensors[name] = tensors[name] / np.float32(3) if name.endswith(B) else tensors[name]

    found = failed(run, edit_adapter(adapter, weaken))
    assert "another scale" in found["weights"].cause
    assert any("holds 0.33" in problem for problem in found["weights"].problems)


DOWN = "model.layers.1.mlp.down_proj"


def test_a_module_that_is_missing(make):
    run = make(0)

    def drop(tensors):
        del tensors[DOWN + A], tensors[DOWN + B]

    found = failed(run, edit_adapter(separate(run)[1], drop))
    assert "left out" in found["weights"].cause
    assert {problem.split(":")[0] for problem in found["weights"].problems} == {f"{DOWN}.weight"}
    assert any(f"{DOWN}.lora_A.weight is missing" in problem for problem in found["metadata"].problems)


def test_half_a_module_and_one_too_many(make):
    run = make(0)
    assert "has only half of" in failed(run, edit_adapter(separate(run)[1], lambda t: t.pop(DOWN + A)))["weights"].text
    shutil.rmtree(run.exports_folder)

    def stray(tensors):
        tensors["model.layers.9.mlp.up_proj" + A] = np.zeros((64, 2), np.float32)
        tensors["model.layers.9.mlp.up_proj" + B] = np.zeros((2, 128), np.float32)

    found = failed(run, edit_adapter(separate(run)[1], stray))
    assert "layers.9.mlp.up_proj.lora_A.weight is not the adapter's" in found["metadata"].problems[0]
    assert "the base has no such tensor" in found["weights"].problems[0]
    assert "cannot run" in found["distributions"].text if "distributions" in found else found["prompts"]


def test_rows_of_q_and_k_exchanged(make):
    """As a packed matrix in another order would do it."""
    run = make(0)
    _, adapter = separate(run)

    def swap(tensors):
        keys, values = "model.layers.0.self_attn.k_proj" + B, "model.layers.0.self_attn.v_proj" + B
        tensors[keys], tensors[values] = tensors[values], tensors[keys]

    assert {"weights", "distributions"} <= set(failed(run, edit_adapter(adapter, swap)))


def test_a_base_with_a_place_that_leads_nowhere(make):
    run = make(0)
    base, adapter = separate(run)

    def disconnect(model):
        add = next(node for node in model.graph.node if node.name == "/model/layers.1/mlp/down_proj/lora/Add")
        add.input[1] = add.input[0]

    edit_graph(base, disconnect)
    assert "distributions" in failed(run, on_base(adapter, open_artifact(base.path)))

    def forget(model):
        for values in (model.graph.input, model.graph.initializer):
            for at in reversed([at for at, value in enumerate(values) if "layers.0.mlp.up_proj.lora" in value.name]):
                del values[at]

    shutil.rmtree(base.path)
    base, adapter = separate(run)
    edit_graph(base, forget)
    found = failed(run, on_base(adapter, open_artifact(base.path)))
    assert "base: the graph has no input model.layers.0.mlp.up_proj.lora_A.weight" in found["metadata"].problems


def test_a_changed_byte_of_the_base_fails_the_adapter(make):
    run = make(0)
    base, adapter = separate(run)
    assert Verifier(run, quick=True).verify(adapter).passed
    flip_a_byte(base)
    found = Verifier(run, quick=True).verify(adapter, again=False)
    assert [check.name for check in found.failed] == ["file"]


def test_another_base_is_a_failure_with_the_reason(make):
    run, other = make(0, "qlora"), make(1, "lora")
    _, adapter = separate(run)
    strange, _ = separate(other)
    assert "belongs to another base" in failed(run, on_base(adapter, strange))["prompts"].text


def test_the_command_writes_verifies_and_measures(make, capfd, monkeypatch):
    run = make(0)
    arguments = [str(run.folder), "--format", "onnx", "--adapter", "separate"]
    alone = CliRunner().invoke(export_command, arguments, catch_exceptions=False)
    assert "is not verified: it needs its base" in alone.stderr
    assert "--format onnx --adapter separate --with-base int8" in alone.stderr
    assert "cost" not in alone.stderr
    result = CliRunner().invoke(export_command, [*arguments, "--with-base", "int8"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "tiny-adapter-fp32: verified, task not judged (8 bits; " in result.stderr
    (cost,) = [line for line in result.stderr.splitlines() if line.startswith("cost of the adapter on ")]
    assert cost.count(" t/s (") == 3
    assert "1 / mean gap between 24 tokens after 32" in result.stderr
    assert load(open_artifact(run.exports_folder / "adapter-fp32")).passed
    again = CliRunner().invoke(export_command, [*arguments, "--with-base", "int8", "--no-cost"], catch_exceptions=False)
    assert again.stderr.count("is up to date") == 2
    assert "cost of" not in again.stderr
    # A run that has both formats: the adapter is that of the base.
    gguf = [str(run.folder), "--adapter", "separate", "--with-base", "f16", "--no-verify", "--no-cost"]
    CliRunner().invoke(export_command, gguf, catch_exceptions=False)
    for base in ("base-int8", "base-f16"):
        monkeypatch.setattr("sys.stdin", io.StringIO("/adapter none\n"))
        assert main(["chat", str(run.exports_folder / base), "--adapter", f"en={run.folder}"]) == 0
        assert "the base alone" in capfd.readouterr().err


def test_a_device_without_torch_verifies_the_pair(make, tmp_path):
    run = make(0)
    _, adapter = separate(run)
    Verifier(run, quick=True).verify(adapter, portable=True)
    shutil.copytree(run.exports_folder, tmp_path / "device")
    copy = on_base(open_artifact(tmp_path / "device/adapter-fp32"))
    assert verify_portable(copy).passed
