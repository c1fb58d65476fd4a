"""The adapter alone: a GGUF LoRA that llama.cpp puts on a base when it runs.

llama.cpp computes ``W x + alpha / rank · lora_b (lora_a x)`` with one alpha a file and the rank of each tensor. The
true scale of a module, whatever PEFT's settings make it, is therefore folded into its ``lora_b``::

    lora_b = scale · B · rank / alpha

so that plain LoRA is stored as it is, and rsLoRA and patterns come out right (read in llama.cpp's ``llama-adapter.h``
and ``llama-graph.cpp``). Rows of q and k are reordered as in the base.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgetune import console, files
from edgetune.adapters.canonical import CanonicalLora, Factors, LoraModule, canonical_lora, missing_note
from edgetune.adapters.merging import HEAD
from edgetune.adapters.tuned import base_alone
from edgetune.artifact import Artifact, ArtifactManifest, write_manifest
from edgetune.errors import ExportError
from edgetune.exporters import ExportPlan, TunedModel
from edgetune.models import load_tokenizer
from edgetune_gguf.metadata import add_adapter
from edgetune_gguf.mixture import Choice, require_precision
from edgetune_gguf.preparing import Prepared, build_manifest, build_metadata, prepare, tuned_weights
from edgetune_gguf.quantiser import default_threads
from edgetune_gguf.tensors import FileTensor, Values, file_names, layer_order, row_order
from edgetune_gguf.writing import data_bytes, write_gguf

if TYPE_CHECKING:
    from gguf import GGUFWriter

#: Precisions of an adapter's numbers, the default first.
PRECISIONS = ("f16", "f32")
A, B = ".lora_a", ".lora_b"
EMBEDDING = "token_embd.weight"
#: Metadata is small: no vocabulary.
_HEAD_BYTES = 4096


@dataclass(frozen=True)
class AdapterPlan:
    """An adapter that can be written, its factors not yet computed."""

    base: Prepared
    model: TunedModel
    precision: str
    lora: CanonicalLora
    names: Mapping[str, str]

    @property
    def alpha(self) -> float:
        """As written into the file."""
        return self.lora.alpha if self.lora.alpha > 0 else 1.0

    def shapes(self) -> Iterator[tuple[int, ...]]:
        """Of every tensor; of approximations, the largest."""
        for module in self.lora.modules.values():
            out, into = module.shape
            yield from ((module.rank, into), (out, module.rank))


def plan(model: TunedModel, precision: str) -> ExportPlan:
    """Check as :func:`plan_file` does, and predict the file."""
    found = plan_file(model, precision)
    kind = found.precision.upper()
    size = sum(int(np.prod(shape)) for shape in found.shapes()) * (2 if kind == "F16" else 4)
    return ExportPlan(
        precision=found.precision,
        tensor_types={kind: 2 * len(found.lora.modules)},
        fallbacks={},
        size_bytes=size + _HEAD_BYTES,
        peak_memory_bytes=2 * 4 * size,
        notes=found.lora.notes,
    )


def export(model: TunedModel, precision: str, folder: Path) -> Artifact:
    """Write ``NAME-adapter-PRECISION.gguf`` and its manifest into ``folder``."""
    found = plan_file(model, precision)
    stop_ids = build_metadata(found.base)[1].stop_ids
    prepared, missing = _prepared(found)
    size = data_bytes(prepared.tensors, prepared.choices) + _HEAD_BYTES
    files.require_disk(folder.parent, int(size * 1.01), "the adapter")
    if missing:
        console.note(f"note: {missing_note(missing)}")
    with files.atomic_path(folder) as temporary:
        temporary.mkdir()
        file = temporary / f"{model.name}-adapter-{found.precision}.gguf"
        threads = default_threads()
        digest = write_gguf(
            file,
            adapter_metadata(found),
            prepared.tensors,
            prepared.choices,
            threads=threads,
            on_written=lambda _: None,
        )
        manifest = adapter_manifest(prepared, file, stop_ids, missing, digest)
        write_manifest(temporary, manifest)
    return Artifact(folder, manifest)


def plan_file(model: TunedModel, precision: str) -> AdapterPlan:
    """Check everything that can be checked without computing factors.

    Raises:
        ExportError: a GGUF LoRA cannot say what the adapter does, or the base cannot be exported.
    """
    if precision not in PRECISIONS:
        require_precision(precision)  # a name that does not exist at all is told so
        raise ExportError(f"a GGUF adapter has no precision {precision}", hint=f"it has: {', '.join(PRECISIONS)}")
    base = prepare(base_alone(model), "f16")
    lora = canonical_lora(tuned_weights(model))
    lora.require_low_rank("a GGUF adapter")
    names = file_names(base.architecture, base.config)
    present = {tensor.name: tensor for tensor in base.tensors}
    problems = [problem for name in lora.modules if (problem := _misfit(name, names.get(name, ""), present))]
    if problems:
        raise ExportError(
            f"a GGUF adapter cannot say this: {problems[0]}",
            hint="merge it: edgetune export without --adapter separate",
            problems=problems,
        )
    return AdapterPlan(base, model, precision, lora, names)


def _misfit(weight: str, name: str, present: Mapping[str, FileTensor]) -> str | None:
    """Why llama.cpp cannot add to this weight."""
    tied = "output.weight" not in present
    if tied and (weight == HEAD or name == EMBEDDING):
        return f"{weight} is one tensor with {'the embedding' if weight == HEAD else 'the head'} in the base"
    if name not in present:
        return f"{weight} has no place in llama.cpp's tensors"
    if len(present[name].shape) != 2:
        return f"{weight} is not a matrix"
    return None


def _prepared(found: AdapterPlan) -> tuple[Prepared, dict[str, float]]:
    """Every tensor of the file, made of factors in memory (adapters are small), and what approximations miss."""
    tensors: list[FileTensor] = []
    choices: dict[str, Choice] = {}
    missing: dict[str, float] = {}
    with console.progress("Reading the adapter", len(found.lora.modules), "modules") as bar:
        for module, factors in found.lora.all_factors():
            name = found.names[module.weight]
            pair = _pair(name, module, factors, found)
            tensors += [FileTensor(n, v.shape, lambda v=v: v, 0) for n, v in pair.items()]  # type: ignore[misc]
            choices |= {n: Choice(found.precision.upper()) for n in pair}
            if not module.exact:
                missing[name] = round(factors.residual, 6)
            bar.advance()
    tensors.sort(key=lambda tensor: layer_order(tensor.name))
    own = replace(found.base, model=found.model, precision=found.precision, tensors=tensors, choices=choices)
    return own, missing


def _pair(name: str, module: LoraModule, factors: Factors, found: AdapterPlan) -> dict[str, Values]:
    """The two tensors of a module as llama.cpp wants them."""
    a, b = factors.a, factors.b * np.float32(factors.rank / found.alpha)
    if name == EMBEDDING:  # rows of A are looked up by token
        return {name + A: np.ascontiguousarray(a.T), name + B: b}
    if module.transposed:
        a, b = np.ascontiguousarray(b.T), np.ascontiguousarray(a.T)
    order = row_order(module.weight, found.base.architecture, found.base.config)
    return {name + A: a, name + B: order(b) if order else b}


def missing_of(found: AdapterPlan) -> dict[str, float]:
    """Of each approximated tensor, what is missing: nothing where the adapter is a LoRA."""
    return {} if found.lora.is_exact else _prepared(found)[1]


def adapter_metadata(found: AdapterPlan) -> GGUFWriter:
    """Every key of the file."""
    from gguf import GGUFWriter

    writer = GGUFWriter(None, found.base.architecture.name)
    template = load_tokenizer(found.model.tokenizer_folder).chat_template or ""
    if isinstance(template, dict):  # several named ones; llama.cpp takes the default
        template = template.get("default", "")
    add_adapter(writer, found.model, found.precision, found.alpha, files.sha256_text(template))
    return writer


def adapter_manifest(
    prepared: Prepared, file: Path, stop_ids: tuple[int, ...], missing: Mapping[str, float], digest: str
) -> ArtifactManifest:
    """What a written adapter is; ``digest`` is the file's SHA-256."""
    model = prepared.model
    found = build_manifest(prepared, file, stop_ids, digest)
    changes = {
        "name": f"{model.name}-adapter-{prepared.precision}",
        "merged_into": model.trained_against or "base",
        "adapter_base": model.adapter_base,
    }
    return found.model_copy(update=changes | {"weights": "adapter", "missing": dict(missing)})
