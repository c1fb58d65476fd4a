"""What the trained model says: the rows of a verification with its tokens and distributions.

The reference is the model as it was trained, in float32 torch, the adapter added by PEFT to what it was trained
against: nothing of edgetune's own merge or export has a part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgetune import console
from edgetune.data.conversation import Conversation
from edgetune.evaluation.loss import answer_positions
from edgetune.evaluation.questions import Question, Scored, ask
from edgetune.runtimes.protocol import Runtime
from edgetune.verification.divergence import Distributions, log_softmax


@dataclass(frozen=True)
class ReferenceRow:
    """One held-out row as the trained model meets it.

    Attributes:
        conversation: the row.
        question: rendered and tokenised by the tokenizer trained with.
        distributions: before each token of its answers, one entry for each token row of the question.
    """

    conversation: Conversation
    question: Question
    distributions: tuple[Distributions, ...]


@dataclass(frozen=True)
class Reference:
    """What artifacts are compared with.

    Attributes:
        rows: of the held-out file.
        system: system prompt for rows that have none.
        name: what computed it, for people.
        vocabulary: tokens in a distribution.
    """

    rows: tuple[ReferenceRow, ...]
    system: str | None
    name: str
    vocabulary: int

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max((len(part.input_ids) for row in self.rows for part in row.question.scored), default=0)

    @property
    def whole(self) -> bool:
        """Whether distributions are whole, not cut to the likeliest tokens."""
        return all(d.ids is None for row in self.rows for d in row.distributions)


def build_reference(
    runtime: Runtime, conversations: Sequence[Conversation], rows: Sequence[int], system: str | None, name: str
) -> Reference:
    """Ask the trained model.

    Args:
        runtime: the trained model.
        conversations: all rows of the held-out file.
        rows: indexes of those to take.
        system: system prompt for rows that have none.
        name: of the reference, for people.

    Raises:
        DataError: rows that the template refuses, or that do not fit the context.
    """
    chosen = [conversations[row] for row in rows]
    questions = ask(chosen, rows, runtime.tokenizer, system, runtime.context_length)
    found = []
    with console.progress("Asking the trained model", total=len(questions), unit="rows") as bar:
        for conversation, question in zip(chosen, questions, strict=True):
            scored = tuple(part for part in question.scored if answer_positions(part))
            parts = tuple(Distributions(log_probs_of(runtime, part)) for part in scored)
            found.append(ReferenceRow(conversation, replace(question, scored=scored), parts))
            bar.advance()
    widths = {part.log_probs.shape[1] for row in found for part in row.distributions}
    return Reference(tuple(found), system, name, max(widths, default=0))


def log_probs_of(runtime: Runtime, scored: Scored) -> NDArray[np.float32]:
    """Log-probabilities before each answer token of a token row: (answer tokens, vocabulary)."""
    positions = answer_positions(scored)
    first = positions[0] - 1
    logits = runtime.logits(list(scored.input_ids[: positions[-1]]), first)
    return log_softmax(logits[[at - 1 - first for at in positions]])
