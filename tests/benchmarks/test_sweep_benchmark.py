"""The sweep's benchmark publishes what the command prints."""

from __future__ import annotations

from benchmarkscripts import script

from edgetune.sweep.record import Basis, Space, Sweep


def test_the_page_is_what_the_command_prints_and_the_machine():
    space = Space(
        methods=("lora",), ranks=(4,), ratios=(2.0,), targets={"all": "auto"}, learning_rate=1e-3, spread=10.0
    )
    sweep = Sweep(
        recipe="sentiment",
        basis=Basis(recipe_sha256="r", base_sha256="b", data_sha256={}, validation="300 rows", space=space),
        limits={"max_steps": 60},
        trials=(),
        best=None,
        importance=(),
        importance_missing="0 trials are complete, and 8 are needed",
        agreement=(),
        created="2026-01-01T00:00:00+00:00",
        edgetune="0",
        versions={},
    )
    machine = {"cpu": "A CPU", "features": "AVX2", "usable_cpus": 2, "memory_bytes": 4e9, "system": "Linux"}
    page = script("sweep/run.py").page({"sweep": sweep.model_dump(mode="json"), "machine": machine})
    assert "sentiment: 0 trials" in page
    assert "cannot be said: 0 trials are complete" in page
    assert "A CPU (AVX2)" in page
