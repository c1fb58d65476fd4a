"""Two specialisations on one device: one base with two adapters beside two merged models, in both runtimes.

English and Spanish smart home on SmolLM2. Usage: python benchmarks/adapters/run.py [ENGLISH-RUN]; default: the newest
trained runs/smart-home-*. The Spanish adapter is trained as the recipe says, if there is none yet.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402

from edgetune import console, training  # noqa: E402
from edgetune.data.reading import load_rows  # noqa: E402
from edgetune.errors import EdgetuneError  # noqa: E402
from edgetune.evaluation.subjects import choose_rows  # noqa: E402
from edgetune.exporting import Wanted, find_source  # noqa: E402
from edgetune.recipe import resolve  # noqa: E402
from edgetune.recipes import find_recipe  # noqa: E402
from edgetune.run import Run, open_run  # noqa: E402
from edgetune.sources import default_folder  # noqa: E402

#: Format → the precision of its base and of its merged models.
PRECISIONS = {"gguf": "q8_0", "onnx": "int8"}
RUNTIMES = {"gguf": "llama.cpp", "onnx": "onnxruntime-genai"}
ARRANGEMENTS = {"separate": "one base, two adapters", "merged": "two merged models"}
#: Held-out requests asked of each language, in turns, so that every one is a switch.
REQUESTS = 30
TURNS = 3


def main() -> None:
    """Train what is missing, export, measure in turns, publish."""
    english = open_run(publishing.smart_home_run())
    runs = {"en": english, "es": _spanish()}
    machine = publishing.describe_machine(("llama-cpp-python", "gguf", "onnxruntime", "onnxruntime-genai"))
    questions = {name: _questions(run) for name, run in runs.items()}
    with tempfile.TemporaryDirectory() as scratch:
        jobs = {
            f"{kind} {name}": job
            for kind, precision in PRECISIONS.items()
            for name, job in _export(runs, kind, precision, Path(scratch) / kind).items()
        }
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in jobs}
        with console.progress("Measuring", total=TURNS * len(jobs), unit="processes") as bar:
            for _ in range(TURNS):
                for name, job in jobs.items():
                    found[name].append(_measured(job | {"questions": questions}))
                    bar.advance()
    sizes = {name: job["size_bytes"] for name, job in jobs.items()}
    result = {"created": publishing.now(), "machine": machine, "size_bytes": sizes, "samples": found}
    publishing.write_results(HERE / "results", result, machine["cpu"])
    publishing.put_into_readme(HERE / "README.md", page(result))


def _spanish() -> Run:
    """The recipe in Spanish, trained over the same base."""
    changes = {"name": ("smart-home-es", "flag"), "data.prepare.arguments": (["--language", "es"], "flag")}
    resolved = resolve(find_recipe("smart-home"), changes)
    return training.train(resolved, default_folder(resolved))


def _questions(run: Run) -> list[list[str]]:
    """Held-out requests with what is expected."""
    rows = load_rows(run.heldout_file).raise_on_problems().rows
    chosen = [rows[index].messages for index in choose_rows(len(rows), REQUESTS, run.recipe.train.seed)]
    return [[str(messages[-2]["content"]), str(messages[-1]["content"])] for messages in chosen]


def _export(runs: dict[str, Run], format: str, precision: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Both arrangements: what to load, and how large it is."""
    merged, adapters, base, size = {}, {}, "", {"separate": 0, "merged": 0}
    for name, run in runs.items():
        source = find_source(str(run.folder))
        kept = Wanted(format, separate=True, with_base=None if base else precision)
        whole_models = Wanted(format, (precision,))
        for part in [*source.parts(kept, folder / name), *source.parts(whole_models, folder / name)]:
            artifact = part.write()
            assert artifact.manifest is not None
            whole = artifact.manifest.weights == "merged"
            size["merged" if whole else "separate"] += artifact.manifest.size_bytes
            if artifact.is_base:
                base = str(artifact.path)
            else:
                (merged if whole else adapters)[name] = str(artifact.path)
    return {
        "separate": {"base": base, "adapters": adapters, "size_bytes": size["separate"]},
        "merged": {"models": merged, "size_bytes": size["merged"]},
    }


def _measured(job: dict[str, Any]) -> dict[str, Any]:
    """One arrangement in a fresh process."""
    command = [sys.executable, str(HERE / "arrangement.py")]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EdgetuneError(f"the measured process failed: {done.stderr.strip()[-300:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def page(result: dict[str, Any]) -> str:
    """The table as Markdown."""
    rows = [_row(name, result["size_bytes"][name], samples) for name, samples in result["samples"].items()]
    head = [
        "runtime",
        "",
        "files, MB",
        "load, s",
        "peak RSS, MB",
        "PSS, MB",
        "switch, ms",
        "ttft, ms",
        "decode, tokens/s",
    ]
    head += ["exact match, en", "exact match, es"]
    lines = [publishing.table(head, rows)]
    count = len(next(iter(result["samples"].values())))
    same = ", ".join(f"{RUNTIMES[kind]} {_same(result['samples'], kind):.1%}" for kind in PRECISIONS)
    lines.append(f"Medians of {count} fresh processes each, in turns. The same answer from both arrangements: {same}.")
    return "\n\n".join([*lines, f"Machine: {publishing.machine_line(result['machine'])}."])


def _same(samples: dict[str, list[dict[str, Any]]], kind: str) -> float:
    """Share of the answers that both arrangements give."""
    pairs = zip(samples[f"{kind} separate"], samples[f"{kind} merged"], strict=True)
    return statistics.mean(a == b for one, two in pairs for a, b in zip(one["answers"], two["answers"], strict=True))


def _row(name: str, size: int, samples: list[dict[str, Any]]) -> list[str]:
    def median(name: str, scale: float = 1.0, digits: int = 1) -> str:
        return f"{scale * statistics.median(sample[name] for sample in samples):.{digits}f}"

    kind, arrangement = name.split()
    switch = median("switch_s", 1e3, 2) if samples[0]["switch_s"] is not None else "none"
    right = [f"{samples[0]['right'][name]:.2f}" for name in ("en", "es")]
    memory = [median("peak_rss", 1e-6, 0), median("pss", 1e-6, 0)]
    speed = [median("ttft_s", 1e3), median("decode")]
    return [
        RUNTIMES[kind],
        ARRANGEMENTS[arrangement],
        f"{size / 1e6:.0f}",
        median("load_s", digits=2),
        *memory,
        switch,
        *speed,
        *right,
    ]


if __name__ == "__main__":
    publishing.exit_with(main)
