"""What lies around an ONNX graph, as both of its runtimes need it: template, stop tokens, context, cache."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgetune.artifact import Artifact
from edgetune.errors import ArtifactError
from edgetune.runtimes.protocol import KvCache, MemoryParts, Message
from edgetune.runtimes.template import render

#: Context unless asked otherwise, as in llama.cpp's runtime.
DEFAULT_CONTEXT = 4096
GENAI = "genai_config.json"


@dataclass(frozen=True)
class OnnxFolder:
    """A folder with genai_config.json, tokenizer files and a graph.

    Attributes:
        path: of the folder.
        system: system prompt that the model was trained with.
        genai: content of genai_config.json.
        tokenizer: content of tokenizer_config.json.
    """

    path: Path
    system: str | None
    genai: Mapping[str, Any]
    tokenizer: Mapping[str, Any]

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.path / str(self.genai["model"]["decoder"]["filename"])

    @property
    def trained_context(self) -> int:
        """Longest sequence that the model was built for, in tokens."""
        return int(self.genai["model"]["context_length"])

    @property
    def context_length(self) -> int:
        """Longest prompt plus answer unless asked otherwise, in tokens."""
        return min(self.trained_context, DEFAULT_CONTEXT)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        found = self.genai["model"]["eos_token_id"]
        return frozenset(found if isinstance(found, list) else [found])

    @cached_property
    def chat_template(self) -> str:
        """The Jinja source that travels with the model.

        Raises:
            ArtifactError: there is none.
        """
        source = self.tokenizer.get("chat_template")
        if not isinstance(source, str):
            raise ArtifactError(
                f"{self.path} has no chat template", hint="export it again with model.chat_template set in the recipe"
            )
        return source

    @cached_property
    def special_tokens(self) -> dict[str, str]:
        """``bos_token`` and the like → text, for the template."""
        found = {}
        for name, value in self.tokenizer.items():
            text = value.get("content") if isinstance(value, dict) else value
            if name.endswith("_token") and isinstance(text, str):
                found[name] = text
        return found

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        fixed_date: bool = False,
    ) -> str:
        """Apply the chat template."""
        return render(
            self.chat_template,
            messages,
            self.special_tokens,
            fixed_date=fixed_date,
            add_generation_prompt=add_generation_prompt,
            tools=list(tools) if tools else None,
        )


def open_folder(artifact: Artifact) -> OnnxFolder:
    """Read the small files of an ONNX artifact.

    Raises:
        ArtifactError: one is missing or damaged.
    """
    path = artifact.path
    found = OnnxFolder(
        path,
        artifact.manifest.system if artifact.manifest else None,
        _read(path / GENAI),
        _read(path / "tokenizer_config.json"),
    )
    try:
        graph, _ = found.graph, (found.trained_context, found.stop_ids)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path / GENAI} lacks {error}", hint="export it again") from error
    if not graph.is_file():
        raise ArtifactError(f"{path / GENAI} names the graph {graph.name}, which is not there", hint="export it again")
    return found


def require_own_cache(kv_cache: KvCache, runtime: str) -> None:
    """Check that no other type of cache is asked for: the graph says what its cache is of.

    Raises:
        ArtifactError: one is.
    """
    if kv_cache not in ("f16", "f32"):  # what exact comparisons ask of every runtime
        raise ArtifactError(
            f"{runtime} has no key-value cache of {kv_cache}: the graph says what its cache is of",
            hint="leave the type of the cache out; llama.cpp has quantised ones",
        )


def stored_parts(folder: OnnxFolder, cells: int, each: int) -> MemoryParts:
    """What is known of an ONNX model's memory: the stored weights, and the cache by its shape.

    Args:
        folder: of the model.
        cells: tokens that the cache has place for.
        each: bytes of a value in it.
    """
    data = [folder.graph, *folder.graph.parent.glob(f"{folder.graph.name}*data")]  # ours `_data`, others' `.data`
    reasons = {
        "weights": "as stored in the files; onnxruntime does not say how it packs them",
        "compute": "onnxruntime does not say",
    }
    decoder = folder.genai["model"]["decoder"]
    try:
        width = int(decoder["head_size"]) * int(decoder["num_key_value_heads"]) * int(decoder["num_hidden_layers"])
    except KeyError as error:
        return MemoryParts(_bytes(data), None, None, {**reasons, "kv": f"{GENAI} lacks {error}"})
    reasons["kv"] = f"by its shape for {cells} tokens, {each} bytes a value"
    return MemoryParts(_bytes(data), 2 * width * each * cells, None, reasons)


def _bytes(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"{path} is missing", hint="export it again, or copy the whole folder") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged: {error}", hint="export it again, or copy it again") from error
    return found
