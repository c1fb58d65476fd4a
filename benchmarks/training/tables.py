"""The tables of README.md, made from a results file alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from figures import OWN_ORDER, Loss, Speed, heldout_losses, loss_gaps, speed, times_faster
from publishing import machine_line, table

from edgetune.bench.statistics import NOISY

#: The contender that all others are compared with.
REFERENCE = "trl"
OURS = "edgetune"
#: Share of the machine's CPUs, used by others, from which a reader is warned.
BUSY = 0.05
BASE_TITLE = "the NF4 base, untrained"


def to_markdown(result: Mapping[str, Any]) -> str:
    """Everything a reader needs to judge the figures."""
    parts = [_head(result), _contenders(result), _ladder(result), _notes(result)]
    return "\n\n".join(part for part in parts if part)


def _head(result: Mapping[str, Any]) -> str:
    settings, rows, machine = result["settings"], result["rows"]["train"], result["environment"]
    versions = ", ".join(f"{name} {found}" for name, found in sorted(machine["versions"].items()))
    lines = [
        f"Measured {result['created'][:10]} {_at(machine['commit'])} on {machine_line(machine)}.",
        f"Versions: {versions}.",
        "",
        f"SmolLM2-135M ({result['base']['origin']}) as {settings['base']}; {settings['compute']}.",
        f"Batch {settings['batch_size']}, rank {settings['rank']}, alpha {settings['alpha']:g}, all linear layers,",
        f"learning rate {settings['learning_rate']:g} ({settings['scheduler']}); {settings['steps']} steps, the first",
        f"{settings['warm_up']} not timed; turns: {settings['repeats']}, each with a seed of its own.",
        f"{rows['rows']} rows of the smart-home recipe, {rows['tokens'] / rows['rows']:.0f} tokens a row,",
        f"{rows['answer_tokens'] / rows['rows']:.0f} of them learnt.",
    ]
    return "\n".join(lines)


def _at(commit: str | None) -> str:
    return f"at commit {commit}" if commit else "in a copy of the working tree outside git"


def _names(result: Mapping[str, Any], kind: str) -> list[str]:
    """Contenders or rungs, in the order in which they ran."""
    return list(dict.fromkeys(t["contender"] for t in result["trainings"] if t["kind"] == kind))


def _contenders(result: Mapping[str, Any]) -> str:
    warm_up = result["settings"]["warm_up"]
    speeds = {name: speed(result["trainings"], name, warm_up) for name in _names(result, "contender")}
    losses = heldout_losses(result["heldout"], REFERENCE)
    head = [
        "",
        "non-padding tokens/s",
        "times TRL [95 %]",
        "rows/s",
        "computed tokens/s",
        "s a step",
        "peak RSS, MB",
        "held-out loss (by seed)",
        "difference [95 %]",
    ]
    rows = [_row(found, speeds[REFERENCE], losses[name], name) for name, found in speeds.items()]
    rows.append([BASE_TITLE, *[""] * 6, f"{losses['base'].value:.4f}", ""])
    return table(head, rows)


def _row(found: Speed, reference: Speed, loss: Loss, name: str) -> list[str]:
    ratio, low, high = times_faster(reference, found)
    is_reference = name == REFERENCE
    return [
        f"**{found.title}**" if name == OURS else found.title,
        f"{found.rate('tokens'):.0f}",
        "1" if is_reference else f"{ratio:.2f} [{low:.2f}, {high:.2f}]",
        f"{found.rate('rows'):.2f}",
        f"{found.rate('computed'):.0f}",
        f"{found.step_seconds:.2f}",
        f"{found.peak_rss / 1e6:.0f}",
        f"{loss.value:.4f}" + (f" ({', '.join(f'{seed:.4f}' for seed in loss.seeds)})" if len(loss.seeds) > 1 else ""),
        "" if is_reference else f"{loss.difference:+.4f} [{loss.low:+.4f}, {loss.high:+.4f}]",
    ]


def _ladder(result: Mapping[str, Any]) -> str:
    names = _names(result, "rung")
    if not names:
        return ""
    settings, trainings = result["settings"], result["trainings"]
    until = settings["ladder_steps"]
    rungs = [speed(trainings, name, settings["warm_up"], until) for name in names]
    whole = speed(trainings, OURS, settings["warm_up"], until)
    reference = speed(trainings, REFERENCE, settings["warm_up"], until)
    head = ["", "non-padding tokens/s", "times the rung above [95 %]", "times the first rung", "peak RSS, MB"]
    rows = list(_rungs([*rungs, whole], f"**{whole.title}**: the same through its Trainer"))
    text = (
        f"What each step gains. Every rung adds one thing to the one above; {until} steps each, the first "
        f"{settings['warm_up']} not timed. On the same steps TRL makes {reference.rate('tokens'):.0f} tokens/s."
    )
    return f"{text}\n\n{table(head, rows)}"


def _rungs(rungs: list[Speed], last_title: str) -> Iterator[list[str]]:
    for number, rung in enumerate(rungs):
        gain = times_faster(rungs[number - 1], rung) if number else None
        yield [
            last_title if number == len(rungs) - 1 else rung.title,
            f"{rung.rate('tokens'):.0f}",
            f"{gain[0]:.2f} [{gain[1]:.2f}, {gain[2]:.2f}]" if gain else "",
            f"{rung.rate('tokens') / rungs[0].rate('tokens'):.2f}",
            f"{rung.peak_rss / 1e6:.0f}",
        ]


def _notes(result: Mapping[str, Any]) -> str:
    first, ladder = loss_gaps(result["trainings"])
    reordered = [t["title"] for t in result["trainings"] if t["contender"] in OWN_ORDER]
    notes = [
        f"Loss of the first step, before any update: equal over all contenders within {first:.1e}.",
        f"Rows came in the same order for all but: {', '.join(dict.fromkeys(reordered))}.",
    ]
    if _names(result, "rung"):
        notes.append(f"Step losses of the rungs, which train one and the same adapter: equal within {ladder:.1e}.")
    notes += [f"Warning: {warning}" for warning in _warnings(result)]
    return "\n".join(f"* {note}" for note in notes)


def _warnings(result: Mapping[str, Any]) -> Iterator[str]:
    for training in result["trainings"]:
        if (training["others_cpu_share"] or 0.0) >= BUSY:
            yield f"others used {training['others_cpu_share']:.0%} of the CPUs while this ran: {training['title']}."
    for name in _names(result, "contender"):
        found = speed(result["trainings"], name, result["settings"]["warm_up"])
        spread = (max(found.turns) - min(found.turns)) / found.rate("tokens")
        if spread >= NOISY:
            yield f"{found.title} differed by {spread:.0%} between its turns."
