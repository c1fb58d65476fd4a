"""Reading targets and lists of objectives from YAML, with every problem at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from edgetune.bench.objective import Objective
from edgetune.errors import TargetError
from edgetune.targets.target import Target
from edgetune.yamlfile import explain, read_yaml

Read = TypeVar("Read")

_OBJECTIVE = "{metric: ttft, statistic: p95, at_most: 300, unit: ms}"
#: What pydantic calls a value of another kind → what it should have been, as people write YAML.
_KINDS = {
    "tuple_type": f"must be a list, such as: - {_OBJECTIVE}",
    "model_type": f"must be one with keys, such as: {_OBJECTIVE}",
    "dict_type": "must have keys, such as: {ttft: where its number comes from}",
}


def read_target(path: Path) -> Target:
    """A target from its file.

    Raises:
        TargetError: it cannot be read, or is no target; each problem is listed.
    """
    values = read_yaml(path, "target", TargetError, hint="edgetune targets list")
    if not isinstance(values, dict):
        raise TargetError(
            f"{path} holds {_kind(values)}, not a target: keys such as name, description and kind",
            hint="edgetune targets show voice-assistant --json shows one; a list of objectives goes with --slo",
        )
    target = _validated(TypeAdapter(Target), values, path, "target", Target)
    if target.name != path.stem:
        raise TargetError(
            f"{path} holds a target called '{target.name}'", hint=f"call it '{path.stem}', or rename the file"
        )
    return target


def read_objectives(path: Path) -> tuple[Objective, ...]:
    """Objectives from an SLO file: a YAML list of them.

    Raises:
        TargetError: it cannot be read, or is no such list.
    """
    values = read_yaml(path, "list of objectives", TargetError, hint="give a YAML file with a list of objectives")
    if values is not None and not isinstance(values, list):
        raise TargetError(f"{path} holds {_kind(values)}, not a list of objectives", hint=f"one is: - {_OBJECTIVE}")
    objectives = _validated(TypeAdapter(tuple[Objective, ...]), values or [], path, "list of objectives", Objective)
    if not objectives:
        raise TargetError(f"{path} holds no objective", hint=f"one is: - {_OBJECTIVE}")
    return objectives


def _validated(adapter: TypeAdapter[Read], values: Any, path: Path, what: str, model: type[BaseModel]) -> Read:
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        problems = [_explain(finding, model) for finding in error.errors()]
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise TargetError(
            f"{path} is not a valid {what}: {count}",
            hint="every key and what it means: edgetune targets schema",
            problems=problems,
        ) from error


def _kind(values: Any) -> str:
    """What a file holds, in words."""
    if values is None:
        return "nothing"
    return "keys" if isinstance(values, dict) else "a list" if isinstance(values, list) else f"only {values!r}"


def _explain(finding: Any, model: type[BaseModel]) -> str:
    if finding["type"] in _KINDS:
        return f"{'.'.join(map(str, finding['loc'])) or 'the file'}: {_KINDS[finding['type']]}"
    return explain(finding, [*model.model_fields, *Objective.model_fields], "the file")
