"""Reading a YAML file that people write, with an error that says where it is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from edgetune.errors import EdgetuneError


def read_yaml(path: Path, what: str, error: type[EdgetuneError], *, hint: str) -> Any:
    """The values in a file.

    Args:
        path: the file.
        what: it should hold, in words.
        error: class to raise.
        hint: where there is no such file.

    Raises:
        EdgetuneError: of that class: it is not there, cannot be read, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as cause:
        raise error(f"no such {what}: {path}{_near(path)}", hint=hint) from cause
    except IsADirectoryError as cause:
        raise error(f"{path} is a folder, not a {what}", hint="give a YAML file in it") from cause
    except UnicodeDecodeError as cause:
        raise error(f"{path} is not UTF-8 text (byte {cause.start})", hint="save it as UTF-8") from cause
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}", hint="its permissions may not allow it") from cause
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        problem = getattr(cause, "problem", None) or cause
        raise error(f"{where}: not valid YAML: {problem}", hint="check indentation and quotes") from cause


def explain(finding: Any, known: Iterable[str], whole: str) -> str:
    """What pydantic found in a file that people write, in their words.

    Args:
        finding: one of ``ValidationError.errors()``.
        known: keys that there are; the nearest to an unknown one is offered.
        whole: what a finding without a key is about.
    """
    key = ".".join(map(str, finding["loc"]))
    if finding["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(finding["loc"][-1]), list(known), n=1, cutoff=0.6)
        return f"{key}: unknown key" + (f"; did you mean '{near[0]}'?" if near else "")
    if finding["type"] == "missing":
        return f"{key}: required, but missing"
    message = str(finding["msg"]).removeprefix("Value error, ")
    return message if finding["type"] == "value_error" and not key else f"{key or whole}: {message}"


def _near(path: Path) -> str:
    """``; did you mean 'recipes/mine.yaml'?`` where a file or a folder nearby is nearly called so."""
    there = path.parent
    while not there.is_dir():
        path, there = there, there.parent
    match = difflib.get_close_matches(path.name, [file.name for file in there.iterdir()], 1)
    return f"; did you mean '{there / match[0]}'?" if match else ""
