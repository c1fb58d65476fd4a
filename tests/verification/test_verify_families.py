"""Classifiers of every family, from a training to verified files."""

from __future__ import annotations

import pytest
import tinyclassifier
import tinyimages
import torch
import transformers
from classifierruns import artifact, exported, require_passed
from imagefamilies import FAMILIES as IMAGES

from edgetune.verification.choosing import verifier_of

SIZES = {"vocab_size": 23, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 64, "max_position_embeddings": 40, "pad_token_id": 0}
TEXTS = {
    "DistilBert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2},
    "Roberta": {"pad_token_id": 1},
    "ModernBert": {"local_attention": 8},
    "Llama": {"num_key_value_heads": 2},
}
#: A few steps: what is trained is to be carried over, not to be good.
SHORT = {"max_steps": 4, "evaluate_every": 4}
PRECISIONS = ("fp32", "fp16", "int8", "int8_static")


def require_all_verified(run):
    verifier = verifier_of(run)
    for precision in PRECISIONS:
        require_passed(verifier.verify(artifact(run, precision)))


@pytest.mark.parametrize("family", [name for name in IMAGES if name != "ResNet"])
def test_images(tmp_path, family):
    base = tinyimages.write_base(tmp_path / "base", IMAGES[family]())
    recipe = tinyimages.write_recipe(tmp_path / "r", base, train=SHORT | {"learning_rate": 1e-3})
    require_all_verified(exported(recipe, tmp_path / "run", PRECISIONS))


@pytest.mark.parametrize("family", TEXTS)
def test_texts(tmp_path, family):
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SIZES | TEXTS[family])
    base = tinyclassifier.write_base(tmp_path / "base", getattr(transformers, f"{family}Model")(config))
    recipe = tinyclassifier.write_recipe(tmp_path / "r", base, train=SHORT)
    require_all_verified(exported(recipe, tmp_path / "run", PRECISIONS))
