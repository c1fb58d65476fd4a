"""What is run and timed: the stages of the usual chain, and edgetune's one process."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measured import run

HERE = Path(__file__).resolve().parent
TARGETS = ("q8_0", "q4_k_m")
OURS = "edgetune"
#: The ways of the chain to each target; where there are two, the faster one counts.
ROUTES = {
    "q8_0": (("merge", "convert to q8_0"), ("merge", "convert to bf16", "quantise to q8_0")),
    "q4_k_m": (("merge", "convert to bf16", "quantise to q4_k_m"),),
}


@dataclass(frozen=True)
class Inputs:
    """What both start from.

    Attributes:
        base: model folder.
        adapter: PEFT folder.
        converter: convert_hf_to_gguf.py.
        threads: of both quantisers.
    """

    base: Path
    adapter: Path
    converter: Path
    threads: int


@dataclass(frozen=True)
class Stage:
    """One process.

    Attributes:
        contender: ``chain`` or ``edgetune``.
        name: in :data:`ROUTES`, or the target.
        command: to run.
        reads: files and folders, brought into the page cache first.
        writes: file or folder.
    """

    contender: str
    name: str
    command: tuple[str, ...]
    reads: tuple[Path, ...]
    writes: Path


def chain(inputs: Inputs, work: Path) -> Iterator[Stage]:
    """Every stage that some route needs, each in an order that its inputs allow."""
    merged, whole = work / "merged", work / "merged.gguf"
    script = (sys.executable, str(HERE / "chain.py"))
    command = (*script, "merge", str(inputs.base), str(inputs.adapter), str(merged))
    yield Stage("chain", "merge", command, (inputs.base, inputs.adapter), merged)
    for kind, target in (("q8_0", work / "converted-q8_0.gguf"), ("bf16", whole)):
        command = (sys.executable, str(inputs.converter), str(merged), "--outtype", kind, "--outfile", str(target))
        yield Stage("chain", f"convert to {kind}", command, (merged,), target)
    for kind in TARGETS:
        target = work / f"quantised-{kind}.gguf"
        command = (*script, "quantise", str(whole), str(target), kind, str(inputs.threads))
        yield Stage("chain", f"quantise to {kind}", command, (whole,), target)


def ours(inputs: Inputs, work: Path) -> Iterator[Stage]:
    """One process for each target."""
    for kind in TARGETS:
        output = work / kind
        command = (sys.executable, "-m", "edgetune", "export", str(inputs.adapter), "--base", str(inputs.base))
        command += ("--quant", kind, "--output", str(output))
        yield Stage(OURS, kind, command, (inputs.base, inputs.adapter), output)


def measure(stage: Stage, turn: int) -> dict[str, Any]:
    """Run a stage with its inputs in the page cache and nothing left to be written."""
    for path in stage.reads:
        _read(path)
    _remove(stage.writes)
    os.sync()
    log = stage.writes.with_name(f"{stage.contender} {stage.name}.log")
    cost = run(stage.command, os.environ | {"HF_HUB_OFFLINE": "1"}, log)
    sizes = [path.stat().st_size for path in _files(stage.writes)]
    return {
        "contender": stage.contender,
        "stage": stage.name,
        "turn": turn,
        **asdict(cost),
        "written_bytes": sum(sizes),
    }


def _files(path: Path) -> list[Path]:
    return [found for found in path.rglob("*") if found.is_file()] if path.is_dir() else [path]


def _read(path: Path) -> None:
    for file in _files(path):
        with file.open("rb", buffering=0) as handle:
            while handle.read(1 << 24):
                pass


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
