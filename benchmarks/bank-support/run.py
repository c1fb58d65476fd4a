"""What `edgetune run bank-support` reached, read from a finished run's own files, with some of its answers.

Usage: python benchmarks/bank-support/run.py [RUN]; default: the newest trained runs/bank-support-*. Without any, the
recipe is run first, which takes a quarter of an hour.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402
from recipe_runs import collect, evaluations_of, machine_lines, newest_run, score_rows  # noqa: E402

from edgetune.evaluation.record import Answer  # noqa: E402
from edgetune.run import Run, open_run  # noqa: E402

KEYS = ("rouge_l", "chrf", "loss", "stopped")
#: Of the answers ranked by likeness: one that is worse than most, the middle one, one that is better than most.
PLACES = (0.25, 0.5, 0.75)
#: Longest answer quoted, in characters.
QUOTED = 700


def main() -> None:
    """Collect, store and publish."""
    run = open_run(Path(sys.argv[1]) if len(sys.argv) > 1 else newest_run("bank-support"))
    found = collect(run) | {"samples": samples(run)}
    cpu = next(iter(found["bench"].values()))["environment"]["cpu"]
    publishing.write_results(HERE / "results", found, cpu)
    publishing.put_into_readme(HERE / "README.md", page(found))


def samples(run: Run) -> list[dict[str, Any]]:
    """Some answers of the exported file and of the base, chosen by rank alone."""
    evaluations = evaluations_of(run)
    base = {answer.row: answer for answer in evaluations["base"].answers}
    exported = next(one for name, one in evaluations.items() if name not in ("base", "tuned"))
    ranked = sorted((a for a in exported.answers if a.row in base), key=_likeness)
    chosen = [ranked[int(place * (len(ranked) - 1))] for place in PLACES]
    return [
        {
            "row": answer.row + 1,
            "rouge_l": _likeness(answer),
            "reference": answer.reference,
            "base": base[answer.row].prediction,
            "exported": answer.prediction,
        }
        for answer in chosen
    ]


def _likeness(answer: Answer) -> float:
    above, below = answer.ratios["rouge_l"]
    return above / below


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    parts = [publishing.table(["", "rows", *KEYS], score_rows(found["scores"], KEYS)), *machine_lines(found)]
    for sample in found["samples"]:
        parts.append(f"Held-out row {sample['row']}, ROUGE-L {sample['rouge_l']:.2f} (chosen by its rank alone):")
        said = (("the bank", "reference"), ("untuned base", "base"), ("exported file", "exported"))
        parts += [f"*{title}*\n\n{_quoted(sample[name])}" for title, name in said]
    return "\n\n".join(parts)


def _quoted(text: str) -> str:
    r"""As a code block, so that headings in it are not this page's.

    >>> _quoted("## Fees")
    '```text\n## Fees\n```'
    """
    short = text.strip() if len(text.strip()) <= QUOTED else f"{text.strip()[:QUOTED]}…"
    return f"```text\n{short.replace('```', '')}\n```"


if __name__ == "__main__":
    publishing.exit_with(main)
