"""Start, latency, rate and memory of classifiers, in fresh processes and in turns."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.resources import files
from time import monotonic
from typing import Any
from uuid import uuid4

from edgetune import console
from edgetune.bench import pagecache
from edgetune.bench.classifying_summary import NO_GRAPH, classifier_figures
from edgetune.bench.company import Company
from edgetune.bench.environment import environment, in_company
from edgetune.bench.plan import DEPTHS, Plan
from edgetune.bench.processes import measure
from edgetune.bench.samples import BatchSample, Loads, LoadSample, MemorySample, RawSample, RequestSample
from edgetune.bench.schema import BenchReport, Environment, Settings, Turns
from edgetune.bench.subjects import Measured
from edgetune.bench.summary import Samples, warnings
from edgetune.bench.yardstick import Yardstick
from edgetune.data.labelled import asked_of, own_rows, shown
from edgetune.errors import EdgetuneError
from edgetune.files import sha256_text
from edgetune.run import run_around
from edgetune.runtimes.classifier import BATCH
from edgetune.runtimes.threads import default_threads

CHILD = "edgetune.bench.classifying_child"
#: Settings of a plan that only models that generate have.
_OF_GENERATION = ("prefill_threads", "decode_threads", "kv_types", "contexts", "sustained")


@dataclass(frozen=True)
class Inputs:
    """What is classified, and where it comes from.

    Attributes:
        values: texts, or where images lie.
        shown: the same for the report: of an image its name in the run, which is its content's hash.
        source: in words.
    """

    values: tuple[str, ...]
    shown: tuple[str, ...]
    source: str


def inputs_for(subject: Measured, count: int) -> Inputs:
    """Held-out rows of the run around an artifact, spread evenly; of texts else a built-in handful.

    Raises:
        EdgetuneError: it classifies images, and no run around it has any.
    """
    run = run_around(subject.path)
    if run is not None and run.heldout_file.is_file():
        rows = own_rows(run, run.heldout_file)
        few = min(count, len(rows))
        chosen = [asked_of(rows[index * len(rows) // few]) for index in range(few)]
        return Inputs(tuple(map(str, chosen)), tuple(map(shown, chosen)), f"held-out rows of {run.folder.name}")
    if subject.task == "image-classification":
        raise EdgetuneError(
            f"there are no images to measure {subject.name} with: {subject.path} lies in no run",
            hint="measure it where it was exported: RUN/exports/PRECISION",
        )
    built_in = json.loads(files("edgetune.bench").joinpath("prompts.json").read_text(encoding="utf-8"))
    texts = tuple(built_in[index % len(built_in)] for index in range(count))
    return Inputs(texts, texts, f"{len(built_in)} built-in general texts")


def bench_classifiers(subjects: Sequence[Measured], plan: Plan) -> list[BenchReport]:
    """Measure classifiers in turns, each time in a fresh process; a report of each, in their order.

    Raises:
        EdgetuneError: what only models that generate have is asked for, or a measured process died.
    """
    _require_possible(subjects, plan)
    asked = inputs_for(subjects[0], plan.prompts)
    machine, company, begun = environment(""), Company(), monotonic()
    yardstick = Yardstick(plan.threads or default_threads())
    turns: Turns | None = "rounds" if len(subjects) > 1 else None
    jobs = [_Job(subject, plan, asked, turns) for subject in subjects]
    steps: list[tuple[Callable[[_Job, int], None], int]] = [
        (_Job.prime, 1),
        (_Job.one_round, plan.rounds),
        (_Job.cold_start, plan.starts),
        (_Job.read_memory, plan.memory_rounds),
        (_Job.vary, plan.rounds if list(plan.classifier_points()) else 0),
    ]
    total = len(jobs) * sum(count for _, count in steps)
    names = ", ".join(one.name for one in subjects)
    with console.progress(f"Measuring {names}", total=total, unit="processes") as bar:
        for step, count in steps:
            for number in range(count):
                for job in jobs if number % 2 == 0 else reversed(jobs):
                    step(job, number)
                    yardstick.lay()
                    bar.advance()
    machine = in_company(machine, company, yardstick)
    session, seconds = uuid4().hex, round(monotonic() - begun, 1)
    return [job.report(machine, session, seconds) for job in jobs]


def _require_possible(subjects: Sequence[Measured], plan: Plan) -> None:
    given = [name for name in _OF_GENERATION if getattr(plan, name)]
    given += ["depths"] if plan.depths not in ((), DEPTHS) else []
    given += ["new_tokens"] if plan.new_tokens != Plan().new_tokens else []
    if given:
        raise EdgetuneError(
            f"a classifier has no {', '.join(name.replace('_', ' ') for name in given)} to vary",
            hint="leave it out; --threads and --batch take several values, --prompts, --rounds and --memory-budget one",
        )
    if any(size > BATCH for size in plan.batches):
        raise EdgetuneError(f"a classifier computes {BATCH} inputs at once at most", hint=f"--batch {BATCH} or less")
    if others := [subject.name for subject in subjects if not subject.classifies]:
        raise EdgetuneError(
            f"{', '.join(others)} does not classify, so it cannot be measured beside what does",
            hint="measure them one after another",
        )
    if len({subject.task for subject in subjects}) > 1:
        raise EdgetuneError("some of these classify texts and others images", hint="measure them one after another")


@dataclass
class _Job:
    """One classifier, and what was found of it so far."""

    subject: Measured
    plan: Plan
    asked: Inputs
    turns: Turns | None
    found: Samples = field(default_factory=Samples)
    threads: int | None = None

    def prime(self, _number: int) -> None:
        """One start that fills the caches and is not counted."""
        list(self._measured("start"))

    def one_round(self, number: int) -> None:
        """A warm start, all inputs alone, batches."""
        lists: dict[str, tuple[type[Any], list[Any]]] = {
            "load": (LoadSample, self.found.warm),
            "request": (RequestSample, self.found.requests),
            "raw": (RawSample, self.found.raw),
            "batch": (BatchSample, self.found.batches),
        }
        for kind, report in self._measured("round"):
            if kind == "threads":
                self.threads = report["threads"]
                continue
            sample, target = lists[kind]
            target.append(sample.model_validate({"round": number, **report}))

    def cold_start(self, number: int) -> None:
        """A start without the files in the page cache, where they can be dropped."""
        for path in self.subject.weights:
            self.found.cold_reason = self.found.cold_reason or pagecache.drop(path)
        if self.found.cold_reason is None:
            for _, report in self._measured("start"):
                self.found.cold.append(LoadSample.model_validate({"round": number, **report}))

    def read_memory(self, number: int) -> None:
        """Memory, in a process whose speed nobody looks at, with the input that takes most of it."""
        for _, report in self._measured("memory", inputs=[self._largest]):
            self.found.memory.append(MemorySample.model_validate({"round": number, **report}))

    def vary(self, number: int) -> None:
        """Latency and rate with one setting varied, a process for each of its values."""
        for axis, value in self.plan.classifier_points():
            for _, report in self._measured("axis", **{axis: value, "axis": axis, "value": value}):
                self.found.batches.append(BatchSample.model_validate({"round": number, **report}))

    def report(self, machine: Environment, session: str, seconds: float) -> BenchReport:
        """The report, with all that is derived."""
        found, settings = self.found, self._settings(session)
        derived = classifier_figures(found, settings)
        return BenchReport(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=seconds,
            subject=self.subject.subject,
            settings=settings,
            environment=machine,
            loads=Loads(warm=tuple(found.warm), cold=tuple(found.cold), cold_reason=found.cold_reason),
            requests=tuple(found.requests),
            raw=tuple(found.raw),
            raw_reason=None if found.raw else NO_GRAPH,
            batches=tuple(found.batches),
            memory=tuple(found.memory),
            figures=derived,
            warnings=warnings(machine, settings, derived, found.requests),
        )

    def _settings(self, session: str) -> Settings:
        return Settings(
            runtime=self.subject.runtime,
            threads=self.threads or self.plan.threads or default_threads(),
            batch=self._batch,
            prompts=len(self.asked.values),
            prompts_wanted=self.plan.prompts,
            prompt_source=self.asked.source,
            prompts_sha256=sha256_text(json.dumps(self.asked.shown)),
            input="image" if self.subject.task == "image-classification" else "text",
            new_tokens=0,
            rounds=self.plan.rounds,
            starts=self.plan.starts,
            memory_budget_mb=self.plan.memory_budget_mb,
            session=session,
            turns=self.turns,
        )

    @cached_property
    def _largest(self) -> str:
        """Of texts the longest, of images the one with most pixels: they are held before they are resized."""
        if self.subject.task != "image-classification":
            return max(self.asked.values, key=len)
        from edgetune.images.opening import open_image

        sizes = {value: math.prod(open_image(value).size) for value in self.asked.values}
        return max(sizes, key=lambda value: sizes[value])

    @property
    def _batch(self) -> int:
        return self.plan.batches[0] if self.plan.batches else BATCH

    def _measured(self, mode: str, **changes: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        job = {
            **self.subject.job,
            "mode": mode,
            "inputs": self.asked.values,
            "batch": self._batch,
            "threads": self.plan.threads,
            **changes,
        }
        for report in measure(job, CHILD):
            yield report.pop("kind"), report
