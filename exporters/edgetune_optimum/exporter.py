"""The exporter: the merged model through Optimum, in the same folder layout as edgetune's own ONNX."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgetune_onnx import layout
from edgetune_onnx.exporter import build_plan
from edgetune_onnx.folders import write_merged, write_surroundings
from edgetune_onnx.graph import name_head_size, save, stamp
from edgetune_onnx.manifest import build_manifest
from edgetune_onnx.prepared import Prepared, prepare

from edgetune import files
from edgetune.adapters.merging import EMBEDDING
from edgetune.artifact import Artifact, write_manifest
from edgetune.errors import ExportError
from edgetune.exporters import ExportPlan, TunedModel
from edgetune.memory import require_memory
from edgetune_optimum.environment import find_interpreter, run_optimum

#: Not to be taken for edgetune's own ``fp32``, which may lie beside it.
NAME = "fp32_optimum"
#: Its graphs are made of ONNX's own operators, for plain onnxruntime.
RUNTIME = "onnxruntime"


class OptimumExporter:
    """Writes ONNX folders through Optimum's exporter, in float32."""

    format = "onnx-optimum"

    @property
    def precisions(self) -> Sequence[str]:
        """What it can write."""
        return (NAME,)

    @property
    def default_precision(self) -> str:
        """The only one."""
        return NAME

    def precision(self, name: str) -> str:
        """The one name of a precision."""
        if name.lower() not in (NAME, "fp32"):
            raise ExportError(f"Optimum's exporter is for fp32, not for {name}", hint="leave --backend optimum out")
        return NAME

    def require_ready(self) -> None:
        """Look for Optimum's environment.

        Raises:
            ExportError: there is none.
        """
        find_interpreter()

    def plan(self, model: TunedModel, precision: str) -> ExportPlan:
        """Check that there is an environment and that the model can be written, and predict the folder."""
        self.require_ready()
        self.precision(precision)
        prepared = prepare(model, "fp32")
        plan = build_plan(prepared)
        # Optimum writes a table that head and embedding share twice.
        table = 4 * prepared.weights.tensors[EMBEDDING].elements if prepared.tied else 0
        return replace(plan, precision=NAME, size_bytes=plan.size_bytes + table)

    def export(self, model: TunedModel, precision: str, folder: Path) -> Artifact:
        """Write graph, tokenizer, configurations and manifest into ``folder``."""
        plan = self.plan(model, precision)
        prepared = prepare(model, "fp32")
        files.require_disk(folder.parent, 4 * plan.size_bytes, "the fp32 folder")
        require_memory(plan.peak_memory_bytes, f"exporting {model.name}")
        with files.atomic_path(folder) as temporary:
            temporary.mkdir()
            graph = _write(prepared, temporary)
            manifest = build_manifest(prepared, temporary, f"{layout.GRAPHS}/{graph}", self.format, RUNTIME)
            manifest = manifest.model_copy(update={"name": f"{model.name}-{NAME}", "precision": NAME})
            write_manifest(temporary, manifest)
        return Artifact(folder, manifest)


def _write(prepared: Prepared, folder: Path) -> str:
    """Write everything but the manifest, and return the graph's file name."""
    import onnx

    merged, built = folder / "merged", folder / "built"
    write_merged(prepared, merged)
    run_optimum(merged, built)
    graph = onnx.load(built / "model.onnx")
    name_head_size(graph, prepared.config.head_dim)
    stamp(graph, prepared.facts)
    (folder / layout.GRAPHS).mkdir()
    names = save(graph, folder / layout.GRAPHS / prepared.precision.file_name)
    files.write_json(folder / layout.GENAI, _genai_json(prepared))
    shutil.rmtree(merged)
    shutil.rmtree(built)
    write_surroundings(prepared, folder, names)
    return names[0]


def _genai_json(prepared: Prepared) -> dict[str, Any]:
    """What onnxruntime-genai's builder writes for its own graphs, as far as Optimum's differ from its defaults."""
    inputs = {name: name for name in ("input_ids", "attention_mask", "position_ids")}
    decoder = {
        "session_options": {"provider_options": []},
        "inputs": inputs | {"past_key_names": "past_key_values.%d.key", "past_value_names": "past_key_values.%d.value"},
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    known = {key: prepared.config.raw[key] for key in ("bos_token_id",) if prepared.config.raw.get(key) is not None}
    model = known | {"type": "llama", "pad_token_id": prepared.stop_ids[0], "decoder": decoder}
    return {"model": model, "search": {"past_present_share_buffer": False}}
