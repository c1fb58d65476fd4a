"""Around a training: one process in a run folder, Ctrl-C at any time, nothing changed meanwhile, counts that go on."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tinyruns import write_base
from tinytraining import weights, write_recipe

from edgetune import console, files, pipeline, training
from edgetune.cli import main
from edgetune.errors import DataError, Interrupted, InUse, ModelError
from edgetune.run import alone, open_run
from edgetune.training import checkpoints, metrics_file, trainer

train_module = sys.modules["edgetune.training.train"]


@pytest.fixture(autouse=True)
def _python_handles_ctrl_c():
    """As in a terminal: a shell starts background jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def resolved(tmp_path, base):
    return write_recipe(tmp_path / "recipe", base)


@pytest.fixture(scope="module")
def reference(tmp_path_factory, base):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("reference")
    return training.train(write_recipe(folder / "recipe", base), folder / "run")


def ctrl_c(*_args, **_options):
    signal.raise_signal(signal.SIGINT)


def at_step(monkeypatch, step, action):
    """Do something while a training step is computed."""
    real, left = trainer.answer_loss, [step]

    def loss(model, batch):
        left[0] -= model.training
        if model.training and not left[0]:
            action()
        return real(model, batch)

    monkeypatch.setattr(trainer, "answer_loss", loss)


def stopped(monkeypatch, resolved, folder, step):
    """A run with Ctrl-C in a step."""
    with monkeypatch.context() as patch:
        at_step(patch, step, ctrl_c)
        with pytest.raises(Interrupted):
            training.train(resolved, folder)
    return open_run(folder)


def test_a_second_training_in_the_folder_is_refused_and_harms_nothing(tmp_path, resolved, reference, monkeypatch):
    folder, seen = tmp_path / "run", []
    unsealed = folder / "checkpoints" / "checkpoint-99"  # as the first one has while it saves

    def second():
        unsealed.mkdir(parents=True)
        for again in (lambda: training.train(resolved, folder), lambda: training.resume(folder)):
            with pytest.raises(InUse, match=f"{folder} is being trained by another edgetune: process ") as caught:
                again()
            seen.append(caught.value)
        assert unsealed.exists()
        unsealed.rmdir()

    at_step(monkeypatch, 3, second)
    run = training.train(resolved, folder)
    assert len(seen) == 2
    assert "--output" in seen[0].hint
    found, expected = weights(run), weights(reference)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe", "run"]


def test_a_folder_that_is_prepared_elsewhere_is_left_alone(tmp_path, resolved, capsys):
    folder = tmp_path / "runs" / "new"
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    with alone(folder):
        assert main(["train", str(resolved.path), "--output", str(tmp_path / "link" / "new")]) == 12
    assert not folder.exists()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"]
    assert "wait until it has ended" in lines[1]


def test_what_killed_processes_left_is_swept_when_the_run_goes_on(tmp_path, resolved, monkeypatch):
    run = stopped(monkeypatch, resolved, tmp_path / "run", 1)
    left = [tmp_path / ".run.edgetune-abcdefgh", run.folder / ".loss.png.edgetune-abcdefgh"]
    for folder in left:
        folder.mkdir()
    training.resume(run.folder)
    assert [folder for folder in left if folder.exists()] == []


@pytest.mark.parametrize("place", ["preparing.load_rows", "preparing.create_run", "inputs.load_tokenizer"])
def test_ctrl_c_while_preparing_keeps_nothing_and_names_the_same_command(
    tmp_path, resolved, monkeypatch, capsys, place
):
    with monkeypatch.context() as patch:
        patch.setattr(f"edgetune.training.{place}", ctrl_c)
        assert main(["train", str(resolved.path), "--output", str(tmp_path / "a run"), "--rank", "2"]) == 130
    assert capsys.readouterr().err.splitlines() == [
        "error: interrupted while preparing; nothing is kept",
        f"hint: edgetune train {resolved.path} --output '{tmp_path / 'a run'}' --rank 2",
    ]
    assert not (tmp_path / "a run").exists()


@pytest.mark.parametrize("place", ["encode_run", "build_machinery", "assemble"])
def test_ctrl_c_before_the_first_step_keeps_what_is_prepared(tmp_path, resolved, monkeypatch, capsys, place):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(train_module, place, ctrl_c)
        assert main(["train", str(resolved.path), "--output", str(folder)]) == 130
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert error == f"error: interrupted; {folder} keeps its rows and its base; no step is saved yet"
    assert hint == f"hint: edgetune train --resume {folder}"
    assert open_run(folder).manifest.state == "prepared"


def test_ctrl_c_before_training_goes_on_names_the_checkpoint(tmp_path, resolved, monkeypatch):
    run = stopped(monkeypatch, resolved, tmp_path / "run", 2)
    monkeypatch.setattr(train_module, "build_machinery", ctrl_c)
    with pytest.raises(Interrupted, match="keeps the checkpoint of step 2") as caught:
        training.resume(run.folder)
    assert caught.value.hint == f"edgetune train --resume {run.folder}"


def test_ctrl_c_twice_says_what_is_kept_too(tmp_path, resolved, monkeypatch):
    monkeypatch.setattr("edgetune.training.stopping.SAME_SIGNAL_SECONDS", -1.0)
    at_step(monkeypatch, 3, lambda: [ctrl_c(), ctrl_c()])
    with pytest.raises(Interrupted, match="keeps the checkpoint of step 2"):
        training.train(resolved, tmp_path / "run")


@pytest.mark.parametrize("late", [False, True], ids=["in training", "after it"])
def test_ctrl_c_in_the_pipeline_names_the_pipeline(resolved, monkeypatch, capsys, late):
    if late:
        monkeypatch.setattr(pipeline.training, "train", lambda *_, **__: SimpleNamespace(recipe=None))
        monkeypatch.setattr(pipeline, "recipe_parts", lambda _: ctrl_c())
    else:
        monkeypatch.setattr("edgetune.training.preparing.load_rows", ctrl_c)
    assert main(["run", str(resolved.path), "--output", "x"]) == 130
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert error == f"error: interrupted{'; x keeps what is finished' if late else ' while preparing; nothing is kept'}"
    assert hint == f"hint: edgetune run {resolved.path} --output x"


def change_rows(name):
    def change(run, _base):
        file = run.data_folder / name
        file.write_text(file.read_text().replace("say", "Say", 1))

    return change


def change_weights(_run, base):
    file = base / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, file, metadata={"format": "pt"})


def change_config(_run, base):
    file = base / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"rms_norm_eps": 0.1}))


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        (change_rows("train.jsonl"), DataError, "train.jsonl: changed since the run was prepared"),
        (change_rows("heldout.jsonl"), DataError, "heldout.jsonl: changed since the run was prepared"),
        (lambda run, _: run.heldout_file.unlink(), DataError, "heldout.jsonl: missing"),
        (change_weights, ModelError, "has changed since"),
        (change_config, ModelError, "config.json has changed since"),
        (lambda _, base: shutil.rmtree(base), ModelError, "is no longer at"),
    ],
    ids=["train", "heldout", "no heldout", "base", "settings", "no base"],
)
def test_a_run_does_not_go_on_with_something_else(tmp_path, monkeypatch, change, error, named):
    base = write_base(tmp_path / "base")
    resolved = write_recipe(tmp_path / "recipe", base)
    run = stopped(monkeypatch, resolved, tmp_path / "run", 1)
    before = files.sha256_files(run.checkpoints_folder)
    change(run, base)
    for again in (lambda: training.train(resolved, run.folder), lambda: training.resume(run.folder)):
        with pytest.raises(error) as caught:
            again()
        assert named in "\n".join([caught.value.message, *caught.value.problems])
    assert files.sha256_files(run.checkpoints_folder) == before


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt", "trainer_state.json"])
@pytest.mark.parametrize("end", ["head", "tail"])
def test_a_damaged_checkpoint_gives_no_other_adapter(tmp_path, resolved, reference, monkeypatch, capsys, name, end):
    run = stopped(monkeypatch, resolved, tmp_path / "run", 4)
    file = run.checkpoints_folder / "checkpoint-4" / name
    content = bytearray(file.read_bytes())
    content[slice(0, 300) if end == "head" else slice(-300, None)] = bytes(300)
    file.write_bytes(content)
    training.resume(run.folder)
    assert f"changed since it was written: {name}; it is removed" in capsys.readouterr().err
    found, expected = weights(run), weights(reference)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("stop", [5, "after the last step"])
def test_a_best_checkpoint_that_was_damaged_is_replaced_by_the_next_best(tmp_path, resolved, monkeypatch, capsys, stop):
    losses = iter([0.1, 0.3, 0.2])
    monkeypatch.setattr(trainer, "evaluation_loss", lambda *_: next(losses))
    folder = tmp_path / "run"
    if stop == 5:
        stopped(monkeypatch, resolved, folder, stop)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(train_module, "finish", ctrl_c)
            with pytest.raises(Interrupted):
                training.train(resolved, folder)
    (best,) = (folder / "checkpoints" / "checkpoint-2").glob("*.safetensors")
    content = best.read_bytes()
    best.write_bytes(content[:-8] + bytes(8))
    found = training.resume(folder).manifest
    assert "the best checkpoint, of step 2, is missing or damaged; another is chosen" in capsys.readouterr().err
    assert (found.state, found.result["best_step"], found.result["best_eval_loss"]) == ("trained", 6, 0.2)


def test_a_best_checkpoint_whose_state_alone_was_damaged_still_is_the_best(tmp_path, resolved, monkeypatch):
    losses = iter([0.1, 0.3, 0.2])
    monkeypatch.setattr(trainer, "evaluation_loss", lambda *_: next(losses))
    run = stopped(monkeypatch, resolved, tmp_path / "run", 5)
    file = run.checkpoints_folder / "checkpoint-2" / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:-8] + bytes(8))
    assert training.resume(run.folder).manifest.result["best_step"] == 2


def test_counts_go_on_where_the_checkpoint_was(tmp_path, base, reference, monkeypatch):
    resolved = write_recipe(tmp_path / "recipe", base)
    run = stopped(monkeypatch, resolved, tmp_path / "run", 3)
    training.resume(run.folder)
    found, expected = metrics_file.read(run.metrics_file), metrics_file.read(reference.metrics_file)
    for name in ("event", "step", "tokens", "computed_tokens", "rows"):
        assert [entry[name] for entry in found] == [entry[name] for entry in expected], name
    assert found[-1]["rows"] == 24
    seconds = [entry["trained_s"] for entry in found]
    assert seconds == sorted(seconds)


def test_speed_leaves_evaluating_and_saving_out(tmp_path, resolved, monkeypatch):
    real = checkpoints.seal

    def slow_loss(*_):
        time.sleep(0.4)
        return 1.0

    def slow_seal(folder):
        time.sleep(0.3)
        real(folder)

    monkeypatch.setattr(trainer, "evaluation_loss", slow_loss)
    monkeypatch.setattr(trainer.checkpoints, "seal", slow_seal)
    run = training.train(resolved, tmp_path / "run")
    entries = metrics_file.read(run.metrics_file)
    aside = [round(entry["elapsed_s"] - entry["trained_s"], 1) for entry in entries]
    for entry, spent in zip(entries, aside, strict=True):
        saves, evaluations = (entry["step"] - 1), (entry["step"] - (entry["event"] == "step")) // 2
        assert spent >= 0.3 * saves + 0.4 * evaluations - 0.05, entry
        assert entry["tokens_per_s"] == pytest.approx(entry["tokens"] / entry["trained_s"], rel=0.05)
    assert run.manifest.result["tokens_per_s"] == entries[-1]["tokens_per_s"]


def test_evaluating_has_a_bar(tmp_path, resolved, monkeypatch, capsys):
    monkeypatch.setattr(console, "SHOW_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(console, "LOG_EVERY_SECONDS", 0.0)
    training.train(resolved, tmp_path / "run")
    err = capsys.readouterr().err
    assert "Evaluating: 1/2 batches (50%)" in err
    assert "nan" not in err
