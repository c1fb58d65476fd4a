"""llama-bench, built from the source archive of the llama-cpp-python that is installed, and what it measures."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from publishing import REPOSITORY

from edgetune import console
from edgetune.errors import EdgetuneError

_INSIDE = ("vendor", "llama.cpp")


def built() -> Path:
    """The program; built on the first call, which takes some minutes.

    Raises:
        EdgetuneError: it cannot be fetched or built; the tool's own message is above.
    """
    release = version("llama-cpp-python")
    folder = REPOSITORY / "build" / "benchmarks" / "llama-bench" / release
    program = folder / "out" / "bin" / "llama-bench"
    if not program.is_file():
        console.note(f"building llama-bench of llama-cpp-python {release}")
        _fetch(release, folder)
        options = [
            "-DCMAKE_BUILD_TYPE=Release",
            "-DLLAMA_CURL=OFF",
            "-DLLAMA_BUILD_TESTS=OFF",
            "-DLLAMA_BUILD_SERVER=OFF",
            *_without_amx(),
        ]
        _run(["cmake", "-S", str(folder / "source"), "-B", str(folder / "out"), *options])
        _run(["cmake", "--build", str(folder / "out"), "--target", "llama-bench", "-j", "2"])
    return program


def _without_amx() -> list[str]:
    """As the Makefile compiles the library: see there."""
    information = Path("/proc/cpuinfo")
    if not information.is_file() or "amx_tile" not in information.read_text():
        return []
    flags = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
    return [f"-DCMAKE_{language}_FLAGS={flags}" for language in ("C", "CXX")]


def rates(model: Path, **sizes: int) -> dict[str, float]:
    """Tokens a second by llama-bench: ``prefill`` and ``decode``, over all repetitions.

    As edgetune opens a model: cache f16, batch 512, flash attention on.

    Args:
        model: a GGUF file.
        sizes: ``threads``, tokens to ``prefill`` and to ``decode`` after ``depth`` tokens, and how often to ``repeat``.
    """
    words = ["-m", str(model), "-t", str(sizes["threads"]), "-p", str(sizes["prefill"]), "-n", str(sizes["decode"])]
    words += ["-d", str(sizes["depth"]), "-r", str(sizes["repeat"])]
    words += ["-fa", "1", "-b", "512", "-ub", "512", "-ctk", "f16", "-ctv", "f16", "-o", "json"]
    done = subprocess.run([str(built()), *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EdgetuneError(f"llama-bench failed: {done.stderr.strip()[-300:]}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return {
        "prefill" if one["n_prompt"] else "decode": 1e9 * (one["n_prompt"] or one["n_gen"]) / one["avg_ns"]
        for one in found
    }


def _fetch(release: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as room:
        wanted = ["--no-deps", "--no-binary", "llama-cpp-python", f"llama-cpp-python=={release}"]
        _run([sys.executable, "-m", "pip", "download", "--quiet", "--dest", room, *wanted])
        with tarfile.open(next(Path(room).glob("*.tar.gz"))) as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts
                if parts[1:3] == _INSIDE and parts[3:]:
                    member.name = str(PurePosixPath(*parts[3:]))
                    tar.extract(member, folder / "source", filter="data")


def _run(command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode != 0:
        raise EdgetuneError(f"{Path(command[0]).name} failed", hint="its own message is above")
