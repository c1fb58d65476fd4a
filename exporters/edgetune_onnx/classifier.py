"""Classifiers as ONNX: one graph from token ids, or from pixels, to one number a class, with what prepares its inputs.

::

    model.onnx                input_ids, attention_mask: (batch, sequence) → logits: (batch, classes);
                              or pixel_values: (batch, 3, height, width); or model.ort
    tokenizer.json            as trained with, and tokenizer_config.json
    preprocessor_config.json  of an image classifier in their place
    config.json               transformers' own, with id2label
    manifest.json

The graph's metadata, config.json and the manifest name the classes alike; ``edgetune verify`` compares all three with
the run's.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgetune import __version__, console, files
from edgetune.artifact import Artifact, ArtifactManifest, write_manifest
from edgetune.errors import ExportError
from edgetune.exporters import ExportPlan, TunedModel, public_name
from edgetune.images.preprocessing import CONFIG, read_preprocessing
from edgetune.memory import require_memory
from edgetune.models import count_parameters, load_config, load_tokenizer, tensor_shapes
from edgetune.models.classifier import KINDS, padding
from edgetune_onnx import classifier_graph, ort_format, tokenizer_files
from edgetune_onnx.classifier_graph import GRAPH
from edgetune_onnx.graph import SINGLE_FILE_BYTES
from edgetune_onnx.tokenizer_files import tokenizer_problems, write_tokenizer
from edgetune_onnx.tracing import CALIBRATION_ROWS

#: Best quality first, then the same in ONNX Runtime's own format.
PRECISIONS = tuple(
    f"{numbers}{file}" for file in ("", ort_format.SUFFIX) for numbers in ("fp32", "fp16", "int8", "int8_static")
)
RUNTIME = "onnxruntime"
#: Bytes of a weight of a product, and of one of a table of embeddings, which static eight bits leave as they are.
_BYTES = {"fp32": (4, 4), "fp16": (2, 2), "int8": (1, 1), "int8_static": (1, 4)}
#: Copies of the model in float32 while it is traced, optimised and rounded.
_COPIES = 5


def parse_precision(name: str) -> str:
    """The one name of a precision.

    Raises:
        ExportError: there is no such precision for classifiers.
    """
    found = name.lower().replace("-", "_")
    if found not in PRECISIONS:
        raise ExportError(f"'{name}' is no precision of a classifier", hint=f"one of: {', '.join(PRECISIONS)}")
    return found


def plan(model: TunedModel, precision: str) -> ExportPlan:
    """Check what can be checked without writing, and predict the folder.

    Raises:
        ExportError: no such precision, or the run does not say what it needs.
    """
    name = parse_precision(precision)
    if not model.labels:
        raise ExportError("the run does not name its classes", hint="train again")
    if "static" in name and model.calibration is None:
        raise ExportError(f"{name} needs training rows to calibrate with", hint="export fp32, fp16 or int8")
    if model.task == "text-classification" and not (model.tokenizer_folder / "tokenizer.json").is_file():
        raise ExportError("the tokenizer has no tokenizer.json, which the runtime reads", hint="use another base")
    parameters = count_parameters(model.base_folder)
    if 4 * parameters > SINGLE_FILE_BYTES:  # every precision begins with one file in float32
        raise ExportError(
            f"a classifier of {parameters / 1e6:.0f} million weights does not fit into one float32 ONNX file of 2 GB",
            hint="train a smaller base",
        )
    notes = (f"ranges of activations are measured on {CALIBRATION_ROWS} training rows",) if "static" in name else ()
    return ExportPlan(
        precision=name,
        tensor_types={},
        fallbacks={},
        size_bytes=_weight_bytes(model.base_folder, name) + _input_bytes(model.tokenizer_folder),
        peak_memory_bytes=_COPIES * 4 * parameters,
        notes=notes,
    )


def export(model: TunedModel, precision: str, folder: Path) -> Artifact:
    """Write the folder, whole or not at all.

    Raises:
        ExportError: torch cannot trace the model, or onnxruntime cannot round it.
        ResourceError: no room.
    """
    planned = plan(model, precision)
    files.require_disk(folder.parent, 6 * planned.size_bytes, f"the {planned.precision} folder")
    require_memory(planned.peak_memory_bytes, f"exporting {model.name}")
    with files.atomic_path(folder) as temporary, console.progress(f"Exporting {planned.precision}", unit="steps"):
        temporary.mkdir()
        numbers = ort_format.numbers_of(planned.precision)
        kinds = classifier_graph.write(model, numbers, temporary / GRAPH, facts(model))
        if ort_format.is_ort(planned.precision):
            ort_format.convert(temporary / GRAPH)
        _write_surroundings(model, temporary)
        manifest = build_manifest(model, planned.precision, temporary, kinds)
        write_manifest(temporary, manifest)
    return Artifact(folder, manifest)


def facts(model: TunedModel) -> dict[str, str]:
    """What the graph says of itself, for whoever runs it without the manifest."""
    if model.task == "image-classification":
        own = {"edgetune.preprocessing": read_preprocessing(model.tokenizer_folder).to_json()}
    else:
        filler = padding(load_config(model.base_folder), load_tokenizer(model.tokenizer_folder))
        own = {"edgetune.max_tokens": str(model.max_tokens), "edgetune.pad_id": str(filler)}
    return {
        "edgetune.task": model.task,
        "edgetune.labels": json.dumps(list(model.labels), ensure_ascii=False),
        **own,
        "edgetune.base": public_name(model.base_source),
        "edgetune.version": __version__,
    }


def config_json(model: TunedModel) -> dict[str, Any]:
    """config.json with the names of the classes, as transformers and Optimum read it."""
    config = load_config(model.base_folder)
    config.id2label = dict(enumerate(model.labels))
    config.label2id = {name: number for number, name in enumerate(model.labels)}
    config.architectures = [_architecture(model, config)]
    found: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    for private in [key for key in found if key.startswith("_")]:  # folders of this machine
        del found[private]
    return found


def _architecture(model: TunedModel, config: Any) -> str:
    import transformers

    classes = getattr(transformers, KINDS[model.task])._model_mapping  # noqa: SLF001  # transformers offers no other way
    return str(classes[type(config)].__name__)


def _write_surroundings(model: TunedModel, folder: Path) -> None:
    if model.task == "image-classification":
        shutil.copyfile(model.tokenizer_folder / CONFIG, folder / CONFIG)
    else:
        write_tokenizer(model.tokenizer_folder, folder)
    (folder / "config.json").write_text(json.dumps(config_json(model), indent=2, ensure_ascii=False) + "\n", "utf-8")


def build_manifest(model: TunedModel, precision: str, folder: Path, kinds: Mapping[str, int]) -> ArtifactManifest:
    """What a written folder is."""
    hashes = dict(files.sha256_files(folder))
    calibrated = "static" in precision and model.calibration is not None
    return ArtifactManifest(
        name=f"{model.name}-{precision}",
        format="onnx",
        precision=precision,
        runtime=RUNTIME,
        main_file=ort_format.GRAPH if ort_format.is_ort(precision) else GRAPH,
        weights="merged" if model.adapter_folder else "whole",
        architecture=_architecture(model, load_config(model.base_folder)),
        base_source=public_name(model.base_source),
        base_sha256=model.base_sha256,
        merged_into=model.trained_against or "none",
        chat_template_sha256="",
        stop_ids=(),
        system=None,
        context_length=model.max_tokens,
        parameters=count_parameters(model.base_folder),
        tensor_types=dict(kinds),
        fallbacks={},
        sha256=hashes,
        size_bytes=sum((folder / name).stat().st_size for name in hashes),
        task=model.task,
        labels=model.labels,
        tokenizer_sha256=hashes.get("tokenizer.json"),
        calibration_sha256=files.sha256_file(model.calibration) if calibrated and model.calibration else None,
        edgetune=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        licence=model.licence,
        run=model.run,
    )


def metadata_problems(model: TunedModel, artifact: Artifact) -> list[str]:
    """What manifest, graph, config.json and tokenizer say that is not so for the model."""
    manifest = artifact.manifest
    assert manifest is not None, "verified artifacts have one"
    wanted = {**facts(model)}
    del wanted["edgetune.version"]  # which edgetune wrote it is no fault of the file
    reading = ort_format if ort_format.is_ort(manifest.precision) else classifier_graph
    found = reading.read_facts(artifact.main_file)
    problems = [
        f"{artifact.main_file.name}: {key} is {found.get(key)!r}, trained with {value!r}"
        for key, value in wanted.items()
        if found.get(key) != value
    ]
    if manifest.labels != model.labels:
        problems.append(f"manifest.json: classes are {_named(manifest.labels)}, trained with {_named(model.labels)}")
    if manifest.context_length != model.max_tokens:
        problems.append(f"manifest.json: context_length is {manifest.context_length}, trained with {model.max_tokens}")
    problems += _config_problems(artifact.path / "config.json", config_json(model))
    return [*problems, *_input_problems(model, artifact)]


def _named(labels: Sequence[str]) -> str:
    return ", ".join(labels) or "none"


def _config_problems(path: Path, wanted: Mapping[str, Any]) -> list[str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [f"config.json cannot be read: {error}"]
    keys = [key for key in wanted if key != "transformers_version" and found.get(key) != wanted[key]]
    return [f"config.json: {key} is {found.get(key)!r}, trained with {wanted[key]!r}" for key in keys]


def _input_problems(model: TunedModel, artifact: Artifact) -> list[str]:
    if model.task == "text-classification":
        return tokenizer_problems(model.tokenizer_folder, artifact.path)
    written = artifact.path / CONFIG
    if written.is_file() and files.sha256_file(written) == files.sha256_file(model.tokenizer_folder / CONFIG):
        return []
    return [f"{CONFIG} is not the trained model's"]


def _weight_bytes(folder: Path, precision: str) -> int:
    of_product, of_table = _BYTES[ort_format.numbers_of(precision)]
    stored = tensor_shapes(folder)
    tables = sum(one.elements for name, one in stored.items() if "embed" in name)
    return of_table * tables + of_product * (sum(one.elements for one in stored.values()) - tables)


def _input_bytes(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in (*tokenizer_files.NAMES, CONFIG) if (folder / name).is_file())
