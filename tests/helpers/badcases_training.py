"""Trainings that cannot begin, or break off."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

from badworld import Case, Command, World, edit_weights, remove

FULL = OSError(errno.ENOSPC, "No space left on device")
#: How safetensors reports a full disk.
FULL_IN_SAFETENSORS = "Error while serializing: I/O error: No space left on device (os error 28)"
#: How torch.save does.
TORCH_FULL = RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
TORCH_LAST = RuntimeError("basic_ios::clear: iostream error")
TORCH_MEMORY = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 9 bytes")


def begin(*lines: str, **files: Any) -> Command:
    """``edgetune train`` with these lines in the recipe and these rows in files; it never gets as far as a run."""

    def command(w: World) -> list[str]:
        for name, content in files.items():
            w.file(f"{name}.jsonl", content)
        return w.cmd("train", w.recipe(*lines), "--output", "never")

    return command


def go(w: World, *flags: str) -> list[str]:
    """``edgetune train`` with a sound recipe: the run is made, and then something happens."""
    return w.cmd("train", w.recipe(), "--output", "out", *flags)


def resume(**manifest: Any) -> Command:
    """``edgetune train --resume`` of a run in this state."""
    return lambda w: w.cmd("train", "--resume", w.run(**manifest))


def safetensors_full() -> Exception:
    """What safetensors raises when the disk is full."""
    from safetensors import SafetensorError

    return SafetensorError(FULL_IN_SAFETENSORS)


def not_a_number(w: World) -> list[str]:
    """Weights that overflow, in a model that is whole."""
    model = w.model(edit_weights(lambda t: t["model.norm.weight"].fill_(float("nan"))))
    return w.cmd("train", w.recipe(source=model), "--output", "out")


def finished_but_for_its_checkpoints(w: World) -> list[str]:
    """A run killed at its very end, whose checkpoints were changed."""
    from edgetune.cli import main
    from edgetune.run import Run

    assert main(w.cmd("train", w.recipe(), "--output", "out")) == 0
    run = Run(Path("out"))
    run.update_manifest(state="training")
    remove("adapter")(run.folder)
    for checkpoint in run.checkpoints_folder.iterdir():
        state = checkpoint / "trainer_state.json"
        state.write_text(re.sub(r'"best_step": \d', '"best_step": 9', state.read_text()))
    return w.cmd("train", "--resume", "out")


TRAINING: dict[str, Case] = {
    "no training rows named": (begin("data: {}"), 3, "data.train: required"),
    "training rows that are not there": (begin("data: {train: gone.jsonl}"), 4, "no such data file"),
    "no training rows": (begin("data: {train: none.jsonl}", none=""), 4, "none.jsonl"),
    "a row that cannot be used": (begin("data: {train: one.jsonl}", one='{"messages": []}\n'), 4, "one.jsonl"),
    "held-out rows that are not there": (
        begin("data: {train: rows.jsonl, heldout: gone.jsonl}"), 4, "no such data file"),
    "held-out rows that are trained on": (
        begin("data: {train: rows.jsonl, heldout: rows.jsonl}"), 4, "held-out rows are in the training rows too"),
    "too few rows to hold any out": (
        begin("data: {train: one.jsonl}", one='{"prompt": "a", "completion": "b"}\n'), 4, "cannot hold rows out"),
    "a script that is not there": (begin("data: {prepare: {script: gone.py}}"), 3, "no such file"),
    "a script that was not allowed": (
        lambda w: w.file("make.py", "1/0") and begin("data: {prepare: {script: make.py}}")(w), 3, "--allow-scripts"),
    "a script that fails": (
        lambda w: w.file("make.py", "raise SystemExit('no rows today')")
        and [*begin("data: {prepare: {script: make.py}}")(w), "--allow-scripts"], 4, "make.py failed"),
    "a script that makes nothing": (
        lambda w: w.file("make.py", "") and [*begin("data: {prepare: {script: make.py}}")(w), "--allow-scripts"],
        4, "no such data file"),
    "a base that is not there": (begin("model: {source: ./gone}"), 5, "no such model"),
    "a chat template that is not there": (
        lambda w: begin(f"model: {{source: {w.sound.base}, chat_template: gone.jinja}}")(w), 5, "gone.jinja"),
    "a chat template that is not Jinja": (
        lambda w: begin(f"model: {{source: {w.sound.base}, chat_template: {w.file('t.jinja', '{% for %}')}}}")(w),
        5, "t.jinja:1"),
    "a disk full while preparing": (lambda w: begin()(w.fail("os.fsync", FULL)), 10, "disk full"),
    "no transformers": (lambda w: begin()(w.without("transformers")), 11, "'train' extra"),
    "no tensorboard": (
        lambda w: go(w.without("tensorboard", "tensorboardX"), "--tensorboard"), 11, "'tensorboard' extra"),
    "no bitsandbytes": (
        lambda w: go(w.without("bitsandbytes"), "--method", "qlora", "--base-storage", "4bit"), 11, "'train' extra"),
    "a device that is not there": (
        lambda w: go(w.replace("torch.cuda.is_available", lambda: False), "--device", "cuda"), 10, "no cuda device"),
    "a device that does not exist": (lambda w: go(w, "--device", "tpu"), 2, "--device"),
    "modules that are not in the model": (lambda w: go(w, "--target-modules", "w_pack"), 3, "w_pack"),
    "patterns that match nothing": (
        lambda w: go(w, "--method", "freeze", "--train-patterns", "nonesuch"), 3, "nonesuch"),
    "a pattern that is none": (lambda w: go(w, "--method", "freeze", "--train-patterns", "(["), 3, "(["),
    "more last layers than there are": (lambda w: go(w, "--method", "freeze", "--train-last-layers", "9"), 3, "9"),
    "a batch larger than the rows": (lambda w: go(w, "--batch-size", "500"), 4, "fewer than one step takes"),
    "a batch that does not divide": (
        lambda w: go(w, "--batch-size", "4", "--micro-batch-size", "3"), 3, "not a multiple"),
    "rows that are all too long": (lambda w: go(w, "--data-max-tokens", "5"), 4, "longer than 5 tokens"),
    "rows too long where that is an error": (
        lambda w: go(w, "--data-max-tokens", "5", "--data-too-long", "error"), 4, "longer than 5 tokens"),
    "rows longer than the context": (lambda w: go(w, "--data-max-tokens", "4096"), 3, "context has 128 tokens"),
    "a loss that is not a number": (not_a_number, 6, "is not finite at step 1"),
    "no memory for the optimiser": (
        lambda w: go(w.replace("edgetune.training.memory.available_memory", lambda _: 1)), 10, "more memory"),
    "no memory in a step": (lambda w: go(w.fail("torch.optim.AdamW.step", TORCH_MEMORY)), 10, "not enough memory"),
    "a disk full at a checkpoint": (
        lambda w: go(w.fail("edgetune.training.checkpoints.seal", FULL)), 10, "disk full"),
    "a disk full in a checkpoint's weights": (
        lambda w: go(w.fail("peft.peft_model.safe_save_file", safetensors_full())), 10, "disk full"),
    "a disk full in a checkpoint's optimiser": (lambda w: go(w.fail("torch.save", TORCH_FULL)), 10, "disk full"),
    "a disk full in the optimiser's last bytes": (lambda w: go(w.fail("torch.save", TORCH_LAST)), 10, "disk full"),
    "an output that holds a run of another recipe": (
        lambda w: w.cmd("train", w.recipe(), "--output", w.run()), 3, "another recipe"),
    "resume of nothing": (lambda w: w.cmd("train", "--resume", "gone"), 1, "is not a run folder"),
    "resume of a run that was never prepared": (resume(state="created"), 1, "never fully prepared"),
    "resume without the rows": (
        lambda w: w.cmd("train", "--resume", w.run(remove("data/train.jsonl"), state="prepared")), 4, "train.jsonl"),
    "resume without the base": (resume(state="prepared", base_folder="/gone"), 5, "/gone"),
    "resume without the tokenizer": (
        lambda w: w.cmd("train", "--resume", w.run(remove("tokenizer"), state="prepared")), 5, "tokenizer"),
    "every checkpoint damaged": (finished_but_for_its_checkpoints, 6, "trainer_state.json"),
}  # fmt: skip
