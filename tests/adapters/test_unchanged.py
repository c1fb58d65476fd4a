"""A run's weights, tokenizer and template are those of its training, or it is not opened."""

from __future__ import annotations

import json
import shutil

import pytest
from tinyruns import write_adapter, write_base, write_run

from edgetune import files
from edgetune.adapters.tuned import trained_base, tuned_model
from edgetune.adapters.unchanged import require_as_trained
from edgetune.errors import ModelError
from edgetune.evaluation.subjects import base_opening
from edgetune.models import hash_config, hash_template, hash_tokenizer, load_tokenizer
from edgetune.runtimes.torch_runtime import open_torch
from edgetune.training.session import require_unchanged


@pytest.fixture
def run(tmp_path):
    run = write_run(tmp_path / "run", write_base(tmp_path / "base"))
    tokenizer = load_tokenizer(run.tokenizer_folder)
    run.update_manifest(
        result_sha256=dict(files.sha256_files(run.adapter_folder)),
        tokenizer_sha256=hash_tokenizer(tokenizer),
        chat_template_sha256=hash_template(tokenizer),
        base_config_sha256=hash_config(tmp_path / "base"),
    )
    return run


def test_another_adapter_in_its_place_is_refused_wherever_it_is_opened(run):
    require_as_trained(run)
    shutil.rmtree(run.adapter_folder)
    write_adapter(run.adapter_folder, seed=7)
    for opening in (tuned_model, open_torch):
        with pytest.raises(ModelError, match=r"is not what training wrote: adapter_model\.safetensors: changed"):
            opening(run)
    (run.adapter_folder / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="missing"):
        require_as_trained(run)


def test_a_base_with_other_settings_is_refused_wherever_it_is_opened(run, tmp_path):
    tuned_model(run)
    path = tmp_path / "base" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rms_norm_eps": 0.1}))
    for opening in (tuned_model, open_torch, trained_base):
        with pytest.raises(ModelError, match=r"config\.json has changed since the run was prepared"):
            opening(run)


def test_a_run_from_before_says_that_nothing_was_recorded(run, capsys):
    run.update_manifest(result_sha256={})
    tuned_model(run)
    tuned_model(run)
    assert capsys.readouterr().err.count("does not record what its weights were") == 1


def change_template(run):
    path = run.tokenizer_folder / "chat_template.jinja"
    path.write_text(path.read_text() + " ")


def change_tokenizer(run):
    path = run.tokenizer_folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": {"type": "Lowercase"}}))


@pytest.mark.parametrize(
    ("change", "named"), [(change_template, "its chat template"), (change_tokenizer, "its vocabulary or rules")]
)
def test_another_tokenizer_or_template_is_refused(run, change, named):
    change(run)
    for opening in (tuned_model, open_torch, base_opening, require_unchanged):
        with pytest.raises(ModelError, match=f"is not the one trained with: {named} changed"):
            opening(run)


def test_a_newer_library_may_write_the_same_tokenizer_otherwise(run, capsys):
    change_tokenizer(run)
    run.update_manifest(versions={"tokenizers": "0.1"})
    tuned_model(run)
    assert "tokenizers had another version then" in capsys.readouterr().err
