"""`edgetune doctor`, in a good installation and in broken ones."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from edgetune import doctor
from edgetune.cli import main
from edgetune.doctor import PURPOSES, examine, installed_extras, to_text
from edgetune.runtimes import llama_library


def test_every_extra_has_a_purpose():
    assert set(PURPOSES) == {extra.name for extra in installed_extras()}


def test_packages_come_from_the_metadata():
    extras = {extra.name: extra for extra in installed_extras()}
    gguf = {*extras["gguf"].installed, *extras["gguf"].missing}
    assert {"gguf", "llama-cpp-python"} <= gguf
    assert gguf <= {*extras["all"].installed, *extras["all"].missing}


@pytest.fixture
def other(monkeypatch):
    """A distribution with these requirements."""

    def make(*requires, extras=("a", "b", "all")):
        message = SimpleNamespace(get_all=lambda _name: list(extras))
        monkeypatch.setattr(metadata, "metadata", lambda _name: message)
        monkeypatch.setattr(metadata, "requires", lambda _name: list(requires))
        return {extra.name: extra for extra in installed_extras("other")}

    return make


def test_missing_and_installed(other):
    extras = other('click>=8; extra == "a"', "surely-not-here>=1; extra == 'a'", "rich")
    assert extras["a"].installed == {"click": metadata.version("click")}
    assert extras["a"].missing == ("surely-not-here",)
    assert extras["a"].command == "pip install 'edgetune[a]'"
    assert extras["b"].installed == {}


def test_an_extra_made_of_extras(other):
    extras = other('click; extra == "a"', 'nope-x; extra == "b"', 'other[a,b]; extra == "all"')
    assert set(extras["all"].installed) == {"click"}
    assert extras["all"].missing == ("nope-x",)


def test_a_package_for_another_platform_is_not_missed(other):
    extras = other(
        'nope-x; platform_system == "Plan9" and extra == "a"', 'nope-y; sys_platform != "p9" and extra == "a"'
    )
    assert extras["a"].missing == ("nope-y",)


def test_text_says_what_a_missing_extra_adds(monkeypatch):
    extra = doctor.Extra("gguf", PURPOSES["gguf"], {}, ("llama-cpp-python",))
    monkeypatch.setattr(doctor, "installed_extras", lambda: (extra,))
    text = to_text(examine())
    assert "gguf: not complete, lacks llama-cpp-python" in text
    assert f"would add: {PURPOSES['gguf']}" in text
    assert "pip install 'edgetune[gguf]'" in text


def test_exporters_and_runtimes_are_listed():
    plugins = examine().plugins
    assert plugins["edgetune.exporters"]["gguf"] == "ok"
    assert plugins["edgetune.runtimes"]["llama.cpp"] == "ok"


def test_an_exporter_without_its_environment_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGETUNE_OPTIMUM_PYTHON", str(tmp_path / "python"))
    found = examine()
    assert found.plugins["edgetune.exporters"]["onnx-optimum"].startswith("Optimum has no environment: no ")
    assert "make optimum-env" in found.plugins["edgetune.exporters"]["onnx-optimum"]
    assert not found.problems, "nothing is broken"
    (tmp_path / "python").touch()
    assert examine().plugins["edgetune.exporters"]["onnx-optimum"] == "ok"


def test_json(capsys):
    assert main(["doctor", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["machine"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert value["problems"] == []
    assert all(extra["command"].startswith("pip install") for extra in value["extras"])


def test_a_broken_plug_in_is_reported(monkeypatch, capsys):
    broken = metadata.EntryPoint("gguf", "edgetune_no_such_module:Exporter", "edgetune.exporters")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [broken] if group == "edgetune.exporters" else [])
    assert main(["doctor"]) == 9
    out, err = capsys.readouterr()
    assert "Python" in out
    assert "exporter 'gguf' does not load" in err
    assert "edgetune_no_such_module" in err


def test_a_broken_torch_is_reported(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__spec__=SimpleNamespace()))
    assert main(["doctor"]) == 9
    assert "torch does not load: AttributeError" in capsys.readouterr().err


def test_without_torch(monkeypatch):
    monkeypatch.setattr(doctor, "_has", lambda _package: False)
    assert examine().accelerators == ()


def test_without_metadata(monkeypatch, capsys):
    def missing(_name):
        raise metadata.PackageNotFoundError("edgetune")

    monkeypatch.setattr(metadata, "metadata", missing)
    assert main(["doctor"]) == 9
    assert "the metadata of edgetune does not load" in capsys.readouterr().err


def test_a_llama_with_amx_is_told(monkeypatch):
    monkeypatch.setattr(llama_library, "system_info", lambda: "CPU : AVX512 = 1 | AMX_INT8 = 1 | REPACK = 1 |")
    diagnosis = examine()
    assert diagnosis.problems == ()
    assert "note: llama.cpp was compiled with AMX" in to_text(diagnosis)
    monkeypatch.setattr(llama_library, "system_info", lambda: "CPU : AVX512 = 1 | REPACK = 1 |")
    assert examine().notes == ()


def test_cache_size(monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "file").write_bytes(b"12345")
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path))
    diagnosis = examine()
    assert (diagnosis.cache_folder, diagnosis.cache_bytes) == (str(tmp_path), 5)
