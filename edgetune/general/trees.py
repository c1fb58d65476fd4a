"""A context with what may follow it, as token ids: split exactly as lm-evaluation-harness splits them.

Its rule (``TemplateLM._encode_pair``): white space at the end of the context goes to the continuation; both together
are tokenised, and what comes after as many tokens as the context alone has is the continuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgetune.errors import DataError
from edgetune.evaluation.loss import IGNORED
from edgetune.runtimes.protocol import Tokenizer


@dataclass(frozen=True)
class Tree:
    """Token ids of a context, and of each of its continuations."""

    context: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Tokens to compute: the last of a branch predicts nothing that is asked for."""
        return len(self.context) + sum(len(branch) - 1 for branch in self.branches)

    @property
    def depth(self) -> int:
        """Tokens of the context and the longest branch."""
        return len(self.context) + max(len(branch) for branch in self.branches)


@dataclass(frozen=True)
class Path:
    """One branch with its context, in the shape that :mod:`edgetune.evaluation.loss` takes."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]


def grow(where: str, context: str, continuations: Sequence[str], tokenizer: Tokenizer) -> Tree:
    """Tokenise.

    Args:
        where: for messages.
        context: not empty.
        continuations: what may follow, beginning with the space that parts it from the context.
        tokenizer: the runtime's own.

    Raises:
        DataError: nothing is left to predict.
    """
    bare = context.rstrip()
    space = context[len(bare) :]
    start = list(tokenizer.beginning)
    head = [*start, *tokenizer.encode(bare)]
    wholes = [[*start, *tokenizer.encode(bare + space + continuation)] for continuation in continuations]
    branches = tuple(tuple(whole[len(head) :]) for whole in wholes)
    if not head or not all(branches):
        raise DataError(f"{where}: the tokenizer leaves nothing of the context or of a choice")
    return Tree(tuple(head), branches)


def paths(tree: Tree) -> list[Path]:
    """Each branch for itself."""
    silent = (IGNORED,) * len(tree.context)
    return [Path(tree.context + branch, silent + branch) for branch in tree.branches]
