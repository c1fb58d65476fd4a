"""Start, latency, rate and memory of classifiers, in fresh processes and in turns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

from edgetune import console
from edgetune.bench import pagecache
from edgetune.bench.company import Company
from edgetune.bench.definitions import CLASSIFYING, DEFINITIONS
from edgetune.bench.environment import environment
from edgetune.bench.plan import Plan
from edgetune.bench.processes import measure
from edgetune.bench.samples import Loads, LoadSample, MemorySample, RequestSample
from edgetune.bench.schema import BenchReport, Environment, Figure, Settings
from edgetune.bench.subjects import Measured
from edgetune.bench.summary import scaled, warnings
from edgetune.data.labelled import asked_of, own_rows
from edgetune.errors import EdgetuneError
from edgetune.files import sha256_text
from edgetune.run import run_around
from edgetune.runtimes.classifier import BATCH
from edgetune.runtimes.threads import default_threads

CHILD = "edgetune.bench.classifying_child"
NO_LOOP = "a classifier has no tokens to loop over"
#: Settings of a plan that only models that generate have.
_OF_GENERATION = ("prefill_threads", "decode_threads", "kv_types", "batches", "contexts", "sustained")


@dataclass(frozen=True)
class Texts:
    """What is classified, and where it comes from."""

    texts: tuple[str, ...]
    source: str


def texts_for(path: Path, count: int) -> Texts:
    """Texts of the held-out rows of the run around an artifact, spread evenly, else a built-in handful."""
    run = run_around(path)
    if run is not None and run.heldout_file.is_file():
        rows = own_rows(run, run.heldout_file)
        few = min(count, len(rows))
        chosen = tuple(str(asked_of(rows[index * len(rows) // few])) for index in range(few))
        return Texts(chosen, f"held-out rows of {run.folder.name}")
    built_in = json.loads(files("edgetune.bench").joinpath("prompts.json").read_text(encoding="utf-8"))
    return Texts(
        tuple(built_in[index % len(built_in)] for index in range(count)), f"{len(built_in)} built-in general texts"
    )


def bench_classifiers(subjects: Sequence[Measured], plan: Plan) -> list[BenchReport]:
    """Measure classifiers in turns, each time in a fresh process; a report of each, in their order.

    Raises:
        EdgetuneError: what only models that generate have is asked for, or a measured process died.
    """
    if given := [name for name in _OF_GENERATION if getattr(plan, name)]:
        raise EdgetuneError(
            f"a classifier has no {', '.join(name.replace('_', ' ') for name in given)} to vary",
            hint="leave it out; --threads, --prompts, --rounds and --memory-budget are for all",
        )
    if others := [subject.name for subject in subjects if not subject.classifies]:
        raise EdgetuneError(
            f"{', '.join(others)} does not classify, so it cannot be measured beside what does",
            hint="measure them one after another",
        )
    asked = texts_for(subjects[0].path, plan.prompts)
    machine, company = environment(""), Company()
    jobs = [_Job(subject, plan, asked) for subject in subjects]
    steps: list[tuple[Callable[[_Job, int], None], int]] = [
        (_Job.prime, 1),
        (_Job.one_round, plan.rounds),
        (_Job.cold_start, plan.starts),
        (_Job.read_memory, plan.memory_rounds),
    ]
    total = len(jobs) * sum(count for _, count in steps)
    names = ", ".join(one.name for one in subjects)
    with console.progress(f"Measuring {names}", total=total, unit="processes") as bar:
        for step, count in steps:
            for number in range(count):
                for job in jobs if number % 2 == 0 else reversed(jobs):
                    step(job, number)
                    bar.advance()
    machine = machine.model_copy(update={"steal_share": company.steal(), "others_share": company.share()})
    session = uuid4().hex
    return [job.report(machine, session) for job in jobs]


@dataclass
class _Job:
    """One classifier, and what was found of it so far."""

    subject: Measured
    plan: Plan
    asked: Texts
    warm: list[LoadSample] = field(default_factory=list)
    cold: list[LoadSample] = field(default_factory=list)
    cold_reason: str | None = None
    requests: list[RequestSample] = field(default_factory=list)
    rates: list[tuple[int, float]] = field(default_factory=list)
    memory: list[MemorySample] = field(default_factory=list)
    threads: int | None = None

    def prime(self, _number: int) -> None:
        """One start that fills the caches and is not counted."""
        list(self._measured("start"))

    def one_round(self, number: int) -> None:
        """A warm start, all texts alone, batches."""
        for kind, report in self._measured("round"):
            if kind == "load":
                self.warm.append(LoadSample.model_validate({"round": number, **report}))
            elif kind == "request":
                self.requests.append(RequestSample.model_validate({"round": number, **report}))
            elif kind == "batch":
                self.rates.append((number, report["texts"] / report["seconds"]))
            else:
                self.threads = report["threads"]

    def cold_start(self, number: int) -> None:
        """A start without the files in the page cache, where they can be dropped."""
        for path in self.subject.weights:
            self.cold_reason = self.cold_reason or pagecache.drop(path)
        if self.cold_reason is None:
            for _, report in self._measured("start"):
                self.cold.append(LoadSample.model_validate({"round": number, **report}))

    def read_memory(self, number: int) -> None:
        """Memory, in a process whose speed nobody looks at."""
        for _, report in self._measured("memory"):
            self.memory.append(MemorySample.model_validate({"round": number, **report}))

    def report(self, machine: Environment, session: str) -> BenchReport:
        """The report, with all that is derived."""
        settings = self._settings(session)
        derived = self._figures()
        return BenchReport(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            subject=self.subject.subject,
            settings=settings,
            environment=machine,
            loads=Loads(warm=tuple(self.warm), cold=tuple(self.cold), cold_reason=self.cold_reason),
            requests=tuple(self.requests),
            raw_reason=NO_LOOP,
            memory=tuple(self.memory),
            figures=derived,
            warnings=warnings(machine, settings, derived, self.requests),
        )

    def _figures(self) -> tuple[Figure, ...]:
        none_cold = self.cold_reason or "no cold starts were asked for"
        loads = {"load_cold": self.cold, "load_warm": self.warm}
        found = [
            scaled(name, DEFINITIONS[name], [(one.round, one.ready_s) for one in samples], none_cold)
            for name, samples in loads.items()
        ]
        latencies = [(one.round, one.token_s[0]) for one in self.requests]
        found.append(scaled("latency", CLASSIFYING["latency"], latencies))
        found.append(scaled("batch_rate", CLASSIFYING["batch_rate"], self.rates))
        for name in ("peak_rss", "anonymous", "file_backed", "pss"):
            values = [(one.round, float(value)) for one in self.memory if (value := getattr(one, name)) is not None]
            found.append(scaled(name, DEFINITIONS[name], values, "this system has no /proc to read it from"))
        return tuple(found)

    def _settings(self, session: str) -> Settings:
        return Settings(
            runtime=self.subject.runtime,
            threads=self.threads or self.plan.threads or default_threads(),
            prompts=len(self.asked.texts),
            prompts_wanted=self.plan.prompts,
            prompt_source=self.asked.source,
            prompts_sha256=sha256_text(json.dumps(self.asked.texts)),
            new_tokens=0,
            rounds=self.plan.rounds,
            starts=self.plan.starts,
            memory_budget_mb=self.plan.memory_budget_mb,
            session=session,
        )

    def _measured(self, mode: str) -> Iterator[tuple[str, dict[str, Any]]]:
        job = {
            **self.subject.job,
            "mode": mode,
            "texts": self.asked.texts,
            "batch": BATCH,
            "threads": self.plan.threads,
        }
        for report in measure(job, CHILD):
            yield report.pop("kind"), report
