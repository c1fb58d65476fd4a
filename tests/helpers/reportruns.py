"""A run folder with everything stored in it, made from numbers alone: no model, no training, no torch."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgetune import files
from edgetune.artifact import Artifact, ArtifactManifest, write_manifest
from edgetune.bench.samples import Loads, LoadSample, MemorySample, RequestSample
from edgetune.bench.schema import BenchReport, Environment, Settings, Subject
from edgetune.bench.summary import Samples, figures
from edgetune.evaluation.figures import scores_of
from edgetune.evaluation.intervals import count_groups
from edgetune.evaluation.metrics import Score, chosen
from edgetune.evaluation.record import Answer, Basis, Evaluation, store
from edgetune.evaluation.subjects import artifact_opening, tuned_opening
from edgetune.recipe import resolve
from edgetune.run import Run, create_run
from edgetune.training import metrics_file
from edgetune.verification.record import Check, Depth, Verification
from edgetune.verification.record import store as store_verification

RECIPE = """
name: smart-home
description: Spoken requests to Home Assistant intents
model: {source: someone/small-model}
task: {metrics: [exact_match, json], max_new_tokens: 64, system: Answer with the intent as JSON.}
"""
ROOMS = ("kitchen", "guest room", "hall", "attic", "garage", "bathroom")
INTENTS = ("HassTurnOn", "HassTurnOff", "HassLightSet", "HassCancelAllTimers", "HassGetState")


@dataclass(frozen=True)
class Made:
    """One artifact to make.

    Attributes:
        precision: also its folder's name.
        megabytes: of its file, as the manifest says; the file itself is tiny.
        right: share of rows that it answers right.
        verified: whether its verification passed; None: it has none.
        gap_ms: between tokens.
        threads: of its benchmark; None: it has none.
    """

    precision: str
    megabytes: float
    right: float
    verified: bool | None = True
    gap_ms: float = 8.0
    threads: int | None = 2
    evaluated: bool = True


FOUR = (
    Made("f16", 270.9, 0.925, gap_ms=13.1),
    Made("q8_0", 144.8, 0.925, gap_ms=7.3),
    Made("q4_k_m", 105.5, 0.908, gap_ms=6.1),
    Made("q2_k", 88.2, 0.55, verified=False, gap_ms=5.6),
)


def write_report_run(folder: Path, made: Sequence[Made] = FOUR, *, rows: int = 240, base: float = 0.02) -> Run:
    """A run of the smart-home kind with its evidence.

    Args:
        folder: of the run; the recipe is written beside it.
        made: artifacts.
        rows: held out.
        base: share of rows that the untuned base answers right.
    """
    recipe = folder.with_name(f"{folder.name}.yaml")
    recipe.write_text(RECIPE)
    run = create_run(resolve(recipe), folder, created="2026-01-01T10:00:00+00:00", version="0.1.0")
    run.data_folder.mkdir()
    run.heldout_file.write_text("held out\n")
    run.adapter_folder.mkdir()
    (run.adapter_folder / "adapter_model.safetensors").write_text("adapter")
    _write_training(run)
    write_evaluation(run, "base", base, rows, tokens=64)
    write_evaluation(run, "tuned", 0.925, rows, weights=tuned_opening(run).weights_sha256)
    for one in made:
        write_made(run, one, rows)
    return run


def write_made(run: Run, one: Made, rows: int) -> Artifact:
    """An artifact's folder, and what is stored about it."""
    folder = run.exports_folder / one.precision
    folder.mkdir(parents=True)
    name = f"smart-home-{one.precision}"
    (folder / f"{name}.gguf").write_text(one.precision)
    manifest = ArtifactManifest(
        name=name, format="gguf", precision=one.precision, runtime="llama.cpp", main_file=f"{name}.gguf",
        weights="merged", architecture="LlamaForCausalLM", base_source="someone/small-model", base_sha256="b" * 64,
        merged_into="nf4", chat_template_sha256="c" * 64, stop_ids=(2,), system="Answer with the intent as JSON.",
        context_length=8192, parameters=134515008, tensor_types={one.precision.upper(): 211, "F32": 61}, fallbacks={},
        sha256=dict(files.sha256_files(folder)), size_bytes=int(one.megabytes * 1e6), edgetune="0.1.0",
        created="2026-01-01T10:20:00+00:00", licence="apache-2.0", run=run.folder.name,
    )  # fmt: skip
    artifact = write_manifest(folder, manifest)
    if one.evaluated:
        write_evaluation(run, name, one.right, rows, weights=artifact_opening(artifact).weights_sha256)
    if one.verified is not None:
        store_verification(folder, _verification(artifact, passed=one.verified))
    if one.threads is not None:
        bench_report(artifact, one).write(run.folder / "bench" / f"{name}.json")
    return artifact


def write_evaluation(
    run: Run, subject: str, right: float, rows: int, *, weights: str = "w", tokens: int = 18, loss: float | None = None
) -> Evaluation:
    """An evaluation in which the first rows, in a fixed shuffled order, are right."""
    nats = loss if loss is not None else 4.0 * (1 - right) ** 2 + 0.02
    answers, scores = _scored(right, rows, nats, tokens)
    evaluation = Evaluation(
        subject=subject,
        basis=Basis(
            weights_sha256=weights,
            data_sha256=run.manifest.data_sha256["heldout"],
            rows=tuple(range(rows)),
            runtime="torch" if subject == "tuned" else "llama.cpp",
            metrics=("exact_match", "json"),
            max_new_tokens=64,
            system=None,
            edgetune="0.1.0",
        ),
        created="2026-01-01T10:30:00+00:00",
        seconds={"loss": 1.0, "generation": 2.0},
        groups=count_groups([answer.group for answer in answers]),
        scores=scores,
        answers=answers,
    )
    store(run.evaluation_file(subject), evaluation)
    return evaluation


@cache
def _scored(right: float, rows: int, nats: float, tokens: int) -> tuple[tuple[Answer, ...], tuple[Score, ...]]:
    """Answers and their scores; intervals take time, and many tests want the same."""
    order = list(range(rows))
    random.Random(1).shuffle(order)
    good = set(order[: round(right * rows)])
    answers = tuple(_answer(row, row in good, nats, tokens) for row in range(rows))
    return answers, scores_of(answers, chosen(("exact_match", "json")))


def _answer(row: int, right: bool, nats: float, tokens: int) -> Answer:
    chance = random.Random(row)
    room, intent = chance.choice(ROOMS), chance.choice(INTENTS)
    reference = json.dumps({"intent": intent, "area": room})
    wrong = json.dumps({"intent": intent, "area": chance.choice([other for other in ROOMS if other != room])})
    prediction = reference if right else wrong
    ratios = {metric.name: metric.measure(prediction, reference) for metric in chosen(("exact_match", "json"))}
    return Answer(
        row=row,
        prompt=f"<|im_start|>user\n{intent.removeprefix('Hass').lower()} the {room}<|im_end|>\n<|im_start|>assistant\n",
        reference=reference,
        prediction=prediction,
        finish="length" if tokens == 64 else "stop",
        tokens=tokens,
        correct=right,
        group=f"{intent} {row % 60}",
        ratios={"loss": (nats * 19 * chance.uniform(0.5, 1.5), 19.0), **ratios},
    )


def _verification(artifact: Artifact, *, passed: bool) -> Verification:
    checks = (
        Check(name="file", passed=True, text="1 file is as exported"),
        Check(name="weights", passed=True, text="272 tensors, at most 0.66% away from the trained ones"),
        Check(
            name="distributions",
            passed=passed,
            text="mean KL 5.8e-05 nats (p99 0.0013, max 0.0046), same likeliest token at 100.0% of 296 clear positions",
            figures={"kl_mean": 5.8e-5 if passed else 0.9},
            limits={"kl_mean": 0.01},
            cause=None if passed else "see the weights; where those are right, another graph or type",
        ),
        Check(
            name="task",
            passed=passed,
            text="1.000 of the gain left [0.980, 1.000]",
            figures={
                "retention": 1.0 if passed else 0.6,
                "low": 0.98 if passed else 0.5,
                "high": 1.0 if passed else 0.7,
            },
            limits={"retention": 0.97},
        ),
        Check(name="loss", passed=None, text="1.0000 of the gain left; not judged"),
    )
    assert artifact.manifest is not None
    return Verification(
        artifact=artifact.name,
        sha256=artifact.manifest.sha256,
        basis_sha256="d",
        depth=Depth(rows=16, answers=24),
        precision_class="8 bits",
        reference="the trained model in torch, float32",
        checks=checks,
        created="2026-01-01T10:40:00+00:00",
        seconds=22.0,
        edgetune="0.1.0",
    )


def bench_report(artifact: Artifact, made: Made) -> BenchReport:
    """A benchmark with samples from a seeded generator."""
    assert artifact.manifest is not None
    chance = random.Random(made.precision)
    starts = [
        LoadSample(ready_s=0.5 + chance.random() / 20, first_token_s=0.7 + chance.random() / 10) for _ in range(3)
    ]
    requests = [_request(chance, made.gap_ms, place) for place in range(60)]
    file_backed = int(made.megabytes * 1.02e6) + 30_000_000
    anonymous = 120_000_000 + int(made.megabytes * 2e5)
    memory = MemorySample(
        peak_rss=file_backed + anonymous + 8_000_000,
        anonymous=anonymous,
        file_backed=file_backed,
        pss=file_backed + anonymous - 9_000_000,
        python_only=47_000_000,
        weights=int(made.megabytes * 1e6),
        kv=46_000_000,
        compute=38_000_000,
    )
    settings = Settings(
        runtime="llama.cpp",
        threads=made.threads or 2,
        prompts=60,
        prompts_wanted=60,
        prompt_source="held-out rows of the run",
        new_tokens=64,
        starts=3,
    )
    samples = Samples(warm=starts, cold=starts, requests=requests, memory=[memory])
    return BenchReport(
        created="2026-01-01T10:50:00+00:00",
        subject=Subject(
            name=artifact.name,
            path=artifact.manifest.main_file,
            sha256=artifact.manifest.sha256[artifact.manifest.main_file],
            files=artifact.sha256,
            size_bytes=artifact.manifest.size_bytes,
            precision=made.precision,
        ),
        settings=settings,
        environment=Environment(
            cpu="Cortex-A76", architecture="aarch64", features="NEON = 1", virtual=False, logical_cpus=4, usable_cpus=4,
            cgroup_cpus=None, governor="performance", memory_bytes=8_000_000_000, load_average=0.1, system="Linux 6.6",
            versions={"edgetune": "0.1.0", "llama-cpp-python": "0.3.36"},
        ),
        loads=Loads(warm=tuple(starts), cold=tuple(starts)),
        requests=tuple(requests),
        memory=(memory,),
        figures=figures(samples, settings),
        warnings=(),
    )  # fmt: skip


def _request(chance: random.Random, gap_ms: float, place: int) -> RequestSample:
    first = (30 + 3 * gap_ms) / 1e3 * chance.uniform(0.9, 1.2)
    at, times = first, []
    for _ in range(18):
        times.append(at)
        at += gap_ms / 1e3 * chance.uniform(0.94, 1.08) * (1.6 if chance.random() < 0.02 else 1.0)
    return RequestSample(
        round=place % 5, prompt=place // 5, prompt_tokens=32, tokenised_s=0.0005, token_s=tuple(times), finish="stop"
    )


def _write_training(run: Run) -> None:
    chance = random.Random(3)
    for step in range(10, 601, 10):
        loss = 4.0 / (1 + step / 15) * chance.uniform(0.8, 1.2)
        rate = 2e-3 * min(step / 40, 1.0) * (1 - step / 620)
        values = {"loss": loss, "learning_rate": rate, "tokens_per_s": 300 + chance.uniform(-5, 5)}
        metrics_file.append(run.metrics_file, "step", step, values)
        if step % 150 == 0:
            metrics_file.append(run.metrics_file, "evaluation", step, {"eval_loss": 3.5 / (1 + step / 15)})
    run.update_manifest(
        state="trained",
        base_sha256="b" * 64,
        base_origin="the hub's own safetensors",
        trained_against="nf4",
        data_sha256={"train": "1" * 64, "heldout": "2" * 64},
        versions={"torch": "2.6.0", "transformers": "4.57.6"},
        choices={"device": "cpu (no cuda or xpu or mps found)"},
        result={
            "steps": 600, "seconds": 600.0, "best_step": 600, "best_eval_loss": 0.085, "tokens_per_s": 300.0,
            "rows_per_s": 5.8, "peak_rss": 2_201_587_712,
        },
    )  # fmt: skip
