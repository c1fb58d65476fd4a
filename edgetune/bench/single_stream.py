"""Start, latency, speed and memory for one user at a time: of one artifact, or of several in turns."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from uuid import uuid4

from edgetune import console
from edgetune.artifact import Artifact
from edgetune.bench import pagecache
from edgetune.bench.classifying import bench_classifiers
from edgetune.bench.company import Company
from edgetune.bench.environment import environment, in_company
from edgetune.bench.looping import room_after
from edgetune.bench.plan import Plan
from edgetune.bench.processes import measure
from edgetune.bench.prompts import Prompts, prompts_for
from edgetune.bench.samples import (
    AxisSample,
    DepthSample,
    EnergySample,
    Loads,
    LoadSample,
    MemorySample,
    RawSample,
    RequestSample,
    Sustained,
    Told,
)
from edgetune.bench.schema import BenchReport, Environment, Settings, Turns
from edgetune.bench.subjects import Measured, artifact_subject
from edgetune.bench.summary import Samples, figures, warnings
from edgetune.bench.yardstick import Yardstick
from edgetune.errors import ArtifactError, EdgetuneError
from edgetune.memory import available_memory
from edgetune.runtimes.threads import default_threads

Job = dict[str, Any]
Step = Callable[[], None]
#: What a process takes beside twice its files: interpreter, runtime, cache and compute of a small model.
_PROCESS_BYTES = 512 * 1024**2
_ENDED = object()


def bench_artifact(artifact: Artifact, plan: Plan | None = None, **settings: Any) -> BenchReport:
    """Measure an artifact in fresh processes, one request after another.

    Args:
        artifact: what to measure.
        plan: how.
        settings: or fields of :class:`~edgetune.bench.plan.Plan`: ``prompts``, ``new_tokens``, ``threads``, ``rounds``…

    Raises:
        ArtifactError: damaged; MissingExtra: its runtime is not installed; EdgetuneError: a measured process died.
    """
    (report,) = bench_subjects([artifact_subject(artifact)], plan or Plan(**settings))
    return report


def bench_subjects(subjects: Sequence[Measured], plan: Plan) -> list[BenchReport]:
    """Measure several things in turns, each time in a fresh process: what the machine does meanwhile hits all alike.

    Args:
        subjects: what to measure, asked the prompts of the first one's run.
        plan: how.

    Returns:
        A report of each, in their order.

    Raises:
        EdgetuneError: as :func:`bench_artifact`.
    """
    if any(subject.classifies for subject in subjects):
        return bench_classifiers(subjects, plan)
    if len(plan.thread_counts) > 1:
        raise EdgetuneError(
            "of several values for --threads each is tried only with what classifies",
            hint="--decode-threads 1,2 and --prefill-threads 1,2: a model that writes has two numbers of threads",
        )
    for subject in subjects:
        _require_settings(subject, plan)
    asked = prompts_for(subjects[0].path, plan.prompts)
    machine = environment("")
    company = Company()
    begun = monotonic()
    yardstick = Yardstick(plan.threads_asked or default_threads())
    turns = turns_of(subjects, plan)
    jobs = [_Job(subject, plan, asked, turns) for subject in subjects]
    total = sum(job.steps for job in jobs)
    with console.progress(f"Measuring {', '.join(one.name for one in subjects)}", total=total, unit="steps") as bar:
        _all_rounds(jobs, plan, bar.advance, yardstick)
    machine = in_company(machine, company, yardstick)
    session, seconds = uuid4().hex, round(monotonic() - begun, 1)
    return [job.report(machine, session, seconds) for job in jobs]


def _require_settings(subject: Measured, plan: Plan) -> None:
    """Refuse before anything is measured what only llama.cpp can be told, and not by the process that would try it.

    Raises:
        ArtifactError: something else runs it.
    """
    only = {"prefill threads": plan.prefill_threads, "kv type": plan.kv_types, "batch": plan.batches}
    given = [name for name, values in only.items() if set(values) - {"f16"}]
    if given and not subject.is_llama:
        raise ArtifactError(
            f"the runtime {subject.runtime} of {subject.name} has no setting for {' and '.join(given)}",
            hint="leave it out; llama.cpp has them",
        )


def _all_rounds(jobs: Sequence[_Job], plan: Plan, on_step: Step, yardstick: Yardstick) -> None:
    for job in jobs:
        job.prime(on_step)
    yardstick.lay()
    for number in range(plan.rounds):
        ordered = jobs if number % 2 == 0 else jobs[::-1]
        for together in [ordered] if jobs[0].turns == "prompts" else [[job] for job in ordered]:
            _prompt_by_prompt([job.one_round(number, on_step) for job in together])
            yardstick.lay()
    for number, job in _in_turns(jobs, plan.starts, yardstick):
        job.cold_start(number, on_step)
    for number, job in _in_turns(jobs, plan.memory_rounds, yardstick):
        job.read_memory(number, on_step)
    for axis, value in plan.points():
        for number, job in _in_turns(jobs, plan.rounds, yardstick):
            job.vary(axis, value, number, on_step)
    if plan.sustained:
        for job in jobs:
            job.sustain(on_step)


def _in_turns(jobs: Sequence[_Job], rounds: int, yardstick: Yardstick) -> Iterator[tuple[int, _Job]]:
    """Each once a round; every second round backwards, so that none always comes first. The yardstick lies between."""
    for number in range(rounds):
        for job in jobs if number % 2 == 0 else reversed(jobs):
            yield number, job
            yardstick.lay()


def turns_of(subjects: Sequence[Measured], plan: Plan) -> Turns | None:
    """What takes turns: single prompts, where memory surely holds all subjects at once. None: there is only one."""
    if len(subjects) < 2:
        return None
    if plan.contexts:  # their caches may take more than their weights
        return "rounds"
    free, needed = available_memory(), sum(2 * one.subject.size_bytes + _PROCESS_BYTES for one in subjects)
    return "rounds" if free is not None and free < needed else "prompts"


def _prompt_by_prompt(rounds: Sequence[Generator[None]]) -> None:
    """Do a round of each side by side: all start, then each does one prompt, and so on; every second time backwards.

    What the machine does meanwhile moves within a round too, so whole rounds in turns would not meet the same.
    """
    with ExitStack() as stack:
        running = [stack.enter_context(closing(one)) for one in rounds]
        while running:
            running = [one for one in running if next(one, _ENDED) is not _ENDED][::-1]


@dataclass
class _Job:
    """One subject, and what was found of it so far."""

    subject: Measured
    plan: Plan
    asked: Prompts
    turns: Turns | None
    found: Samples = field(default_factory=Samples)
    told: Told | None = None

    @property
    def steps(self) -> int:
        plan = self.plan
        rounds = plan.rounds * (1 + len(self.asked.conversations) + len(plan.depths))
        axes = plan.rounds * len(list(plan.points()))
        return 1 + rounds + plan.starts + plan.memory_rounds + axes + round(60 * plan.sustained)

    def prime(self, on_step: Step) -> None:
        """One start that fills the caches and is not counted."""
        list(self._measured("start"))
        on_step()

    def one_round(self, number: int, on_step: Step) -> Generator[None]:
        """A warm start, all prompts, all depths; yields where it is another's turn."""
        lists: dict[str, tuple[type[Any], list[Any]]] = {
            "load": (LoadSample, self.found.warm),
            "request": (RequestSample, self.found.requests),
            "raw": (RawSample, self.found.raw),
            "depth": (DepthSample, self.found.depths),
            "energy": (EnergySample, self.found.energy),
        }
        for kind, report in self._measured("round", depths=self.plan.depths, in_turns=self.turns == "prompts"):
            if kind == "turn":
                yield
                continue
            if kind == "told":
                self.told = Told.model_validate(report)
                continue
            sample, target = lists[kind]
            target.append(sample.model_validate({"round": number, **report}))
            if kind in ("load", "request", "depth"):
                on_step()

    def cold_start(self, number: int, on_step: Step) -> None:
        """A start without the files in the page cache, where they can be dropped."""
        for path in self.subject.weights:
            self.found.cold_reason = self.found.cold_reason or pagecache.drop(path)
        if self.found.cold_reason is None:
            for _, report in self._measured("start"):
                self.found.cold.append(LoadSample.model_validate({"round": number, **report}))
        on_step()

    def read_memory(self, number: int, on_step: Step) -> None:
        """Memory, in a process whose speed nobody looks at."""
        for _, report in self._measured("memory"):
            self.found.memory.append(MemorySample.model_validate({"round": number, **report}))
        on_step()

    def vary(self, axis: str, value: int | str, number: int, on_step: Step) -> None:
        """Both rates with one setting varied."""
        change = {axis: value, "axis": axis, "value": value, "depths": (self.plan.axis_depth,)}
        for _, report in self._measured("axis", **change):
            self.found.axes.append(AxisSample.model_validate({"round": number, **report}))
        on_step()

    def sustain(self, on_step: Step) -> None:
        """Decode without a pause."""
        counts: list[int] = []
        for kind, report in self._measured("sustained", minutes=self.plan.sustained):
            if kind == "second":
                counts.append(int(report["tokens"]))
                on_step()
            else:
                self.found.sustained = Sustained.model_validate({**report, "tokens": counts})

    def report(self, machine: Environment, session: str, seconds: float) -> BenchReport:
        """The report, with all that is derived."""
        settings = self._settings(session)
        machine = machine.model_copy(update={"features": self.told.features if self.told else ""})
        derived = figures(self.found, settings)
        loads = Loads(warm=tuple(self.found.warm), cold=tuple(self.found.cold), cold_reason=self.found.cold_reason)
        return BenchReport(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=seconds,
            subject=self.subject.subject,
            settings=settings,
            environment=machine,
            loads=loads,
            requests=tuple(self.found.requests),
            raw=tuple(self.found.raw),
            raw_reason=self.found.raw_reason,
            depths=tuple(self.found.depths),
            axes=tuple(self.found.axes),
            memory=tuple(self.found.memory),
            energy=tuple(self.found.energy),
            sustained=self.found.sustained,
            figures=derived,
            warnings=(*warnings(machine, settings, derived, self.found.requests), *self._left_out()),
        )

    def _left_out(self) -> Iterator[str]:
        """What was asked for and did not fit into a context."""
        plan, found = self.plan, self.found
        room = f"and {room_after(plan.depth_prefill, plan.depth_decode)} tokens after it do not fit into the context"
        reached = {one.depth for one in found.depths}
        if found.raw and (missing := [str(depth) for depth in plan.depths if depth not in reached]):
            yield f"{'not every' if reached else 'no'} depth was measured: {', '.join(missing)} {room}"
        measured = {(one.axis, one.value) for one in found.axes}
        for axis, value in plan.points():
            if (axis, value) not in measured:
                yield f"{axis}={value} was not measured: a depth of {plan.axis_depth} {room}"

    def _settings(self, session: str) -> Settings:
        plan, told, opening = self.plan, self.told, self.plan.opening
        return Settings(
            runtime=self.subject.runtime,
            threads=(told and told.threads) or plan.threads_asked or default_threads(),
            prefill_threads=told.prefill_threads if told else None,
            kv_type=(opening["kv_type"] or "f16") if self.subject.is_llama else None,
            batch=told.batch if told else None,
            context=told.context if told else None,
            prompts=len(self.asked.conversations),
            prompts_wanted=plan.prompts,
            prompt_source=self.asked.source,
            prompts_sha256=self.asked.sha256,
            new_tokens=plan.new_tokens,
            rounds=plan.rounds,
            starts=plan.starts,
            depths=tuple(sorted({sample.depth for sample in self.found.depths})),
            depth_prefill=plan.depth_prefill,
            depth_decode=plan.depth_decode,
            axis_depth=plan.axis_depth,
            memory_budget_mb=plan.memory_budget_mb,
            session=session,
            turns=self.turns,
        )

    def _measured(self, mode: str, **changes: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Kind and content of everything that one fresh process reports, read to its end."""
        plan = self.plan
        job: Job = {
            **self.subject.job,
            **self.subject.opening(plan),
            "mode": mode,
            "prompts": self.asked.conversations,
            "new_tokens": plan.new_tokens,
            "depth_prefill": plan.depth_prefill,
            "depth_decode": plan.depth_decode,
            **changes,
        }
        for report in measure(job):
            yield report.pop("kind"), report
