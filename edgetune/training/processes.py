"""What the processes of a distributed run tell each other.

Every process must ask at the same time, but for :func:`told_by_another`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from datetime import timedelta
from pathlib import Path
from typing import Literal, NoReturn

from edgetune.errors import EdgetuneError, Interrupted, TrainingError
from edgetune.files import sha256_text

#: How long a process with nothing to say outlives the one that says it: a launcher ends all when one is gone.
LAST_WORDS_SECONDS = 2.0
#: How long to look for the launcher's store.
STORE_SECONDS = 5.0


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
def main_first() -> Iterator[None]:
    """Wait until the main process has done the body, in which the others do nothing.

    Where it fails there, the others leave with its exit code; the error is told by the main process alone.
    """
    try:
        yield
    except BaseException as error:
        known = Interrupted if isinstance(error, KeyboardInterrupt) else error
        reduced([getattr(known, "exit_code", EdgetuneError.exit_code)], "max")
        raise
    code = int(reduced([0.0], "max")[0])
    if code:
        _leave(code)


@contextmanager
def one_voice(main: bool) -> Iterator[None]:
    """Let only the main process talk: notes, bars and the interruption, which all share, come once.

    Other errors pass from any process, as each may be the only one to know; the command line tells an
    error that several met only once.

    Raises:
        TrainingError: another process is gone.
    """
    try:
        with nullcontext() if main else _silence():
            yield
    except Interrupted as stopped:
        if main:
            raise
        _leave(stopped.exit_code)
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        if not main:
            _leave(TrainingError.exit_code)
        raise TrainingError(
            "another process of this training has ended",
            hint=f"its own message, or the launcher's, says why; seen from here: {str(error).strip().splitlines()[0]}",
        ) from error


def told_by_another(text: str) -> bool:
    """Whether another process of this launch tells ``text`` already; each may ask, or not, when it likes.

    torchrun, and ``accelerate launch``, which is built on it, keep a store that outlives their processes. The
    first to ask tells: a certain one could be ended before it does.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return False
    try:
        from torch.distributed import TCPStore  # type: ignore[attr-defined]  # made in C++

        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=STORE_SECONDS))
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        askers: int = store.add(f"edgetune/{attempt}/{sha256_text(text)}", 1)
    except (ImportError, KeyError, ValueError, RuntimeError):  # told twice is better than not at all
        return False
    if askers > 1:
        _outlive_the_teller()
    return askers > 1


@contextmanager
def _silence() -> Iterator[None]:
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        yield


def _is_lost_connection(error: RuntimeError) -> bool:
    """Whether this is how NCCL or Gloo say that the other side is gone."""
    from torch import distributed

    return distributed.is_available() and (isinstance(error, distributed.DistError) or "gloo" in str(error))


def _leave(code: int) -> NoReturn:
    _outlive_the_teller()
    raise SystemExit(code)


def _outlive_the_teller() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):  # the launcher's, once that one is gone; we end ourselves
            signal.signal(number, signal.SIG_IGN)
    time.sleep(LAST_WORDS_SECONDS)
