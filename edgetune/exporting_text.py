"""Plans and artifacts of an export, as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from edgetune.artifact import Artifact
from edgetune.exporters import ExportPlan, TunedModel
from edgetune.exporting_parts import Part

#: Tensors named for each reason of a fallback.
_NAMED = 2


def plan_text(model: TunedModel, plan: ExportPlan, *, only_adapter: bool = False) -> str:
    """What will be written, in a few lines."""
    name = f"adapter of {model.name}" if only_adapter else model.name
    size, memory = _size(plan.size_bytes), _size(plan.peak_memory_bytes)
    types = f", {_types(plan.tensor_types)}" if plan.tensor_types else ""
    lines = [f"{name} as {plan.precision}: about {size}{types}; needs {memory} of memory"]
    lines += [f"  {line}" for line in _fallback_lines(plan.fallbacks)]
    lines += [f"  note: {note}" for note in plan.notes]
    return "\n".join(lines)


def plans_text(parts: Sequence[Part], plans: Sequence[ExportPlan]) -> str:
    """What will be written of each part."""
    both = zip(parts, plans, strict=True)
    return "\n".join(plan_text(part.model, plan, only_adapter=part.kind == "adapter") for part, plan in both)


def artifact_table(artifacts: Sequence[Artifact]) -> str:
    """One line an artifact: file, size, types, and what the weights are."""
    rows = [("file", "size", "tensors", "weights")]
    for artifact in artifacts:
        manifest = artifact.manifest
        assert manifest is not None, "exported artifacts have a manifest"
        merged = f"merged into {manifest.merged_into}" if manifest.weights == "merged" else manifest.weights
        rows.append((str(artifact.main_file), _size(manifest.size_bytes), _types(manifest.tensor_types), merged))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def json_text(plans: Sequence[ExportPlan], artifacts: Sequence[Artifact]) -> str:
    """Plans as predicted, and the manifests of what was written, as JSON."""
    written = [
        {"path": str(artifact.path), **artifact.manifest.model_dump(mode="json")}
        for artifact in artifacts
        if artifact.manifest
    ]
    found = {"plans": [asdict(plan) for plan in plans], "artifacts": written}
    return json.dumps(found, indent=2, ensure_ascii=False)


def _fallback_lines(fallbacks: Mapping[str, str]) -> list[str]:
    """One line a reason, with how many tensors it concerns and some of their names."""
    lines = []
    for reason, count in Counter(fallbacks.values()).most_common():
        names = [name for name, found in fallbacks.items() if found == reason]
        more = ", …" if count > _NAMED else ""
        lines.append(f"{count} tensors {reason} ({', '.join(names[:_NAMED])}{more})")
    return lines


def _types(types: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in types.items())


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
