"""What a written folder says besides its weights, against what would be written now."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from edgetune.artifact import Artifact, ArtifactManifest
from edgetune.differences import manifest_problems, setting_problems
from edgetune.models.text_config import ModelConfig
from edgetune_onnx import layout
from edgetune_onnx.graph_check import attribute_problems, table_problems
from edgetune_onnx.places import has_place, inputs_of
from edgetune_onnx.prepared import Prepared
from edgetune_onnx.reading_back import GraphFile
from edgetune_onnx.structure_check import structure_problems
from edgetune_onnx.tokenizer_files import tokenizer_problems


def problems(prepared: Prepared, artifact: Artifact, file: GraphFile, expected: ArtifactManifest) -> list[str]:
    """Everything in configurations, tokenizer, graph and manifest that is not so for the model."""
    assert artifact.manifest is not None, "verified artifacts have one"
    folder, names = artifact.path, _graph_files(artifact)
    config = layout.config_json(prepared.config, prepared.model.base_folder, tied=prepared.tied)
    config["transformers.js_config"] = layout.javascript_json(prepared.precision, names)
    genai = layout.genai_json(prepared.config, prepared.stop_ids, artifact.manifest.main_file, places=prepared.places)
    tokens = layout.genai_tokens(prepared.config, prepared.model.tokenizer_folder, prepared.stop_ids)
    # Which edgetune wrote it is no fault of the file.
    facts = {f"edgetune.{key}": value for key, value in prepared.facts.items() if key != "version"}
    return [
        *_json_problems(folder / layout.CONFIG, config, whole=True),
        *_json_problems(
            folder / layout.GENERATION, layout.generation_json(prepared.config, prepared.stop_ids), whole=True
        ),
        *_json_problems(folder / layout.GENAI, genai | tokens, part="model"),
        *_session_problems(folder / layout.GENAI, genai["decoder"]["session_options"]),
        *_search_problems(folder / layout.GENAI, prepared.config),
        *tokenizer_problems(prepared.model.tokenizer_folder, folder),
        *(f"{artifact.main_file.name}: {problem}" for problem in setting_problems(file.facts, facts)),
        *_type_problems(prepared, file),
        *_place_problems(prepared, file),
        *attribute_problems(file.model, prepared.config, prepared.precision),
        *table_problems(file.model, prepared.config),
        *structure_problems(file.model, prepared.config),
        *manifest_problems(artifact.manifest, expected),
    ]


def _graph_files(artifact: Artifact) -> list[str]:
    """The graph and the files of its weights."""
    folder = artifact.main_file.parent
    others = sorted(path.name for path in folder.iterdir() if path != artifact.main_file)
    return [artifact.main_file.name, *others]


def _json_problems(path: Path, expected: dict[str, Any], *, part: str | None = None, whole: bool = False) -> list[str]:
    """Keys of a configuration, and of what is nested in it, without the right value; ``whole``: and all others."""
    try:
        flat, wanted = _flat(_read(path, part)), _flat(expected)
    except (OSError, TypeError, ValueError) as error:
        return [f"{path.name} cannot be read: {error}"]
    more = [f"{key} is not among what is written" for key in flat if key not in wanted] if whole else []
    return [f"{path.name}: {problem}" for problem in (*setting_problems(flat, wanted), *more)]


def _read(path: Path, part: str | None = None) -> dict[str, Any]:
    """A JSON object, or one in it.

    Raises:
        OSError, TypeError, ValueError: there is none.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    for key in (part,) if part else ():
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise TypeError(f"{part or 'it'} is no object")
    return found


def _session_problems(path: Path, wanted: dict[str, Any]) -> list[str]:
    """Settings of onnxruntime's session that nobody wrote, and parts of the file that nobody did."""
    try:
        found = _read(path)
        session = found["model"]["decoder"]["session_options"]
        parts = [f"{key} is not among what is written" for key in found if key not in ("model", "search")]
        own = [f"session_options.{key} is not among what is written" for key in session if key not in wanted]
    except (OSError, KeyError, TypeError, ValueError) as error:
        return [f"{path.name} cannot be read: {error}"]
    return [f"{path.name}: {problem}" for problem in (*parts, *own)]


def _search_problems(path: Path, config: ModelConfig) -> list[str]:
    """Settings of onnxruntime-genai's search that are not greedy search over the whole context."""
    try:
        found = _read(path, "search")
    except (OSError, TypeError, ValueError) as error:
        return [f"{path.name} cannot be read: {error}"]
    wanted = layout.search_json(config)
    problems = setting_problems(found, wanted)
    problems += [f"{key} is not among what is written" for key in found if key not in (*wanted, layout.SHARES_BUFFER)]
    return [f"{path.name}: search.{problem}" for problem in problems]


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted keys."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _type_problems(prepared: Prepared, file: GraphFile) -> list[str]:
    """Tensors of another type than the precision means for them; one line for each pair of types."""
    stored = {name: file.tensor(name, tied=prepared.tied) for name in prepared.names}
    others = Counter(
        (found.type, prepared.types[name])
        for name, found in stored.items()
        if found is not None and found.type != prepared.types[name]
    )
    return [f"{count} tensors are {found} where {asked} was asked for" for (found, asked), count in others.items()]


def _place_problems(prepared: Prepared, file: GraphFile) -> list[str]:
    """Linear layers without a place for an adapter, in a base that is to have them."""
    if not prepared.places:
        return []
    wanted = {name for weight in prepared.names if has_place(weight) for name in inputs_of(weight)}
    return [f"the graph has no input {name}" for name in sorted(wanted - file.places)]
