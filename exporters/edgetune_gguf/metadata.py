"""What a file says about itself: name, type, licence, where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetune import __version__
from edgetune.exporters import TunedModel, public_name
from edgetune_gguf.mixture import MIXED

if TYPE_CHECKING:
    from gguf import GGUFWriter

#: Key of the system prompt that the model was trained with; edgetune's runtime reads it from a bare file.
SYSTEM_KEY = "edgetune.system"
#: Hash over the weights beneath an adapter, in the adapter and in every base that it runs on.
ADAPTER_BASE_KEY = "edgetune.adapter_base"
#: In an adapter: hash of the chat template that it was trained with.
TEMPLATE_KEY = "edgetune.chat_template_sha256"


def file_type(precision: str) -> int:
    """llama.cpp's number of a precision (``llama_ftype``); of a mixture by size it has none, and guesses."""
    from gguf import LlamaFileType

    if MIXED.fullmatch(precision):
        return int(LlamaFileType.GUESSED)

    prefix = "ALL" if precision == "f32" else "MOSTLY"
    return int(LlamaFileType[f"{prefix}_{precision.upper()}"])


def add_general(writer: GGUFWriter, model: TunedModel, precision: str) -> None:
    """Write the ``general.*`` keys and edgetune's own."""
    from gguf import GGML_QUANT_VERSION, GGUFType

    writer.add_type(GGUFType.MODEL)
    writer.add_name(model.name)
    writer.add_file_type(file_type(precision))
    writer.add_quantization_version(GGML_QUANT_VERSION)
    _add_origin(writer, model)
    writer.add_string("edgetune.merged_into", model.trained_against or "none")
    if not model.adapter_folder and not model.run:
        writer.add_string(ADAPTER_BASE_KEY, model.adapter_base)


def add_adapter(writer: GGUFWriter, model: TunedModel, precision: str, alpha: float, template: str) -> None:
    """Write all keys of a GGUF LoRA.

    Args:
        writer: of the file.
        model: whose adapter it is.
        precision: of its numbers.
        alpha: llama.cpp multiplies a module's product by this over its rank.
        template: hash of the chat template that the model was trained with; the base brings the template.
    """
    from gguf import GGUFType

    writer.add_type(GGUFType.ADAPTER)
    writer.add_name(model.name)
    writer.add_file_type(file_type(precision))
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    _add_origin(writer, model)
    writer.add_string("edgetune.trained_against", model.trained_against or "base")
    writer.add_string(ADAPTER_BASE_KEY, model.adapter_base)
    writer.add_string(TEMPLATE_KEY, template)


def _add_origin(writer: GGUFWriter, model: TunedModel) -> None:
    if model.licence:
        writer.add_license(model.licence)
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, public_name(model.base_source))
    writer.add_string("edgetune.version", __version__)
    writer.add_string("edgetune.base_sha256", model.base_sha256)
    if model.run:
        writer.add_string("edgetune.run", model.run)
    if model.system:
        writer.add_string(SYSTEM_KEY, model.system)
