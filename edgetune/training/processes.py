"""What the processes of a distributed run tell each other. Every process must ask at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Literal

from edgetune.errors import Interrupted


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return reduced([float(flag)], "max")[0] > 0


def reduced(values: list[float], how: Literal["sum", "max"]) -> list[float]:
    """Each value summed, or the largest, over the processes; as given where there is but one."""
    import torch
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(tensor, distributed.ReduceOp.SUM if how == "sum" else distributed.ReduceOp.MAX)
    result: list[float] = tensor.tolist()
    return result


@contextmanager
def one_voice(main: bool) -> Iterator[None]:
    """Let only the main process talk: notes, bars and the interruption, which all share, come once.

    Other errors pass from any process, as each may be the only one to know.
    """
    if main:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        try:
            yield
        except Interrupted as stopped:
            raise SystemExit(stopped.exit_code) from None
