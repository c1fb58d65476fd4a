"""What trains: an adapter (LoRA, QLoRA, DoRA, rsLoRA), everything, or only some layers.

Sources: LoRA (Hu et al., arXiv 2106.09685), QLoRA (2305.14314), DoRA (2402.09353),
rsLoRA (2312.03732). Adapters are PEFT's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgetune import extras
from edgetune.errors import RecipeError
from edgetune.models.classifier import reads_images
from edgetune.models.nf4 import BLOCK_SIZE, nf4_round_trip
from edgetune.models.peft_library import load_peft, renamed_names_allowed, show_shapes
from edgetune.training.batch_norm import settle_batch_norms
from edgetune.training.devices import Choice

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

    from edgetune.recipe import MethodSettings
    from edgetune.run import TrainedAgainst

#: Known ratio of learning rates: adapters want about ten times that of full training (Schulman et al., 2025).
ADAPTER_LEARNING_RATE = 2e-4
FULL_LEARNING_RATE = 2e-5
#: Share of free memory that the dequantised copy of a 4-bit base may take before packed weights are kept.
DEQUANTISED_SHARE = 0.4


@dataclass(frozen=True)
class Adapted:
    """A model ready to train.

    Attributes:
        model: what the trainer gets: a PEFT model, or the model itself.
        trained_against: what an adapter was put on; None without an adapter.
        quantised_modules: linear layers rounded to NF4.
        choices: automatic choices with their reasons.
    """

    model: Any
    trained_against: TrainedAgainst | None
    quantised_modules: tuple[str, ...]
    choices: dict[str, str]


def apply_method(model: PreTrainedModel, method: MethodSettings, head: Sequence[str] = ()) -> Adapted:
    """Make the model train what the method says; everything else is frozen.

    Args:
        model: to adapt, in place.
        method: how.
        head: modules that the base lacks, such as a classifier's: they are trained whole by every method.

    Raises:
        RecipeError: a named module or pattern is not in the model.
    """
    if method.is_adapter:
        adapted = _adapt(model, method, head)
    elif method.kind == "freeze":
        adapted = Adapted(model, None, (), {"trained": _freeze(model, method, head)})
    else:
        model.requires_grad_(True)
        adapted = Adapted(model, None, (), {})
    settle_batch_norms(model)
    return adapted


def default_learning_rate(method: MethodSettings) -> float:
    """Peak learning rate where the recipe gives none."""
    return ADAPTER_LEARNING_RATE if method.is_adapter else FULL_LEARNING_RATE


def _adapt(model: PreTrainedModel, method: MethodSettings, new: Sequence[str]) -> Adapted:
    peft = load_peft("training an adapter")
    choices: dict[str, str] = {}
    quantised: tuple[str, ...] = ()
    if method.kind == "qlora":
        storage = choose_storage(model, method.base_storage)
        choices["base_storage"] = str(storage)
        quantised = quantise(model, packed=storage.value == "4bit")
    config = peft.LoraConfig(
        task_type=_task_type(model),
        r=method.rank,
        lora_alpha=method.effective_alpha,  # PEFT declares an int; its scaling takes a float
        lora_dropout=method.dropout,
        target_modules=_targets(model, method.target_modules, new),
        modules_to_save=[*new, *_require_modules(model, "modules_to_save", method.modules_to_save)] or None,
        use_dora=method.kind == "dora",
        use_rslora=method.kind == "rslora",
    )
    with renamed_names_allowed():
        peft_model = peft.get_peft_model(model, config)
    show_shapes(peft_model)
    return Adapted(peft_model, "nf4" if quantised else "base", quantised, choices)


def _task_type(model: PreTrainedModel) -> str | None:
    """PEFT's word for what the model does; it has none for images."""
    if reads_images(model):
        return None
    return "SEQ_CLS" if _head(model) is None else "CAUSAL_LM"


def _targets(model: PreTrainedModel, wanted: str | Sequence[str], new: Sequence[str]) -> str | list[str]:
    if isinstance(wanted, str) and (new or reads_images(model)):
        return list(adaptable_layers(model, new))
    if isinstance(wanted, str):
        return "all-linear"  # PEFT's word for every linear layer but the output head
    return _require_modules(model, "target_modules", wanted)


def _require_modules(model: PreTrainedModel, setting: str, wanted: Sequence[str]) -> list[str]:
    """The names as given, each found in the model whole or as the end of a name.

    Raises:
        RecipeError: naming those that are not.
    """
    names = [name for name, _ in model.named_modules()]
    unknown = [w for w in wanted if not any(name == w or name.endswith(f".{w}") for name in names)]
    if unknown:
        linear = sorted({name.rsplit(".", 1)[-1] for name in linear_layers(model)})
        raise RecipeError(
            f"method.{setting}: no module called {', '.join(unknown)} in the model",
            hint=f"its linear layers are called: {', '.join(linear)}",
        )
    return list(wanted)


def _within(name: str, modules: Sequence[str]) -> bool:
    """Whether a module or parameter is one of some modules, or in one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def linear_layers(model: PreTrainedModel) -> dict[str, torch.nn.Linear]:
    """Every linear layer but the output head, by name."""
    import torch

    head = _head(model)
    return {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}


def adaptable_layers(model: PreTrainedModel, head: Sequence[str] = ()) -> dict[str, torch.nn.Linear | torch.nn.Conv2d]:
    """The layers that ``method.target_modules: auto`` gives an adapter, by name.

    They are the linear ones, and of an image model the convolutions that mix all channels. Left out are convolutions
    with groups: LoRA's two factors have more values than one that mixes no channels.

    Args:
        model: the base.
        head: modules that are trained whole, as in :func:`apply_method`.
    """
    import torch

    found: dict[str, torch.nn.Linear | torch.nn.Conv2d] = dict(linear_layers(model))
    if reads_images(model):
        convolutions = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Conv2d)}
        found |= {name: layer for name, layer in convolutions.items() if layer.groups == 1}
    return {name: layer for name, layer in found.items() if not _within(name, head)}


def _head(model: PreTrainedModel) -> Any:
    """The output head; None for a classifier, whose head is no embedding."""
    return model.get_output_embeddings()  # type: ignore[no-untyped-call]


def choose_storage(model: PreTrainedModel, wanted: str) -> Choice:
    """How a 4-bit base is held: packed, or dequantised once to the same numbers."""
    import torch

    from edgetune.training.memory import available_memory

    if wanted != "auto":
        return Choice(wanted, "as asked")
    device = model.device.type
    size = sum(layer.weight.numel() * layer.weight.element_size() for layer in linear_layers(model).values())
    free = available_memory(torch.device(device))
    fits = size < DEQUANTISED_SHARE * free
    text = f"dequantised weights take {size / 1e6:.0f} MB of {free / 1e6:.0f} MB free on {device}"
    return Choice("dequantised" if fits else "4bit", text)


def quantise(model: PreTrainedModel, *, packed: bool) -> tuple[str, ...]:
    """Round every linear layer but the head to NF4, in place; returns their names.

    Args:
        model: in a floating type.
        packed: keep 4-bit codes and dequantise in every product, else hold the dequantised values.
    """
    import torch

    from edgetune.console import progress

    layers = linear_layers(model)
    with progress("Quantising to NF4", total=len(layers), unit="layers") as bar, torch.no_grad():
        for name, layer in layers.items():
            if packed:
                model.set_submodule(name, _packed_layer(layer))
            else:
                layer.weight.copy_(nf4_round_trip(layer.weight))
            bar.advance()
    if packed:
        model.is_loaded_in_4bit = True  # type: ignore[assignment]  # how PEFT recognises such a base
    return tuple(layers)


def _packed_layer(layer: torch.nn.Linear) -> torch.nn.Module:
    bnb = extras.require("bitsandbytes", extra="train", needed_for="a packed 4-bit base")
    packed = bnb.nn.Linear4bit(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        compute_dtype=layer.weight.dtype,
        compress_statistics=True,
        quant_type="nf4",
        device="meta",  # its own weights are never used: drawing them would move the seed of the adapter
    )
    packed.weight = bnb.nn.Params4bit(
        layer.weight.detach(),
        requires_grad=False,
        blocksize=BLOCK_SIZE,
        compress_statistics=True,
        quant_type="nf4",
        module=packed,
    )
    packed.bias = layer.bias
    # On processors with AVX-512 BF16 the first evaluation would repack the weight in place, with scales rounded to
    # bfloat16: training would go on over another base than the one it began with.
    packed.support_avx512bf16_for_cpu = False
    moved: torch.nn.Module = packed.to(layer.weight.device)  # this is where bitsandbytes quantises
    return moved


def _freeze(model: PreTrainedModel, method: MethodSettings, new: Sequence[str]) -> str:
    """Freeze all but what the method names; returns what trains, in words."""
    model.requires_grad_(False)
    if method.train_patterns:
        patterns = [re.compile(pattern) for pattern in method.train_patterns]
        chosen = [n for n, _ in model.named_parameters() if any(p.search(n) for p in patterns)]
    else:
        chosen = _last_layers(model, method.train_last_layers or 0, new)
        if method.train_head_only and not new:
            head = _head(model).weight
            chosen += [n for n, p in model.named_parameters() if p is head]
    if not chosen:
        raise RecipeError(
            f"method.train_patterns: no parameter matches {', '.join(method.train_patterns)}",
            hint=f"names look like: {next(iter(dict(model.named_parameters())))}",
        )
    parameters = dict(model.named_parameters())
    chosen = list(dict.fromkeys([*chosen, *(name for name in parameters if _within(name, new))]))
    for name in chosen:
        parameters[name].requires_grad_(True)
    tied = not new and model.config.tie_word_embeddings and any("embed" in name for name in chosen)
    note = "; the head is tied to the embedding, so both train" if tied else ""
    return f"{len(chosen)} of {len(parameters)} parameter tensors{note}"


def _last_layers(model: PreTrainedModel, count: int, new: Sequence[str]) -> list[str]:
    """Names of the parameters of the last ``count`` layers, and of what comes after them.

    Of a generating model that is the final norm. Of a classifier it is the head, and with layers also what lies
    between: a norm, a pooler, a last convolution.
    """
    name, layers = _stack(model)
    if count > len(layers):
        raise RecipeError(
            f"method.train_last_layers is {count}, but the model has {len(layers)} layers",
            hint=f"choose 1 to {len(layers)}, or method.kind: full",
        )
    last = [f"{name}.{i}" for i in range(len(layers) - count, len(layers))]
    if not new:
        last.append(f"{name.rpartition('.')[0]}.norm")
    elif count:
        names = [n for n, _ in model.named_parameters()]  # in the order that the model computes in
        after = max(place for place, n in enumerate(names) if _within(n, [name]))
        last += names[after + 1 :]
    return [n for n, _ in model.named_parameters() if _within(n, [*last, *new])]


def count_layers(config: PretrainedConfig, *, trust_remote_code: bool = False) -> int:
    """How many layers ``method.train_last_layers`` can count in a model of that configuration: stages, of a ResNet."""
    import torch
    import transformers

    with torch.device("meta"):  # no weights: nothing is computed
        body = transformers.AutoModel.from_config(  # type: ignore[no-untyped-call]
            config, trust_remote_code=trust_remote_code
        )
    return len(_stack(body)[1])


def _stack(model: PreTrainedModel) -> tuple[str, Any]:
    """The model's layers, one after another: its longest list of modules that lies in no other list.

    Of a ResNet or a ConvNeXT those are its stages, each of which has a list of layers of its own.
    """
    import torch

    lists = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.ModuleList)]
    outer = [(n, m) for n, m in lists if not any(_within(n, [other]) and n != other for other, _ in lists)]
    return max(outer, key=lambda pair: len(pair[1]))
