"""One config.json in two layouts gives one file, and where the quantiser comes from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edgetune_gguf import GgufExporter, quantiser
from settings import SCALING

from edgetune.errors import ExportError, MissingExtra


def test_a_config_of_transformers_4_gives_the_same_file(tmp_path, tiny):
    rope = {"rope_type": "llama3", "rope_theta": 500.0, **SCALING}
    tiny.save_model(tmp_path / "base", "Llama", rope_parameters=rope)
    new = GgufExporter().export(tiny.tuned(tmp_path / "base"), "f32", tmp_path / "new")
    path = tmp_path / "base/config.json"
    config = json.loads(path.read_text())
    stored = config.pop("rope_parameters")
    config |= {"rope_theta": stored.pop("rope_theta"), "rope_scaling": stored, "torch_dtype": "float32"}
    path.write_text(json.dumps(config))
    old = GgufExporter().export(tiny.tuned(tmp_path / "base"), "f32", tmp_path / "old")
    assert tiny.contents(old.main_file) == tiny.contents(new.main_file)


def test_threads_do_not_change_the_bytes(monkeypatch):
    values = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    monkeypatch.setattr(quantiser, "TASK_VALUES", 1024)
    matrix = quantiser.Matrix("x", values.shape, lambda start, stop: values[start:stop])
    sources = [quantiser.Source(lambda: matrix, "Q4_K", large) for large in (False, True, False)]

    def encoded(threads):
        with quantiser.workers(threads) as pool:
            parts = list(pool.quantise(sources))
            assert sum(part.last for part in parts) == len(sources)
            return b"".join(part.data.tobytes() for part in parts)

    one, four = encoded(1), encoded(4)
    assert one == four
    monkeypatch.setattr(quantiser, "TASK_VALUES", 1 << 19)
    assert encoded(1) == one


def test_a_missing_or_bare_llama_cpp_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(quantiser.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match="'gguf' extra"):
        quantiser._library()

    class Bare:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(quantiser.importlib.util, "find_spec", lambda _: Bare)
    with pytest.raises(ExportError, match="no ggml library"):
        quantiser._library()
