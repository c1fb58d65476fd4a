"""The only door to transformers: hub id, local folder, GGUF file, weights inside an installed package.

Everything that other rooms need comes from here, and nobody else calls ``from_pretrained``::

    from edgetune.models import load_model, load_tokenizer, resolve_base, stop_ids

    base = resolve_base(recipe.model, relative_to=recipe_folder)   # Base(folder, source, sha256, origin, licence)
    model = load_model(base.folder, dtype="float32")               # every tensor present, or a ModelError
    tokenizer = load_tokenizer(base.folder)                        # tokenizer.json taken as it is written
    ends = stop_ids(tokenizer, model.generation_config)            # ids that end an answer

Importing this package loads neither torch nor transformers.
"""

from __future__ import annotations

from edgetune.models.base import Base, cache_folder, resolve_base
from edgetune.models.identity import context_length, hash_config, hash_template, hash_tokenizer, stop_ids
from edgetune.models.loading import load_config, load_model, load_tokenizer
from edgetune.models.weights import count_parameters, tensor_shapes

__all__ = [
    "Base",
    "cache_folder",
    "context_length",
    "count_parameters",
    "hash_config",
    "hash_template",
    "hash_tokenizer",
    "load_config",
    "load_model",
    "load_tokenizer",
    "resolve_base",
    "stop_ids",
    "tensor_shapes",
]
