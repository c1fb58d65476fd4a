"""The model families that can be written, and what keeps a model of one from being written.

onnxruntime-genai's builder knows more of them. Here are those whose logits were compared with transformers'
(``tests/exporters/test_onnx_families.py``) and whose tensors can be read back.
"""

from __future__ import annotations

from edgetune.errors import ExportError
from edgetune.models.text_config import ModelConfig

FAMILIES = (
    "GraniteForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
)
#: Rotary scalings that the builder computes as transformers does.
ROPES = frozenset({"default", "llama3"})


def require_family(config: ModelConfig) -> None:
    """Check that the builder computes what the model computes.

    Raises:
        ExportError: another family, or a setting that the builder does not know or treats otherwise.
    """
    if config.architecture not in FAMILIES:
        raise ExportError(
            f"the ONNX exporter does not know the architecture {config.architecture}",
            hint=f"it knows: {', '.join(FAMILIES)}",
        )
    if problems := _problems(config):
        raise ExportError(
            f"onnxruntime-genai's builder cannot write this {config.architecture}: {problems[0]}",
            hint="export it as GGUF: --format gguf",
            problems=problems,
        )


def _problems(config: ModelConfig) -> list[str]:
    problems = []
    if config.rope.kind not in ROPES:
        problems.append(f"rotary scaling '{config.rope.kind}': it was compared for {', '.join(sorted(ROPES))} only")
    if config.rope.settings.get("partial_rotary_factor", 1.0) != 1.0:
        problems.append("partial_rotary_factor: only whole heads are rotated")
    if config.window and config.window < config.context:
        problems.append(f"a sliding window of {config.window} tokens: its cache was not compared")
    if config.head_dim % 16:
        problems.append(f"heads of {config.head_dim} values: ONNX Runtime's attention wants a multiple of 16")
    if config.activation != "silu":
        problems.append(f"activation {config.activation}: it was compared for silu only")
    return problems
