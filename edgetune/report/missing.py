"""What evidence there is not, and the command that would make it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from edgetune.report.evidence import Evidence, Shipped
from edgetune.report.record import Missing

#: Named in commands where nothing says which: one whose objectives need few requests, and one that many have.
_TARGET, _DEVICE = "voice-assistant", "raspberry-pi-5"
#: A target's name; what was held to a file, or to a target and a file, is called otherwise.
_NAME = re.compile(r"[a-z0-9-]+")


def missing(evidence: Evidence, chosen: str | None = None) -> tuple[Missing, ...]:
    """In the order of the report. In commands RUN stands for the run's folder.

    Args:
        evidence: of the run.
        chosen: label of the artifact that is recommended.
    """
    if evidence.manifest.state != "trained":
        return (Missing(what="the training has not ended", command="edgetune train --resume RUN"),)
    found = [] if evidence.base else [Missing(what="the untuned base is not evaluated", command="edgetune eval RUN")]
    if not evidence.tuned:
        found.append(Missing(what="the tuned model is not evaluated", command="edgetune eval RUN --no-base"))
    if not evidence.shipped:
        found.append(Missing(what="nothing is exported", command="edgetune export RUN --format gguf --quant q8_0"))
    if len(evidence.shipped) == 1:
        command = "edgetune export RUN --format gguf --quant q4_k_m"
        found.append(Missing(what="there is no second precision to choose from", command=command))
    # A target of one's own may be a file, which only its owner can name.
    targets = [name for shipped in evidence.shipped for name in shipped.held if _NAME.fullmatch(name)]
    found += [one for shipped in evidence.shipped for one in _of(shipped, targets)]
    return (*found, *_of_run(evidence.shipped, chosen))


def _of(shipped: Shipped, targets: Sequence[str]) -> Iterator[Missing]:
    """What one artifact lacks, where others of the run were held to targets."""
    path = f"RUN/exports/{shipped.label}"
    if not shipped.evaluation:
        yield Missing(what=f"{shipped.label} is not evaluated", command=f"edgetune eval {path}")
    if not shipped.verification:
        yield Missing(what=f"{shipped.label} is not verified", command=f"edgetune verify {path}")
    if not shipped.bench:
        held = f" --target {targets[0]}" if targets else ""
        command = f"edgetune bench {path}{held} --output RUN/bench/{shipped.manifest.name}.json"
        yield Missing(what=f"{shipped.label} is not benchmarked", command=command)


def _of_run(shipped: Sequence[Shipped], chosen: str | None) -> Iterator[Missing]:
    """What is asked for once, of the one that is recommended, else the smallest: a target, threads, a device."""
    measured = [one for one in shipped if one.bench and one.manifest.format == "gguf"]
    if not measured:
        return  # the benchmark comes first, and is told above
    one = min(measured, key=lambda one: (one.label != chosen, one.size_bytes))
    path, stored = f"RUN/exports/{one.label}", f"RUN/bench/{one.manifest.name}"
    if not any(one.held or one.held_on_devices for one in shipped):
        command = f"edgetune bench {path} --target {_TARGET} --output {stored}-{_TARGET}.json"
        yield Missing(what="no artifact is held to a target, so there is no verdict", command=command)
    threads = _threads(one)
    axes = {axis for one in shipped for bench in one.benches for axis in bench.swept}
    if len(threads) > 1 and not axes & {"decode_threads", "prefill_threads"}:
        values = ",".join(map(str, threads))
        options = f"--decode-threads {values} --prefill-threads {values}"
        command = f"edgetune bench {path} {options} --output {stored}-threads.json"
        yield Missing(what="speed by the number of threads is not measured", command=command)
    if not any(one.devices for one in shipped):
        command = f"edgetune device project {path} --device {_DEVICE}"
        yield Missing(what="nothing is known of a device, not even projected", command=command)


def _threads(shipped: Shipped) -> list[int]:
    """Numbers of threads to try: first the one of the benchmark, by which all else is measured; then powers of two."""
    if shipped.bench is None:
        return []
    report = shipped.bench.report
    powers = (2**power for power in range(report.environment.usable_cpus.bit_length()))
    return list(dict.fromkeys([report.settings.threads, *powers]))
