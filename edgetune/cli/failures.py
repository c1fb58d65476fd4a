"""From any exception to one message with a next step, and an exit code."""

from __future__ import annotations

import errno
import os
import platform
import tempfile
import traceback
from pathlib import Path

import click

from edgetune import __version__, console, files
from edgetune.errors import EdgetuneError, Interrupted, OutOfMemory, ResourceError
from edgetune.memory import is_out_of_memory

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DISK_FULL_HINT = "free some space, or choose another folder with --output"
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

#: A file of bad rows can have thousands of problems; more than this nobody reads at once.
PROBLEMS_SHOWN = 100


def report(error: BaseException, *, debug: bool, command: str) -> int:
    """Print ``error`` on stderr, with its traceback if ``debug``, and return the exit code.

    Args:
        error: what ended the command.
        debug: print the traceback.
        command: what was called.
    """
    known = explain(error)
    failed = known or error
    code = failed.exit_code if isinstance(failed, (EdgetuneError, click.ClickException)) else EdgetuneError.exit_code
    if _is_told_by_another(f"{type(error).__name__}: {error}"):
        return code
    if debug:
        console.note("".join(traceback.format_exception(error)).rstrip())
    if isinstance(failed, click.ClickException):
        _print(EdgetuneError(failed.format_message().rstrip("."), hint=_usage_hint(failed)))
    elif isinstance(error, Interrupted):
        _print(Interrupted(error.message, hint=error.hint or command))
    else:
        _print(known or _bug(error))
    return code


def _is_told_by_another(text: str) -> bool:
    """Whether another process of the launch that this one belongs to tells the same error."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return False
    from edgetune.training.processes import told_by_another

    return told_by_another(text)


def explain(error: BaseException) -> EdgetuneError | None:
    """The error of our own tree that says what ``error`` means, or None when it is a bug."""
    if isinstance(error, EdgetuneError):
        return error
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Interrupted("interrupted")
    if is_out_of_memory(error):
        return OutOfMemory(
            f"not enough memory: {_first_line(error)}",
            hint="try --micro-batch-size 1, --gradient-checkpointing, a shorter --data-max-tokens or a smaller model",
        )
    if isinstance(error, OSError):
        return _explain_os_error(error)
    if files.not_written(error):
        return ResourceError(f"disk full: {_first_line(error)}", hint=_DISK_FULL_HINT)
    return None


def _explain_os_error(error: OSError) -> EdgetuneError | None:
    where = f": {error.filename}" if error.filename else ""
    if error.errno in _DISK_FULL:
        return ResourceError(f"disk full{where}", hint=_DISK_FULL_HINT)
    if error.errno in _FORBIDDEN:
        return ResourceError(
            f"not allowed ({error.strerror}){where}", hint="check the permissions, or choose another path"
        )
    return None


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'edgetune'} --help"


def _bug(error: BaseException) -> EdgetuneError:
    """What to say of an exception that nobody foresaw; its traceback is saved in a file."""
    message = f"a bug in edgetune: {type(error).__name__}: {_first_line(error)}"
    try:
        saved = _save_traceback(error)
    except OSError:
        return EdgetuneError(message, hint="run it again with: edgetune --debug …, and report what it prints")
    return EdgetuneError(
        message, hint=f"please report it with the file {saved}: traceback and versions; read it before you send it"
    )


def _save_traceback(error: BaseException) -> Path:
    """Write traceback and versions; no arguments, settings or variables, which may hold secrets."""
    lines = [f"edgetune {__version__}, Python {platform.python_version()}, {platform.platform()}\n"]
    lines += traceback.format_exception(error)
    with tempfile.NamedTemporaryFile(
        "w", prefix="edgetune-traceback-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.writelines(lines)
    return Path(file.name)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else "no message"


def _print(error: EdgetuneError) -> None:
    console.note(f"error: {error.message}")
    for problem in error.problems[:PROBLEMS_SHOWN]:
        console.note(f"  {problem}")
    if len(error.problems) > PROBLEMS_SHOWN:
        console.note(f"  and {len(error.problems) - PROBLEMS_SHOWN} more")
    if error.hint:
        console.note(f"hint: {error.hint}")
