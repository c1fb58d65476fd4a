"""A first benchmark of an artifact: start, latency, speed and memory for one user at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from edgetune import console, files
from edgetune.artifact import Artifact
from edgetune.bench import pagecache
from edgetune.bench.environment import environment
from edgetune.bench.processes import measure
from edgetune.bench.prompts import prompts_for
from edgetune.bench.schema import BenchReport, Loads, LoadSample, MemorySample, RequestSample, Settings, Subject
from edgetune.bench.summary import figures, warnings
from edgetune.runtimes.threads import default_threads

#: Fresh processes for each of cold and warm.
STARTS = 3

Job = dict[str, Any]


def bench_artifact(
    artifact: Artifact, *, prompts: int = 20, new_tokens: int = 64, threads: int | None = None
) -> BenchReport:
    """Measure an artifact in fresh processes, one request after another.

    Args:
        artifact: what to measure.
        prompts: how many requests to time.
        new_tokens: longest answer; an answer ends earlier where the model stops.
        threads: default: the physical cores this process may use.

    Raises:
        ArtifactError: damaged; MissingExtra: its runtime is not installed; EdgetuneError: a measured process died.
    """
    asked = prompts_for(artifact, prompts)
    settings = Settings(
        runtime=artifact.runtime,
        threads=threads or default_threads(),
        prompts=len(asked.conversations),
        prompts_wanted=prompts,
        prompt_source=asked.source,
        new_tokens=new_tokens,
        starts=STARTS,
    )
    before = environment("")
    job: Job = {
        "artifact": str(artifact.path),
        "threads": settings.threads,
        "prompts": asked.conversations,
        "new_tokens": new_tokens,
    }
    total = 2 * STARTS + 1 + len(asked.conversations) + 1
    with console.progress(f"Measuring {artifact.name}", total=total, unit="steps") as bar:
        loads = _loads(artifact, job, bar.advance)
        requests, features = _requests(job, bar.advance)
        memory = MemorySample.model_validate(next(_only(job | {"mode": "memory"})))
        bar.advance()
    found = figures(loads, requests, memory)
    machine = before.model_copy(update={"features": features})
    return BenchReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        subject=_subject(artifact),
        settings=settings,
        environment=machine,
        loads=loads,
        requests=requests,
        memory=memory,
        figures=found,
        warnings=warnings(machine, found, requests),
    )


def _loads(artifact: Artifact, job: Job, on_step: Callable[[], None]) -> Loads:
    """Warm starts, then cold ones, after one start that fills the caches and is not counted."""
    start = job | {"mode": "start", "prompts": job["prompts"][:1]}
    next(_only(start))
    on_step()
    warm, cold, reason = [], [], None
    for _ in range(STARTS):
        warm.append(LoadSample.model_validate(next(_only(start))))
        on_step()
    for _ in range(STARTS):
        reason = reason or pagecache.drop(artifact.main_file)
        if reason is None:
            cold.append(LoadSample.model_validate(next(_only(start))))
        on_step()
    return Loads(warm=tuple(warm), cold=tuple(cold), cold_reason=reason)


def _requests(job: Job, on_step: Callable[[], None]) -> tuple[tuple[RequestSample, ...], str]:
    """All requests in one process, and the processor features that its runtime uses."""
    samples, features = [], ""
    for report in measure(job | {"mode": "requests"}):
        if "features" in report:
            features = str(report["features"])
        else:
            samples.append(RequestSample.model_validate(report))
            on_step()
    return tuple(samples), features


def _only(job: Job) -> Iterator[dict[str, Any]]:
    """The reports of a process, read to its end so that a late failure is not missed."""
    return iter(list(measure(job)))


def _subject(artifact: Artifact) -> Subject:
    manifest = artifact.manifest
    return Subject(
        name=artifact.name,
        path=artifact.main_file.name,
        sha256=files.sha256_file(artifact.main_file),
        size_bytes=artifact.main_file.stat().st_size,
        precision=manifest.precision if manifest else None,
    )
