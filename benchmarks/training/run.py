"""How fast edgetune trains, next to TRL's SFTTrainer and a plain loop: side by side, on the same rows.

    python benchmarks/training/run.py            # all of it, about twelve minutes on two cores
    python benchmarks/training/run.py --quick    # a rough look; nothing is published

Each contender trains in a process of its own, one after the other, in turns (A B C A B C). Raw step
times and the machine go to ``results/``; the tables in README.md are made from that file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # publishing.py

from as_users import RECIPE
from contenders import CONTENDERS, EVERY, PACKED, RUNGS, progress_file
from figures import require_same_rows
from heldout import BASE
from job import Job, read_steps
from publishing import (
    REPOSITORY,
    describe_machine,
    exit_with,
    newest_results,
    now,
    publish_tables,
    write_results,
)
from rows import Material, make_rows
from tables import to_markdown
from trl_environment import TRL, trl_python

from edgetune import console
from edgetune.bench.company import Company
from edgetune.errors import EdgetuneError
from edgetune.models import resolve_base
from edgetune.recipe import Recipe, resolve

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
#: Everything a benchmark makes on the way; git ignores it.
WORK = REPOSITORY / "build" / "benchmarks" / "training"
#: How all train. Not the recipe's own schedule, which is tuned for its ten minutes: here speed is compared.
HOW: dict[str, Any] = {
    "batch_size": 16,
    "rank": 16,
    "alpha": 32.0,
    "learning_rate": 1e-3,
    "adam_beta2": 0.999,
    "warmup": 0.05,
    "scheduler": "cosine",
    "max_grad_norm": 1.0,
    "seed": 17,
}
#: Steps at the start of a process that are not timed: caches, memory and threads settle.
WARM_UP = 2
PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "bitsandbytes", "tokenizers")
POLL_SECONDS = 0.5
#: Lines of a failed process's output that are shown.
SHOWN = 20


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="steps of each contender (default: 12)")
    parser.add_argument(
        "--repeats", type=int, default=2, help="turns of all contenders, each with a seed of its own (default: 2)"
    )
    parser.add_argument("--ladder-steps", type=int, default=6, help="steps of each rung; 0: no ladder (default: 6)")
    parser.add_argument("--heldout", type=int, default=100, help="held-out rows (default: 100)")
    parser.add_argument("--packing", action="store_true", help="also TRL with packing=True")
    parser.add_argument("--quick", action="store_true", help="few steps, no ladder, nothing published")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="folder for the results; README.md follows the default one only"
    )
    parser.add_argument("--tables-only", action="store_true", help="write README.md's tables from the newest results")
    options = parser.parse_args()
    if options.quick:
        options.steps, options.repeats, options.ladder_steps, options.heldout = 6, 1, 0, 32
    if options.steps <= WARM_UP or 0 < options.ladder_steps <= WARM_UP or min(options.repeats, options.heldout) < 1:
        parser.error(f"--steps and --ladder-steps must be more than the {WARM_UP} that are not timed")
    if options.ladder_steps > options.steps:
        parser.error("--ladder-steps must not be more than --steps: the plain loop groups all rows by length")
    return options


def main() -> None:
    options = parse()
    if options.tables_only:
        publish_tables(HERE, newest_results(options.output), to_markdown)
        return
    recipe = resolve(RECIPE).recipe
    result = measure(recipe, options)
    if options.quick:
        console.data(to_markdown(result))
        return
    target = write_results(options.output, result, result["environment"]["cpu"])
    console.note(f"results: {target}")
    if options.output == RESULTS:
        publish_tables(HERE, target, to_markdown)
    else:
        console.data(to_markdown(result))


def measure(recipe: Recipe, options: argparse.Namespace) -> dict[str, Any]:
    """Run all contenders and the ladder; everything raw, nothing derived."""
    if WORK.exists():
        shutil.rmtree(WORK)
    WORK.mkdir(parents=True, exist_ok=True)
    python = trl_python()
    base = resolve_base(recipe.model, RECIPE.parent)
    train_rows = options.steps * HOW["batch_size"]
    material = make_rows(WORK, base.folder, recipe, train=train_rows, heldout=options.heldout)
    machine = describe_machine(PACKAGES)
    jobs = list(_jobs(base.folder, material, options))
    with console.progress("Training", total=sum(job.steps for job in jobs), unit="steps") as bar:
        trainings = [_run(job, python, bar) for job in jobs]
    require_same_rows(trainings)
    heldout = _measure_heldout([job for job in jobs if job.contender not in RUNGS])
    machine["versions"]["trl"] = TRL
    return {
        "kind": "edgetune-training-benchmark",
        "schema_version": 1,
        "created": now(),
        "settings": _settings(options),
        "base": {"origin": base.origin, "sha256": base.sha256},
        "rows": material.facts,
        "environment": machine,
        "trainings": trainings,
        "heldout": heldout,
    }


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "steps": options.steps,
        "ladder_steps": options.ladder_steps,
        "repeats": options.repeats,
        "warm_up": WARM_UP,
        "base": "NF4, blocks of 64, double quantisation",
        "compute": "float32, CPU",
        **HOW,
    }


def _jobs(base: Path, material: Material, options: argparse.Namespace) -> Iterator[Job]:
    """In the order in which they run: turns of the contenders, then the ladder from the bottom up."""
    names = [*CONTENDERS, *(PACKED if options.packing else ())]
    turns = [(name, HOW["seed"] + turn, options.steps) for turn in range(options.repeats) for name in names]
    ladder = [(name, HOW["seed"], options.ladder_steps) for name in RUNGS] if options.ladder_steps else []
    for name, seed, steps in [*turns, *ladder]:
        yield Job(
            contender=name,
            folder=str(WORK / f"{name}-{seed}"),
            rows=str(material.encoded),
            messages=str(material.messages),
            base=str(base),
            steps=steps,
            **{**HOW, "seed": seed},
        )


def _run(job: Job, trl: Path, bar: console.Bar) -> dict[str, Any]:
    """Train in a fresh process, and move the bar with its steps; returns what it measured.

    Raises:
        EdgetuneError: it failed; its last lines are in ``problems``.
    """
    contender = EVERY[job.contender]
    python = str(trl) if contender.needs_trl else sys.executable
    before, company = bar.done, Company()
    _watch([python, str(HERE / "contenders.py"), "train", str(job.write())], Path(job.folder), job, bar)
    bar.update(before + job.steps, f"Training: {contender.title}")
    others = company.share()
    return _collect(job) | {"others_cpu_share": None if others is None else round(others, 4)}


def _watch(command: Sequence[str], folder: Path, job: Job | None, bar: console.Bar) -> None:
    log = folder / "log.txt"
    before = bar.done
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                if job is not None:
                    bar.update(before + _steps_done(job), f"Training: {EVERY[job.contender].title}")
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN:]
        raise EdgetuneError(
            f"{folder.name} failed (exit code {process.returncode})", hint=f"read {log}", problems=lines
        )


def _steps_done(job: Job) -> int:
    file = progress_file(job)
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return min(job.steps, text.count("\n"))


def _collect(job: Job) -> dict[str, Any]:
    """What one process measured."""
    outcome = json.loads(job.outcome_file.read_text(encoding="utf-8"))
    steps = read_steps(job.steps_file)
    if len(steps) != job.steps:
        raise EdgetuneError(
            f"{job.contender} made {len(steps)} of {job.steps} steps", hint=f"read {job.folder}/log.txt"
        )
    return {
        "contender": job.contender,
        "title": EVERY[job.contender].title,
        "seed": job.seed,
        "kind": "rung" if job.contender in RUNGS else "contender",
        **outcome,
        "steps": [{key: round(value, 6) for key, value in asdict(step).items()} for step in steps],
    }


def _measure_heldout(jobs: Sequence[Job]) -> dict[str, Any]:
    """Nats and answer tokens of each held-out row: by contender and seed, and of the base without an adapter."""
    paths = [str(Path(job.folder) / "job.json") for job in jobs]
    folder = WORK / "heldout"
    folder.mkdir()
    with console.progress("Held-out loss", unit="adapters") as bar:
        _watch([sys.executable, str(HERE / "contenders.py"), "heldout", *paths], folder, None, bar)
    found: dict[str, Any] = {BASE: {"": json.loads((Path(jobs[0].folder) / f"{BASE}.json").read_text("utf-8"))}}
    for job in jobs:
        rows = json.loads((Path(job.folder) / "heldout.json").read_text("utf-8"))
        found.setdefault(job.contender, {})[str(job.seed)] = rows
    return found


if __name__ == "__main__":
    exit_with(main)
