"""What a recipe for these rows should say, value by value, and why.

The figures follow the literature: all linear layers and a LoRA learning rate of ten
times the full one (LoRA Without Regret, 2025), alpha twice the rank, small effective
batches, early stopping; LoRA forgets less than full fine-tuning (arXiv 2405.09673), and
a 4-bit base costs it little (QLoRA, arXiv 2305.14314).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgetune.data.conversation import Conversation, shared_system
from edgetune.data.lengths import Lengths

#: Characters in a token of ordinary English text, on the low side so that estimates err towards longer rows.
CHARACTERS_A_TOKEN = 3
#: Tokens that a chat template, with a system prompt, may add to a row.
TEMPLATE_TOKENS = 128
#: Beyond this many parameters the base is kept in 4 bits to fit an ordinary machine.
LARGE = 3_000_000_000
SMALL = 200_000_000
#: Generating answers is slow; this many held-out rows give the exact match to about ± 4 points at 90 %.
ENOUGH_TO_SCORE = 200


@dataclass(frozen=True)
class Advice:
    """One value with its reason."""

    key: str
    value: Any
    why: str


@dataclass(frozen=True)
class Facts:
    """What is known about rows and model.

    Attributes:
        rows: the usable rows.
        format: how they are laid out.
        reason: how that is known.
        lengths: of the rows, in tokens (or characters when no model was given).
        answers: of the answers, likewise; None for plain text.
        limit: longest row the model takes, in tokens.
        parameters: of the model.
        has_heldout: a file with held-out rows lies beside the data.
    """

    rows: Sequence[Conversation]
    format: str
    reason: str
    lengths: Lengths
    answers: Lengths | None
    limit: int
    parameters: int
    has_heldout: bool


def advise(facts: Facts) -> list[Advice]:
    """Every value of the recipe that depends on rows or model."""
    exports = (Advice("exports.format", "gguf", "the exporter for llama.cpp"), _export(facts))
    return [*_task(facts), *_data(facts), *_method(facts), *_train(facts), *exports]


def _task(facts: Facts) -> list[Advice]:
    advice = [_system(facts.rows)]
    if facts.answers is None:
        return [*advice, Advice("task.metrics", [], "plain text has no answers to score; held-out loss is measured")]
    longest = _tokens(facts.answers, facts.answers.p99)
    room = _round_up(longest * 5 // 4, 16)
    advice.append(Advice("task.max_new_tokens", room, f"99 % of the answers have {longest} tokens or fewer, plus room"))
    return [*advice, _metrics(facts.rows)]


def _system(rows: Sequence[Conversation]) -> Advice:
    if shared := shared_system(rows):
        return Advice("task.system", shared, "every row begins with it; here it also travels with the exported file")
    own = sum(any(m["role"] in ("system", "developer") for m in row.messages) for row in rows)
    why = f"{own} of {len(rows)} rows have their own; this text would go before the others"
    return Advice("task.system", None, f"{why}, in training, evaluation and the exported file")


def _metrics(rows: Sequence[Conversation]) -> Advice:
    answers = [row.answer["content"] for row in rows if row.text is None]
    objects = sum(_is_json(answer) for answer in answers)
    if objects >= 0.95 * len(answers):
        why = f"{objects} of {len(answers)} answers are JSON: equality and field by field"
        return Advice("task.metrics", ["exact_match", "json"], why)
    words = sorted(len(answer.split()) for answer in answers)[len(answers) // 2]
    if words <= 5:
        return Advice("task.metrics", ["exact_match"], f"half the answers have at most {words} words: right or wrong")
    why = f"half the answers have at least {words} words: likeness says more than equality"
    return Advice("task.metrics", ["rouge_l", "chrf"], why)


def _data(facts: Facts) -> list[Advice]:
    count = len(facts.rows)
    advice = [Advice("data.format", facts.format, facts.reason)]
    if not facts.has_heldout:
        advice.append(
            heldout_share(count, "rows with one prompt stay together. Better: a file of your own in data.heldout")
        )
    limit = Advice("data.heldout_limit", ENOUGH_TO_SCORE, "generating is slow; this many give figures to a few points")
    return [*advice, max_tokens(facts.lengths, facts.limit, TEMPLATE_TOKENS), limit]


def heldout_share(count: int, further: str, least: int = 0) -> Advice:
    """How many of ``count`` rows measure what was not trained on.

    Args:
        count: rows.
        further: what else is to be known.
        least: rows that say something, if that is no more than three in ten.
    """
    usual = 0.2 if count < 200 else max(0.01, round(min(0.1, 2000 / count), 2))
    share = max(usual, round(min(0.3, least / count), 2))
    why = f"about {round(share * count)} of {count} rows measure what was not trained on; {further}"
    return Advice("data.heldout_share", share, why)


def max_tokens(lengths: Lengths, limit: int, template: int) -> Advice:
    """Room for nearly all rows: the limit costs nothing, a dropped row does.

    Args:
        lengths: of the rows.
        limit: longest row the model takes, in tokens.
        template: tokens that are put around a row, where only its characters were counted.
    """
    longest, most = _tokens(lengths, lengths.maximum), _tokens(lengths, lengths.p99)
    known = "counted as the model reads them"
    if lengths.unit == "characters":
        longest, most = longest + template, most + template
        known = "estimated from characters; --model counts them"
    wanted = longest if longest <= 2 * most else most  # one huge row does not set the limit
    value = min(limit, _round_up(wanted * 5 // 4, 64))
    why = f"99 % of the rows have {most} tokens or fewer, the longest {longest} ({known}); longer ones are dropped"
    return Advice("data.max_tokens", value, why)


def _method(facts: Facts) -> list[Advice]:
    size = f"{facts.parameters / 1e6:.0f} M parameters"
    kind = Advice("method.kind", "lora", f"learns a narrow task as well as full training and forgets less; {size}")
    if facts.parameters > LARGE:
        kind = Advice("method.kind", "qlora", f"{size}: a 4-bit base takes a quarter of the memory")
    rank, why = 16, "enough for a few thousand rows"
    if facts.parameters < SMALL or len(facts.rows) < 1000:
        rank, why = 8, f"enough for {len(facts.rows)} rows and {size}; raise it if the training loss stays high"
    elif len(facts.rows) > 50_000:
        rank, why = 64, f"{len(facts.rows)} rows hold more than a small adapter can"
    alpha = Advice("method.alpha", 2 * rank, "twice the rank, so that the learning rate suits any rank")
    return [kind, Advice("method.rank", rank, why), alpha]


def _train(facts: Facts) -> list[Advice]:
    count = len(facts.rows)
    epochs = next((e for most, e in ((500, 5), (5000, 3), (50_000, 2)) if count < most), 1)
    batch = 8 if count < 1000 else 16
    return [
        Advice("train.learning_rate", 0.0002, "about ten times what full fine-tuning takes"),
        *passes(count, epochs, batch, "small batches learn more from few rows; beyond 32 LoRA loses quality"),
    ]


def passes(count: int, epochs: int, batch: int, why: str) -> list[Advice]:
    """How often ``count`` rows are seen, how many at once, and when that is enough."""
    steps = max(1, round(epochs * count / batch))
    length = f"{count} rows: about {steps} optimiser steps; early stopping ends it when it is enough"
    return [
        Advice("train.epochs", epochs, length),
        Advice("train.batch_size", batch, why),
        Advice("train.early_stopping", 3, "evaluations without a better loss before it stops"),
    ]


def _export(facts: Facts) -> Advice:
    if facts.parameters <= 1_000_000_000:
        return Advice("exports.quant", ["q8_0"], "small models lose much at 4 bits; 8 bits keep what was learnt")
    why = "8 bits keep what was learnt; compare 4 bits with it before you ship them"
    return Advice("exports.quant", ["q8_0", "q4_k_m"], why)


def _tokens(lengths: Lengths, length: int) -> int:
    return length if lengths.unit == "tokens" else math.ceil(length / CHARACTERS_A_TOKEN)


def _round_up(value: int, step: int) -> int:
    """The next multiple of ``step``.

    >>> _round_up(1, 16), _round_up(16, 16), _round_up(17, 16)
    (16, 16, 32)
    """
    return max(1, math.ceil(value / step)) * step


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), (dict, list))
    except ValueError:
        return False
