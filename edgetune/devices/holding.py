"""Device reports held to a target: a verdict on each objective that the figures of a device answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgetune.bench.objective import Objective, Verdict
from edgetune.devices.device import Device, find_device
from edgetune.devices.llama_bench import Load, speeds
from edgetune.devices.report import DeviceReport
from edgetune.devices.report import Measured as MeasuredRun
from edgetune.devices.transport import Over
from edgetune.errors import CheckFailed, TargetError
from edgetune.targets.finding import find_target
from edgetune.targets.judging import Measured, judge, require_met
from edgetune.targets.reading import read_objectives
from edgetune.targets.target import Target


@dataclass(frozen=True)
class HeldTo:
    """Objectives, and the device they are about.

    Attributes:
        name: of the target, the file, or both; None: nothing is asked.
        device: as named on the command line, else the target's.
        threads, context, prompt: the target's, to measure with unless the command line says otherwise.
    """

    name: str | None
    objectives: tuple[Objective, ...]
    device: Device | None
    threads: int | None = None
    context: int | None = None
    prompt: int | None = None


def held_to(target: str | None, slo: Path | None, device: str | None, *, over: Over | None = None) -> HeldTo:
    """What a device shall be held to, checked before anything is measured.

    Args:
        target: name or file of a target.
        slo: file with a list of objectives.
        device: name or file of the device.
        over: the way to what is measured, ``local`` for this host as it is; None: this host, constrained.

    Raises:
        TargetError: unknown target, invalid file, or a target that is about something else.
        EdgetuneError: there is no such device.
    """
    found = find_target(target) if target is not None else None
    name = device or (found.device if found else None)
    known = find_device(name) if name else None
    if found is not None:
        _require_about(found, known, over)
    if known is not None and known.system == "ios" and over is not None:
        raise TargetError(
            f"{known.name} cannot be measured from here: what answers over {over} is another device",
            hint=f"edgetune device project ARTIFACT --device {known.name}",
        )
    objectives = (*(found.held_to if found else ()), *(read_objectives(slo) if slo else ()))
    words = " and ".join(filter(None, [found.name if found else None, slo.name if slo else None]))
    if found is None:
        return HeldTo(words or None, objectives, known)
    return HeldTo(words, objectives, known, found.threads, found.context, found.prompt_tokens)


def load_for(wanted: HeldTo, prompt: int | None, new: int, depths: Sequence[int], repetitions: int) -> Load:
    """What the runner times, so that what is asked can be judged.

    Args:
        wanted: objectives are about depth 0, so that is measured too where there are some.
        prompt: tokens of the prefill test; None: the target's, else the runner's own.
        new: tokens of the decode test.
        depths: tokens already in the context; none: 0.
        repetitions: of each test.
    """
    deep = {0, *depths} if wanted.name is not None else {*depths} or {0}
    return Load(prompt or wanted.prompt or Load.prompt, new, tuple(sorted(deep)), repetitions)


def _require_about(target: Target, device: Device | None, over: Over | None) -> None:
    if target.kind != "mobile":
        if over == "local":
            return
        raise TargetError(
            f"{target.name} is about the machine that edgetune bench runs on, not about a device",
            hint="give one of kind mobile (edgetune targets list), or --slo FILE",
        )
    projected = f"edgetune device project ARTIFACT{f' --device {target.device}' if target.device else ''}"
    if target.transport == "none":
        raise TargetError(f"{target.name} cannot be measured from here, so nothing is held to it", hint=projected)
    if over == "local":
        raise TargetError(
            f"{target.name} is a device, and what this machine measures says nothing about it", hint=projected
        )
    if over is not None and over != target.transport:
        raise TargetError(
            f"{target.name} is measured over {target.transport}, and what answers over {over} is another device",
            hint=f"--over {target.transport}, or --slo FILE without a target",
        )
    if target.device and device and device.name != target.device:
        raise TargetError(
            f"{target.name} is about the device {target.device}, not about {device.name}",
            hint=f"--device {target.device}, or a target of your own: edgetune targets schema",
        )


def hold(report: DeviceReport, wanted: HeldTo) -> DeviceReport:
    """The report with a verdict on each objective; those that its figures do not answer are not judged."""
    if wanted.name is None:
        return report
    answers, otherwise = _answers(report, wanted)
    verdicts = [
        verdict if verdict.objective.metric in answers else verdict.model_copy(update={"reason": otherwise})
        for verdict in judge(wanted.objectives, answers)
    ]
    full = tuple(_with_its_context(verdict, _tokens(report), wanted.context) for verdict in verdicts)
    return report.model_copy(update={"target": wanted.name, "verdicts": full})


def _with_its_context(verdict: Verdict, tokens: int, asked: int | None) -> Verdict:
    """No memory budget is met with a shorter context than asked for; one that is missed then is missed all the more."""
    if asked is None or tokens >= asked or verdict.objective.metric != "peak_rss" or verdict.outcome != "met":
        return verdict
    reason = f"measured with {tokens} tokens of context, the target asks for {asked} (device measure --depth {asked})"
    return Verdict(
        objective=verdict.objective, outcome="not judged", value=None, samples=verdict.samples, reason=reason
    )


def _tokens(report: DeviceReport) -> int:
    """Tokens of context that the memory was measured with. llama.cpp makes its whole cache when it opens a model."""
    if report.measured:
        return _longest(report.measured)
    found = report.constrained
    assert found, "projections are held to nothing"
    done = sum(test.prompt_tokens + test.new_tokens for test in found.tests)
    return max(done, found.context or 0) if report.subject.file.endswith(".gguf") else done


def _longest(found: MeasuredRun) -> int:
    return max((test.prompt_tokens + test.new_tokens + test.depth for test in found.tests), default=0)


def require_kept(report: DeviceReport) -> None:
    """End with exit code 9 where memory is not enough or an objective is missed, 15 where one cannot be judged.

    Raises:
        CheckFailed: the memory is not enough, or naming each objective that is missed, and by how much.
        NotJudged: none is missed, but some could not be judged.
    """
    found = report.constrained
    if found is not None and found.verdict != "fits":
        raise CheckFailed(
            f"{report.subject.name} on {report.place}: {found.verdict}: {found.reason}",
            hint="edgetune fit says what needs how much: a smaller precision or context may do",
            problems=[one.text for one in report.verdicts],
        )
    require_met(
        report.verdicts,
        f"{report.subject.name} on {report.place}",
        otherwise="each says why; an --slo FILE that leaves it out is held to what was measured alone",
    )


def _answers(report: DeviceReport, wanted: HeldTo) -> tuple[dict[str, Measured], str]:
    """Metric → what was measured; and why the others were not."""
    if report.measured:
        bounds = {"ttft_bound": _bound_of_ttft(report.measured, wanted.prompt)}
        return _of_the_runner(report.measured) | bounds, "not measured by llama-bench"
    found = report.constrained
    assert found, "projections are held to nothing"
    if found.peak_rss is None:
        return {}, f"no figure: {found.verdict}"
    how = "this host within the device's memory, this package's Python included"
    peak = Measured("MB", how, values=[found.peak_rss / 1e6], samples=1)
    return {"peak_rss": peak}, "a constrained run tells of memory alone: its speed is this host's"


def _of_the_runner(found: MeasuredRun) -> dict[str, Measured]:
    """Rates by their own names and by those of a benchmark, which also counts sampling and text: ``how`` says so."""
    answers: dict[str, Measured] = {}
    for test in found.tests:
        after = f" after {test.depth} tokens" if test.depth else ""
        how = f"llama-bench{after}, no sampling, no text"
        one = Measured("tokens/s", how, values=speeds(test), samples=len(test.samples_s))
        for name in (f"{test.name}@depth={test.depth}", test.name, f"{test.name}_tps"):
            answers.setdefault(name, one)
    if found.watch.peak_rss is not None:
        how = f"llama-bench with {_longest(found)} tokens of context at most"
        answers["peak_rss"] = Measured("MB", how, values=[found.watch.peak_rss / 1e6], samples=1)
    return answers


def _bound_of_ttft(found: MeasuredRun, prompt: int | None) -> Measured:
    """Less than this no first token takes: seconds to compute a prompt of that length, with nothing held before it.

    llama-bench measures neither template nor tokenisation nor sampling, so that ttft itself it cannot give.

    Args:
        found: what the runner measured.
        prompt: tokens that are asked for; None: as many as were measured.
    """
    tests = [one for one in found.tests if one.name == "prefill" and one.depth == 0]
    fitting = [one for one in tests if prompt in (None, one.prompt_tokens)]
    if not fitting:
        lengths = ", ".join(str(one.prompt_tokens) for one in tests)
        reason = (
            f"prompts of {lengths} tokens were measured, the target asks for {prompt}: --prompt {prompt}"
            if tests
            else "no prompt was measured with nothing held before it: --depth 0"
        )
        return Measured("ms", "llama-bench", reasons={"median": reason})
    values = [1e3 * seconds for seconds in fitting[0].samples_s]
    how = (
        f"llama-bench, a prompt of {fitting[0].prompt_tokens} tokens computed: a lower bound of ttft, "
        "without template, tokenisation and sampling"
    )
    return Measured("ms", how, values=values, samples=len(values))
