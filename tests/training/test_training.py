"""Training end to end on a tiny model, in this process."""

from __future__ import annotations

import math
import os
import signal
import sys
from types import SimpleNamespace

import pytest
import torch
from tinytraining import weights, write_recipe

from edgetune import training
from edgetune.errors import (
    DataError,
    EdgetuneError,
    Interrupted,
    MissingExtra,
    ModelError,
    ResourceError,
    TrainingError,
)
from edgetune.run import open_run
from edgetune.training import checkpoints, metrics_file, trainer
from edgetune.training.finishing import FEW_STEPS, cut_short
from edgetune.training.keeper import ended
from edgetune.training.schedule import Clock
from edgetune.training.watch import Watch


def train(tmp_path, base, name="run", **sections):
    return training.train(write_recipe(tmp_path / f"{name}-recipe", base, **sections), tmp_path / name)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def losses(run):
    return [e["loss"] for e in metrics_file.read(run.metrics_file) if e["event"] == "step"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory, base):
    """Six steps of LoRA without any trouble."""
    torch.set_num_threads(1)
    return train(tmp_path_factory.mktemp("reference"), base)


def test_what_a_trained_run_holds(reference):
    manifest = reference.manifest
    assert manifest.state == "trained"
    assert manifest.trained_against == "base"
    assert manifest.result["steps"] == 6
    assert manifest.result["tokens_per_s"] > 0
    assert manifest.result["trainable_parameters"] == sum(t.numel() for t in weights(reference).values())
    assert set(manifest.choices) == {"device", "dtype", "packing", "fused LoRA layers"}
    assert manifest.choices["fused LoRA layers"] == "14"
    assert manifest.choices["device"] == "cpu (as asked)"
    assert (reference.folder / "loss.png").is_file()
    entries = metrics_file.read(reference.metrics_file)
    assert [e["step"] for e in entries if e["event"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert [e["step"] for e in entries if e["event"] == "evaluation"] == [2, 4, 6]
    assert {"loss", "learning_rate", "grad_norm", "tokens_per_s", "peak_rss", "energy_j"} <= entries[0].keys()
    assert losses(reference)[-1] < losses(reference)[0]


def test_no_pickle_is_left_and_every_checkpoint_is_whole(reference):
    assert list(reference.folder.rglob("training_args.bin")) == []
    kept = checkpoints.sealed_checkpoints(reference.checkpoints_folder)
    assert {c.step for c in kept} >= {5, 6}
    assert len(list(reference.checkpoints_folder.iterdir())) == len(kept)


def test_the_same_seed_gives_the_same_adapter(reference, tmp_path, base):
    assert same(weights(train(tmp_path, base)), weights(reference))
    other = train(tmp_path, base, "other", train={"seed": 18})
    assert not same(weights(other), weights(reference))


@pytest.mark.parametrize(
    ("method", "file"),
    [
        ({"kind": "qlora"}, "adapter"),
        ({"kind": "qlora", "base_storage": "4bit"}, "adapter"),
        ({"kind": "dora"}, "adapter"),
        ({"kind": "rslora", "dropout": 0.1}, "adapter"),
        ({"kind": "full"}, "model"),
        ({"kind": "freeze", "train_last_layers": 1}, "model"),
    ],
    ids=str,
)
def test_every_method(tmp_path, base, method, file):
    run = train(tmp_path, base, method=method, train={"max_steps": 2, "evaluate_every": 1})
    assert (run.folder / file).is_dir()
    assert weights(run)
    assert run.manifest.trained_against == (None if file == "model" else "nf4" if method["kind"] == "qlora" else "base")
    if method["kind"] == "qlora":
        assert len(run.manifest.quantised_modules) == 14
    if file == "model":
        assert (run.model_folder / "config.json").is_file()


def test_both_4bit_storages_learn_the_same(tmp_path, base):
    packed = train(tmp_path, base, "packed", method={"kind": "qlora", "base_storage": "4bit"})
    plain = train(tmp_path, base, "plain", method={"kind": "qlora", "base_storage": "dequantised"})
    assert losses(packed) == pytest.approx(losses(plain), rel=1e-4)


def test_bfloat16(tmp_path, base, reference):
    for kind in ("lora", "full"):
        run = train(tmp_path, base, kind, method={"kind": kind}, train={"dtype": "bfloat16", "max_steps": 2})
        assert all(tensor.dtype == torch.float32 for tensor in weights(run).values())
        assert losses(run)[0] == pytest.approx(losses(reference)[0], rel=3e-2)


@pytest.mark.parametrize(
    "settings",
    [{"micro_batch_size": 1}, {"micro_batch_size": 2}, {"gradient_checkpointing": True}, {"packing": "off"}],
    ids=str,
)
def test_how_it_is_computed_does_not_change_what_is_learnt(tmp_path, base, reference, settings):
    run = train(tmp_path, base, train=settings)
    assert losses(run) == pytest.approx(losses(reference), rel=1e-4)
    for name, tensor in weights(run).items():
        torch.testing.assert_close(tensor, weights(reference)[name], atol=2e-4, rtol=1e-3, msg=name)


def test_rows_beyond_whole_steps_wait_for_the_next_pass(tmp_path, base):
    """22 rows at 4 a step: five steps a pass, whether forward passes are accumulated or not."""
    options = {"max_steps": 11}
    whole = train(tmp_path, base, "whole", data={"train_limit": 22}, train=options)
    parts = train(tmp_path, base, "parts", data={"train_limit": 22}, train=options | {"micro_batch_size": 1})
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-3)
    epochs = [e["epoch"] for e in metrics_file.read(whole.metrics_file) if e["event"] == "step"]
    assert epochs == pytest.approx([step / 5 for step in range(1, 12)])


def script_heldout(monkeypatch, *values):
    """Held-out losses as given, one an evaluation."""
    left = list(values)
    monkeypatch.setattr(trainer, "evaluation_loss", lambda *_: left.pop(0))


def test_the_best_checkpoint_is_the_result(tmp_path, base, monkeypatch):
    script_heldout(monkeypatch, 3.0, 1.0, 2.0, 1.5, 4.0)
    run = train(tmp_path, base, train={"max_steps": 10, "keep_checkpoints": 1})
    assert run.manifest.result["best_step"] == 4
    assert run.manifest.result["best_eval_loss"] == 1.0
    assert [c.step for c in checkpoints.sealed_checkpoints(run.checkpoints_folder)] == [4, 10]
    kept = checkpoints.at_step(run.checkpoints_folder, 4).folder / "adapter_model.safetensors"
    assert kept.read_bytes() == (run.adapter_folder / "adapter_model.safetensors").read_bytes()


def test_validation_rows_choose_the_checkpoint_where_there_are_some(tmp_path, base, monkeypatch):
    asked = []
    monkeypatch.setattr(trainer, "evaluation_loss", lambda _, parts, __: asked.append(len(parts.evaluation)) or 1.0)
    rows = tmp_path / "validation.jsonl"
    rows.write_text('{"prompt": "ring the bell", "completion": "done"}\n' * 3)
    run = train(tmp_path, base, data={"validation": str(rows)})
    assert set(asked) == {3}
    assert set(run.manifest.data_sha256) == {"train", "validation", "heldout"}
    assert set(train(tmp_path, base, "without").manifest.data_sha256) == {"train", "heldout"}
    assert 3 not in asked[3:]


def test_held_out_rows_cannot_be_validation_rows_too(tmp_path, base):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "ring the bell", "completion": "done"}\n')
    with pytest.raises(DataError, match="in the validation rows too"):
        train(tmp_path, base, data={"validation": str(rows), "heldout": str(rows)})
    assert not (tmp_path / "run").exists()


def test_early_stopping(tmp_path, base, monkeypatch):
    script_heldout(monkeypatch, 3.0, 1.0, 2.0, 0.5, 2.0, 1.0)
    run = train(tmp_path, base, train={"max_steps": 40, "early_stopping": 2})
    assert (run.manifest.result["steps"], run.manifest.result["best_step"]) == (12, 8)
    assert run.manifest.state == "trained"


def test_max_minutes_ends_with_a_result(tmp_path, base, capsys):
    run = train(tmp_path, base, train={"max_steps": 100_000, "max_minutes": 0.02, "evaluate_every": 50_000})
    result = run.manifest.result
    assert result["steps"] < 100_000
    assert 1.2 <= result["seconds"] < 30
    assert result["best_step"] == result["steps"]
    rates = [e["learning_rate"] for e in metrics_file.read(run.metrics_file) if e["event"] == "step"]
    assert rates[-1] < 0.2 * max(rates)
    assert f"train.max_minutes ended the training after {result['steps']} of 100000 steps" in capsys.readouterr().err


def test_a_run_that_hardly_began_says_so():
    assert "hardly been trained" not in cut_short(FEW_STEPS, 1000)
    assert cut_short(FEW_STEPS - 1, 1000).startswith("warning: ")
    assert "--max-minutes" in cut_short(38, 1000)


def test_nan_is_an_error_and_nothing_is_written_after(tmp_path, base, monkeypatch):
    real, calls = trainer.answer_loss, []

    def loss(*args):
        calls.append(1)
        return real(*args) * (math.nan if len(calls) == 3 else 1.0)

    monkeypatch.setattr(trainer, "answer_loss", loss)
    with pytest.raises(TrainingError, match="the loss is not finite at step 3") as caught:
        train(tmp_path, base, train={"evaluate_every": 5})
    assert caught.value.exit_code == 6
    assert "--learning-rate 1e-03" in caught.value.hint
    run = open_run(tmp_path / "run")
    assert [e["step"] for e in metrics_file.read(run.metrics_file)] == [1, 2]
    assert checkpoints.latest(run.checkpoints_folder).step == 2
    assert not run.adapter_folder.exists()


def test_weights_that_are_not_finite_are_never_saved(tmp_path, base, monkeypatch):
    """An infinite gradient breaks the weights one step before the loss can tell."""
    real = trainer.answer_loss

    def loss(model, batch):
        value = real(model, batch)
        if value.requires_grad:
            value.register_hook(lambda grad: grad * math.inf)
        return value

    monkeypatch.setattr(trainer, "answer_loss", loss)
    with pytest.raises(TrainingError, match="at step 1"):
        train(tmp_path, base)
    assert checkpoints.latest(tmp_path / "run" / "checkpoints") is None


def test_a_file_that_may_not_grow_leaves_no_half_checkpoint(tmp_path, base, reference, monkeypatch):
    """As with a full disk, torch says so in words of its own."""
    resource = pytest.importorskip("resource")
    from transformers import Trainer

    real, (before, most) = Trainer._save_optimizer_and_scheduler, resource.getrlimit(resource.RLIMIT_FSIZE)

    def save(self, folder):
        if self.state.global_step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, most))
        try:
            real(self, folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_optimizer_and_scheduler", save)
        with pytest.raises(ResourceError, match="disk full, or a limit on the size of files") as caught:
            train(tmp_path, base)
    folder = tmp_path / "run"
    assert caught.value.hint == f"free some space, then: edgetune train --resume {folder}"
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["checkpoint-1", "checkpoint-2"]
    assert same(weights(training.resume(folder)), weights(reference))


def interrupted(monkeypatch, step, *where, **sections):
    """A training that gets Ctrl-C while a step is computed."""
    real, left = trainer.answer_loss, [step]

    def loss(model, batch):
        left[0] -= model.training
        if not left[0] and model.training:
            os.kill(os.getpid(), signal.SIGINT)
        return real(model, batch)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "answer_loss", loss)
        train(*where, **sections)


@pytest.mark.parametrize("step", [1, 4, 5])
def test_interrupted_and_resumed_is_as_if_nothing_had_been(tmp_path, base, reference, monkeypatch, step):
    with pytest.raises(Interrupted, match=f"after step {step}") as caught:
        interrupted(monkeypatch, step, tmp_path, base, train={"save_every": 100})
    folder = tmp_path / "run"
    assert caught.value.hint == f"edgetune train --resume {folder}"
    assert open_run(folder).manifest.state == "training"
    run = training.resume(folder)
    assert same(weights(run), weights(reference))
    steps = [(e["event"], e["step"]) for e in metrics_file.read(run.metrics_file)]
    assert len(steps) == len(set(steps)) == 9
    assert losses(run) == losses(reference)


def test_resuming_with_dropout_goes_on_with_the_same_random_numbers(tmp_path, base, monkeypatch):
    whole = train(tmp_path, base, "whole", method={"dropout": 0.2})
    with pytest.raises(Interrupted):
        interrupted(monkeypatch, 3, tmp_path, base, "cut", method={"dropout": 0.2})
    assert same(weights(training.resume(tmp_path / "cut")), weights(whole))


def test_a_run_killed_before_its_result_only_stores_it(tmp_path, base, monkeypatch):
    """Five steps are no whole number of evaluations, nor of passes: transformers would do a sixth."""
    module = sys.modules["edgetune.training.train"]
    with monkeypatch.context() as patch:
        patch.setattr(module, "finish", lambda *_: None)
        train(tmp_path, base, train={"max_steps": 5})
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "answer_loss", None)  # nothing may be computed
        run = training.resume(tmp_path / "run")
    assert run.manifest.result["steps"] == 5
    assert run.manifest.result["seconds"] > 0


def test_a_trained_run_is_left_alone(reference, capsys):
    before = {path: path.stat().st_mtime_ns for path in reference.folder.rglob("*")}
    training.resume(reference.folder)
    assert "is trained already" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in reference.folder.rglob("*")}


def test_a_half_prepared_run_is_prepared_again(tmp_path, base):
    resolved = write_recipe(tmp_path / "recipe", base, train={"max_steps": 1})
    run = training.train(resolved, tmp_path / "run")
    run.update_manifest(state="created")
    (run.folder / "left-over").write_text("")
    with pytest.raises(EdgetuneError, match="never fully prepared"):
        training.resume(run.folder)
    again = training.train(resolved, run.folder)
    assert again.manifest.state == "trained"
    assert not (run.folder / "left-over").exists()


def test_nothing_is_left_of_a_run_that_cannot_be_prepared(tmp_path, base):
    resolved = write_recipe(tmp_path / "recipe", tmp_path / "no model")
    with pytest.raises(ModelError):
        training.train(resolved, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_clocks_limit_counts_as_the_end(tmp_path):
    """Restored state is enough to know it: no step more is done."""

    def state(**changes):
        saved = {"best_loss": 1.0, "best_step": 2, "elapsed": 5.0, "worse": 0, "evaluated_step": 3} | changes
        return SimpleNamespace(stateful_callbacks={"Keeper": {"attributes": saved}}, global_step=3, max_steps=9)

    parts = SimpleNamespace(clock=Clock(60.0), best_loss=None, best_step=None, best_lost=False)
    watch = Watch(parts, None, None, 2, 1)
    assert not ended(state(), watch)
    assert (parts.best_loss, parts.best_step) == (1.0, 2)
    assert ended(state(elapsed=60.0), watch)
    assert ended(state(worse=2), watch)
    assert not ended(state(worse=2, evaluated_step=2), watch)
    assert not ended(replace_steps(state(evaluated_step=None), 3), watch)
    assert ended(replace_steps(state(), 3), watch)


def replace_steps(state, total):
    state.max_steps = total
    return state


def test_tensorboard_is_an_extra(tmp_path, base, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtra) as caught:
        train(tmp_path, base, train={"tensorboard": True})
    assert caught.value.hint == "pip install 'edgetune[tensorboard]'"
