"""Records that are stored as JSON: what they have in common, and one way to read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edgetune import files
from edgetune.errors import EdgetuneError

Record = TypeVar("Record", bound=BaseModel)


class Stored(BaseModel):
    """A record, or a part of one. Frozen; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def json_schema(kind: type[BaseModel], title: str) -> dict[str, Any]:
    """The JSON Schema of a record as plain values, with the version of its layout if it has one."""
    version = kind.model_fields.get("schema_version")
    named = f"edgetune {title}" + (f", version {version.default}" if version else "")
    schema = kind.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": named}


def write_stored(path: Path, record: BaseModel) -> None:
    """Write a record as indented JSON, whole or not at all."""
    files.write_text(path, record.model_dump_json(indent=2) + "\n")


def read_stored(
    path: Path, kind: type[Record], what: str, *, hint: str, error: type[EdgetuneError] = EdgetuneError
) -> Record:
    """The record in a file.

    Args:
        path: the file.
        kind: the record's class.
        what: it is, in words: ``an evaluation``.
        hint: what writes it, or writes it again.
        error: class to raise.

    Raises:
        EdgetuneError: of that class: there is none, or it is damaged or of another version.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as cause:
        raise error(f"cannot read {path}: {cause.strerror}", hint=hint) from cause
    except ValidationError as cause:
        raise error(f"{path} is not {what}: {cause.errors()[0]['msg']}", hint=hint) from cause


def read_if_sound(path: Path, kind: type[Record]) -> Record | None:
    """The record in a file; None where there is none, or it is damaged or of another version."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
