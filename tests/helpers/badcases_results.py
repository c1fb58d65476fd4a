"""Bad artifacts, runs and exports, and machines that lack something."""

from __future__ import annotations

import errno
import shutil
from typing import Any

from badworld import Case, Command, Spoil, World, cut, edit_json, edit_weights, flip, remove, write

FULL = OSError(errno.ENOSPC, "No space left on device")
READ_ONLY = OSError(errno.EROFS, "Read-only file system")
FORBIDDEN = PermissionError(errno.EACCES, "Permission denied")
FAILING = OSError(errno.EIO, "Input/output error")
TORCH_MEMORY = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 9 bytes")
LOAD = "transformers.AutoModelForCausalLM.from_pretrained"
ADAPTER = "adapter/adapter_model.safetensors"

GPT2 = edit_json("config.json", architectures=["GPT2LMHeadModel"], model_type="gpt2")
#: Every tensor twice as wide and high: an adapter for another model.
OTHER_ADAPTER = edit_weights(lambda t: t.update({name: value.repeat(2, 2) for name, value in t.items()}), ADAPTER)


def chat(spoil: Spoil | None, **options: Any) -> Command:
    """``edgetune chat`` with a bare GGUF file spoilt so."""
    return lambda w: w.cmd("chat", w.gguf(spoil, **options), "--prompt", "hi")


def ask(spoil: Spoil) -> Command:
    """``edgetune chat`` with an artifact spoilt so."""
    return lambda w: w.cmd("chat", w.artifact(spoil), "--prompt", "hi")


def slo(line: str) -> Command:
    """``edgetune bench`` held to an SLO file with one objective."""

    def command(w: World) -> Any:
        w.file("slo.yaml", f"- {{{line}}}\n")
        return w.cmd("bench", w.gguf(None), "--slo", "slo.yaml")

    return command


ARTIFACTS: dict[str, Case] = {
    "nothing there": (lambda w: w.cmd("chat", "gone.gguf", "--prompt", "hi"), 8, "no such artifact"),
    "a report where an artifact goes": (
        lambda w: w.cmd("bench", w.gguf(), "--json", "out.json"), 8, "no such artifact: out.json"),
    "more threads than there can be": (lambda w: w.cmd("bench", w.gguf(), "--threads", "100000"), 1, "100000 threads"),
    "more threads than a chat can have": (
        lambda w: w.cmd("chat", w.gguf(), "--prompt", "hi", "--threads", "100000"), 1, "100000 threads"),
    "a GGUF of no bytes": (chat(lambda p: p.write_bytes(b"")), 8, "model.gguf"),
    "a GGUF cut off in its header": (chat(cut(keep=0.001)), 8, "model.gguf"),
    "a GGUF cut off in its tensors": (chat(cut(keep=0.7)), 8, "model.gguf"),
    "a GGUF that is none": (chat(lambda p: p.write_text("<html>404 not found</html>" * 9)), 8, "model.gguf"),
    "a GGUF of a later version": (chat(flip(at=4)), 8, "version"),
    "a GGUF without a chat template": (chat(None, template=None), 8, "no chat template"),
    "a GGUF with a broken template": (chat(None, template="{% for %}"), 8, "template"),
    "a cut GGUF as base": (lambda w: w.cmd("export", w.gguf(cut(keep=0.7))), 5, "model.gguf"),
    "a folder that is no artifact": (lambda w: w.cmd("chat", ".", "--prompt", "hi"), 8, "is not an artifact"),
    "a damaged manifest": (ask(cut("manifest.json")), 8, "manifest"),
    "a manifest of a later version": (ask(edit_json("manifest.json", schema_version=9)), 8, "manifest"),
    "the model file missing": (ask(remove("tiny.gguf")), 8, "is damaged"),
    "the model file cut off": (ask(cut("tiny.gguf")), 8, "is damaged"),
    "the model file changed": (
        lambda w: w.cmd("eval", w.artifact(flip("tiny.gguf")), "--data", "rows.jsonl"), 8, "is damaged"),
    "a runtime that is not installed": (ask(edit_json("manifest.json", runtime="none")), 8, "no runtime 'none'"),
    "an artifact without rows to evaluate on": (lambda w: w.cmd("eval", w.artifact()), 4, "no held-out rows"),
    "a benchmark of nothing": (lambda w: w.cmd("bench", "gone.gguf"), 8, "no such artifact"),
    "a benchmark of a cut file": (lambda w: w.cmd("bench", w.gguf(cut(keep=0.7))), 8, "model.gguf"),
    "a benchmark against an unknown target": (
        lambda w: w.cmd("bench", w.gguf(None), "--target", "voice-asistant"), 14, "did you mean 'voice-assistant'"),
    "a benchmark against a device": (lambda w: w.cmd("bench", w.gguf(), "--target", "raspberry-pi-5"), 14, "a device"),
    "text against a camera": (lambda w: w.cmd("bench", w.gguf(None), "--target", "camera-30fps"), 14, "that classify"),
    "objectives that are not there": (lambda w: w.cmd("bench", w.gguf(None), "--slo", "gone.yaml"), 14, "gone.yaml"),
    "an objective on what is not measured": (slo("metric: tftt, at_most: 1"), 14, "did you mean ttft"),
    "an objective in another unit": (slo("metric: ttft, at_most: 1, unit: MB"), 14, "measured in ms"),
    "an objective without a limit": (slo("metric: ttft"), 14, "exactly one limit"),
    "an artifact exported again": (lambda w: w.cmd("export", w.artifact()), 7, "is an artifact already"),
}  # fmt: skip


def look(spoil: Spoil | None = None, **manifest: Any) -> Command:
    """``edgetune eval`` on a run spoilt so."""
    return lambda w: w.cmd("eval", w.run(spoil, **manifest), "--no-base")


RUNS: dict[str, Case] = {
    "a manifest cut off": (look(cut("manifest.json")), 1, "manifest.json is damaged"),
    "a manifest of a later version": (look(schema_version=9), 1, "manifest.json is damaged"),
    "a recipe that is gone": (
        lambda w: w.cmd("train", "--resume", w.run(remove("recipe.yaml"), state="prepared")), 3, "recipe.yaml"),
    "a recipe that is damaged": (look(write("recipe.yaml", "name: [")), 3, "recipe.yaml"),
    "held-out rows gone": (look(remove("data/heldout.jsonl")), 4, "heldout.jsonl"),
    "held-out rows damaged": (look(write("data/heldout.jsonl", "{")), 4, "heldout.jsonl"),
    "not trained yet": (look(state="prepared"), 1, "is not trained yet"),
    "not trained yet, exported": (lambda w: w.cmd("export", w.run(state="training")), 1, "is not trained yet"),
    "no adapter": (look(remove("adapter")), 5, "adapter"),
    "adapter weights gone": (look(remove(ADAPTER)), 5, "adapter"),
    "adapter weights cut off": (look(cut(ADAPTER)), 5, "adapter"),
    "adapter weights cut off, exported": (
        lambda w: w.cmd("export", w.run(cut(ADAPTER))), 5, "adapter"),
    "adapter settings damaged": (look(cut("adapter/adapter_config.json")), 5, "adapter"),
    "the adapter of another model": (look(OTHER_ADAPTER), 5, "adapter"),
    "the adapter of another model, exported": (lambda w: w.cmd("export", w.run(OTHER_ADAPTER)), 5, "adapter"),
    "a base that is gone": (look(base_folder="/gone"), 5, "/gone"),
    "a base that is gone, exported": (lambda w: w.cmd("export", w.run(base_folder="/gone")), 5, "/gone"),
    "no tokenizer": (look(remove("tokenizer")), 5, "tokenizer"),
    "an export that is not there": (
        lambda w: w.cmd("chat", w.run(), "--artifact", "q4_0", "--prompt", "hi"), 8, "has no export 'q4_0'"),
    "a benchmark without exports": (lambda w: w.cmd("bench", w.run()), 8, "export"),
    "resume of what is no run": (lambda w: w.cmd("train", "--resume", "."), 1, "is not a run folder"),
    "an output folder that is in use": (
        lambda w: w.cmd("train", w.recipe(), "--output", "."), 3, "exists and is not empty"),
}  # fmt: skip


def export(*flags: str) -> Command:
    """``edgetune export`` of a sound model."""
    return lambda w: w.cmd("export", w.model(), *flags)


def no_space(_folder: object) -> object:
    """A disk with nothing free."""
    return shutil._ntuple_diskusage(1_000_000, 1_000_000, 0)


EXPORTS: dict[str, Case] = {
    "unknown format": (export("--format", "onnnx"), 7, "no exporter for format 'onnnx'"),
    "unknown precision": (export("--quant", "q9_9"), 7, "q9_9"),
    "an imatrix that is not there": (export("--quant", "q4_0", "--imatrix", "gone.gguf"), 7, "no such imatrix"),
    "an imatrix that is none": (export("--quant", "q4_0", "--imatrix", "rows.jsonl"), 7, "not an imatrix"),
    "a model as imatrix": (
        lambda w: w.cmd("export", w.model(), "--quant", "q4_0", "--imatrix", w.gguf()), 7, "is no imatrix"),
    "an imatrix of what has no rows": (export("--imatrix", "auto"), 7, "only a run has training rows"),
    "an imatrix for a format that minds none": (
        lambda w: w.cmd("export", w.run(), "--format", "onnx", "--imatrix", "auto"), 7, "no use for an imatrix"),
    "a text that is no text": (
        lambda w: w.cmd("export", w.run(), "--imatrix", "auto", "--imatrix-text", w.gguf()), 4, "as text"),
    "the smallest of what was not trained": (export("--auto"), 7, "--auto needs a run"),
    "limits without --auto": (export("--max-size", "90"), 2, "need --auto"),
    "unknown architecture": (lambda w: w.cmd("export", w.model(GPT2)), 7, "GPT2"),
    "a disk too small": (
        lambda w: w.replace("shutil.disk_usage", no_space).cmd("export", w.model(), "--quant", "f32"),
        10, "bytes free"),
    "a disk that fills up": (
        lambda w: w.fail("os.fsync", FULL).cmd("export", w.model(), "--quant", "f32"), 10, "disk full"),
    "a read-only disk": (
        lambda w: w.fail("tempfile.mkdtemp", READ_ONLY).cmd("export", w.model(), "--quant", "f32"),
        10, "Read-only file system"),
    "a folder one may not write to": (
        lambda w: w.fail("tempfile.mkdtemp", FORBIDDEN).cmd("export", w.model(), "--quant", "f32"),
        10, "Permission denied"),
    "a disk that takes no large files": (
        lambda w: w.limit_file_size(20_000).cmd("export", w.sound.base.as_posix(), "--quant", "f32"),
        10, "File too large"),
    "a disk that is failing": (
        lambda w: w.fail("os.fsync", FAILING)
        .cmd("export", w.model(), "--quant", "f32"), 10, "Input/output error"),
    "an output below a file": (export("--output", "rows.jsonl/out", "--quant", "f32"), 10, "cannot write"),
    "an output that is a file": (export("--output", "rows.jsonl"), 2, "rows.jsonl"),
    "a tensor missing": (
        lambda w: w.cmd("export", w.model(edit_weights(lambda t: t.pop("model.norm.weight"))), "--quant", "f32"),
        7, "model.norm.weight"),
}  # fmt: skip

MACHINE: dict[str, Case] = {
    "no llama.cpp": (
        lambda w: w.without("llama_cpp").cmd("chat", w.gguf(), "--prompt", "hi"), 11, "needs the 'gguf' extra"),
    "no gguf package": (lambda w: w.without("gguf").cmd("export", w.model(), "--quant", "f32"), 11, "'gguf' extra"),
    "no transformers": (
        lambda w: w.without("transformers").cmd("eval", w.model(), "--data", "rows.jsonl"), 11, "'train' extra"),
    "no rouge-score": (
        lambda w: w.without("rouge_score").cmd("eval", w.run(edit_recipe("rouge_l")), "--no-base"), 11, "'eval' extra"),
    "no pyarrow": (
        lambda w: w.without("pyarrow").cmd("data", "check", w.file("a.parquet", b"PAR1")), 11, "'train' extra"),
    "no memory for the model": (
        lambda w: w.fail(LOAD, MemoryError())
        .cmd("eval", w.model(), "--data", "rows.jsonl"), 10, "not enough memory"),
    "no memory in torch": (
        lambda w: w.fail(LOAD, TORCH_MEMORY)
        .cmd("eval", w.model(), "--data", "rows.jsonl"), 10, "not enough memory"),
    "a disk full while an evaluation is stored": (
        lambda w: w.fail("os.fsync", FULL).cmd("eval", w.run(), "--no-base", "--limit", "1"), 10, "disk full"),
    "Ctrl-C": (
        lambda w: w.fail("edgetune.evaluation.subjects.evaluate", KeyboardInterrupt())
        .cmd("eval", w.run(), "--no-base"), 130, "interrupted"),
}  # fmt: skip


def edit_recipe(metric: str) -> Spoil:
    """A run's recipe with another metric."""
    return write("recipe.yaml", f"name: a\nmodel: {{source: x}}\ntask: {{metrics: [{metric}], max_new_tokens: 2}}\n")
