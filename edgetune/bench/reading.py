"""A stored benchmark report, or what is wrong with the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgetune.bench.schema import BenchReport
from edgetune.errors import EdgetuneError

AGAIN = "edgetune bench ARTIFACT --output FILE measures again"
_KIND: str = BenchReport.model_fields["kind"].default
_VERSION: int = BenchReport.model_fields["schema_version"].default
#: So many wrong places are named.
_FEW = 5


def read_report(path: Path) -> BenchReport:
    """A stored report.

    Raises:
        EdgetuneError: there is none, it is damaged, of another version, or something else; each is told by its name.
    """
    text = _text(path)
    record = _record(path, text)
    _require_kind(path, record)
    try:
        return BenchReport.model_validate_json(text)
    except ValidationError as error:
        places = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        more = [f"and {len(places) - _FEW} more"] if len(places) > _FEW else []
        raise EdgetuneError(
            f"{path} is a damaged benchmark report", hint=AGAIN, problems=[*places[:_FEW], *more]
        ) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise EdgetuneError(f"no such file: {path}", hint="edgetune bench ARTIFACT --output FILE writes one") from error
    except UnicodeDecodeError as error:
        raise EdgetuneError(f"{path} is no text, so it is no benchmark report", hint=AGAIN) from error
    except OSError as error:
        raise EdgetuneError(
            f"{path} cannot be read: {error.strerror}", hint="check its path and permissions"
        ) from error


def _record(path: Path, text: str) -> dict[str, Any]:
    """The JSON object in the file."""
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise EdgetuneError(f"{path} is damaged JSON at line {error.lineno}: {error.msg}", hint=AGAIN) from error
    if isinstance(record, list):
        raise EdgetuneError(
            f"{path} is a list: of several artifacts, --json prints all reports as one",
            hint="edgetune bench ARTIFACT ARTIFACT --output FOLDER stores a file of each",
        )
    if not isinstance(record, dict):
        raise EdgetuneError(f"{path} is JSON, but no benchmark report", hint=AGAIN)
    return record


def _require_kind(path: Path, record: dict[str, Any]) -> None:
    """Refuse what is no benchmark, or one of another version."""
    kind, version = record.get("kind"), record.get("schema_version")
    if kind != _KIND:
        what = f"says that it is '{kind}'" if kind else "does not say what it is"
        raise EdgetuneError(f"{path} is no benchmark report: it {what}", hint=AGAIN)
    if version == _VERSION:
        return
    if isinstance(version, int) and version > _VERSION:
        raise EdgetuneError(
            f"{path} has schema version {version}, written by a newer edgetune; this one reads {_VERSION}",
            hint="a newer edgetune reads it; or measure again: edgetune bench ARTIFACT --output FILE",
        )
    if not isinstance(version, int):
        raise EdgetuneError(f"{path} is a damaged benchmark report: it has no schema version", hint=AGAIN)
    raise EdgetuneError(
        f"{path} has schema version {version}, written by an older edgetune; this one reads {_VERSION}", hint=AGAIN
    )
