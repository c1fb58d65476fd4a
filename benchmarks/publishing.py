"""What every benchmark publishes: the machine it ran on, a results file, a table in its README."""

from __future__ import annotations

import datetime as dt
import importlib.util
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgetune import console, files
from edgetune.bench.environment import environment
from edgetune.errors import EdgetuneError
from edgetune.machine import this_machine

REPOSITORY = Path(__file__).resolve().parents[1]
#: What lies between the two lines is written by the benchmark.
START, END = "<!-- results: written by run.py -->", "<!-- end of results -->"


def describe_machine(packages: Iterable[str]) -> dict[str, Any]:
    """The machine and the software, as far as they move the figures; holds no paths and no host name."""
    found = environment(", ".join(this_machine().features)).model_dump(mode="json")
    versions = {name: known for name in packages if (known := _version(name))}
    return found | {"versions": found["versions"] | versions, "commit": _commit()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the working tree, with ``+changes`` where files differ from it; None outside git."""
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*arguments: str) -> str | None:
        done = subprocess.run([git, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    commit, changes = ask("rev-parse", "--short=12", "HEAD"), ask("status", "--porcelain", "--untracked-files=no")
    return commit and commit + ("+changes" if changes else "")


def smart_home_run() -> Path:
    """The run named on the command line, else the newest of the smart-home recipe, which is run if there is none."""
    return Path(sys.argv[1]) if len(sys.argv) > 1 else newest_smart_home_run()


def newest_smart_home_run() -> Path:
    """The newest run of the smart-home recipe, which is run if there is none."""
    from recipe_runs import newest_run

    return newest_run("smart-home")


def benchmark(name: str) -> Any:
    """The script of another benchmark, as a module: their folders' names are no Python names."""
    path = REPOSITORY / "benchmarks" / name / "run.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def now() -> str:
    """UTC, ISO 8601."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def results_name(created: str, cpu: str) -> str:
    """Name of a results file.

    >>> results_name("2026-01-31T12:00:00+00:00", "Intel(R) Xeon(R) Processor @ 2.60GHz")
    '2026-01-31-intel-xeon-processor-2.60ghz.json'
    """
    plain = re.sub(r"\((?:r|tm)\)|@", " ", cpu.lower())
    return f"{created[:10]}-{re.sub(r'[^a-z0-9.]+', '-', plain).strip('-.') or 'unknown'}.json"


def write_results(folder: Path, result: dict[str, Any], cpu: str) -> Path:
    """Store a result under a name of its own: ``NAME.json``, else ``NAME-2.json``, and so on.

    Only the same measurement (one with the same ``created``) is written over.

    Args:
        folder: of the results.
        result: with ``created``.
        cpu: the processor that it was measured on.
    """
    first = folder / results_name(result["created"], cpu)
    names = itertools.chain([first], (first.with_name(f"{first.stem}-{n}.json") for n in itertools.count(2)))
    target = next(path for path in names if not path.exists() or _created(path) == result["created"])
    files.write_json(target, result)
    return target


def _created(path: Path) -> str:
    return str(json.loads(path.read_text(encoding="utf-8"))["created"])


def newest_results(folder: Path) -> Path:
    """The results file made last.

    Raises:
        EdgetuneError: there is none.
    """
    return _by_age(folder)[-1]


def newest_of_each(folder: Path, key: Callable[[dict[str, Any]], str]) -> dict[str, dict[str, Any]]:
    """Of the results that have the same key, such as the name of a recipe, the ones made last.

    Raises:
        EdgetuneError: there are none at all.
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in _by_age(folder)]
    return {key(one): one for one in found}


def _by_age(folder: Path) -> list[Path]:
    """Results files, the oldest first; at least one."""
    found = sorted(folder.glob("*.json"), key=_created)
    if not found:
        raise EdgetuneError(f"no results in {folder}", hint="make bench")
    return found


def publish_tables(folder: Path, results: Path, to_markdown: Callable[[Any], str]) -> None:
    """Write the tables of a results file into the README.md of a benchmark's folder, and print them."""
    text = to_markdown(json.loads(results.read_text(encoding="utf-8")))
    put_into_readme(folder / "README.md", f"Raw data: [{results.name}](results/{results.name})\n\n{text}")
    console.note(f"tables: {folder / 'README.md'}")
    console.data(text)


def put_into_readme(readme: Path, text: str) -> None:
    """Replace what lies between the two marker lines.

    Raises:
        EdgetuneError: the markers are not there.
    """
    page = readme.read_text(encoding="utf-8")
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise EdgetuneError(f"{readme} has no lines '{START}' and '{END}'", hint=f"git checkout {readme}")
    files.write_text(readme, f"{before}{START}\n\n{text.strip()}\n\n{END}{after}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; every column but the first is aligned to the right.

    >>> print(table(["name", "n"], [["a", "1"]]))
    | name | n |
    |---|---:|
    | a | 1 |
    """
    rule = "|---|" + "---:|" * (len(head) - 1)
    return "\n".join(["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)])


def machine_line(found: dict[str, Any]) -> str:
    """The machine in one line."""
    memory = found["memory_bytes"]
    parts = [
        f"{found['cpu']} ({found['features']})",
        f"{found['usable_cpus']} logical CPUs" + (", virtual machine" if found.get("virtual") else ""),
        f"{memory / 1e9:.1f} GB memory" if memory else "memory unknown",
        found["system"],
    ]
    return "; ".join(parts)


def exit_with(main: Callable[[], None]) -> None:
    """Run a benchmark; what a person can act on becomes a message and an exit code."""
    try:
        main()
    except EdgetuneError as error:
        details = "".join(f"\n  {problem}" for problem in error.problems)
        console.note(f"error: {error.message}{details}" + (f"\nhint: {error.hint}" if error.hint else ""))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
