"""The projection on paper: every SoC projected without its own measurements, what else was tried, and a plot.

    python benchmarks/projection/run.py    # seconds; needs no device

Nothing is measured here: the measurements are others', in edgetune/devices/measurements.csv with their sources. Writes
``results/``, the tables in README.md and in docs/guide/devices.md, and docs/guide/images/projection.svg.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE), str(HERE.parent)]  # benchmarks are scripts, not a package

from candidates import CANDIDATES, CHOSEN, errors, mean_absolute, nested, relabelled  # noqa: E402
from publishing import REPOSITORY, exit_with, now, put_into_readme, table  # noqa: E402

from edgetune import console, files  # noqa: E402
from edgetune.devices.measurements import used_for  # noqa: E402
from edgetune.devices.projection import fit  # noqa: E402
from edgetune.devices.validation import Outcome, coverage, leave_one_soc_out, mean_error, outcome  # noqa: E402

RESULTS = HERE / "results" / "projection.json"
PLOT = REPOSITORY / "docs" / "guide" / "images" / "projection.svg"
PAGES = (HERE / "README.md", REPOSITORY / "docs" / "guide" / "devices.md")


def main() -> None:
    rows = used_for("fit")
    left_out = leave_one_soc_out(rows)
    found = fit(rows)
    checks = [outcome(found, row) for row in used_for("check")]
    result = {
        "kind": "edgetune-projection-validation",
        "schema_version": 1,
        "created": now(),
        "efficiency": {group: math.exp(value) for group, value in found.log_efficiency.items()},
        "socs": dict(found.socs),
        "interval_factor": math.exp(found.half_width),
        "left_out": [_row(one) for one in left_out],
        "mean_absolute_error": mean_error(left_out),
        "coverage": coverage(left_out),
        "checks": [_row(one) for one in checks],
        "tried": {name: mean_absolute(errors(one, rows)) for name, (one, _) in CANDIDATES.items()},
        "relabelled": relabelled(rows),
        "nested": nested(rows),
    }
    files.write_json(RESULTS, _without_date(result))
    text = to_markdown(result)
    for page in PAGES:
        put_into_readme(page, text)
    draw(left_out, checks)
    console.data(text)


def _without_date(result: dict[str, Any]) -> dict[str, Any]:
    """The former date where nothing else changed: the same input gives the same file."""
    if RESULTS.is_file():
        former = json.loads(RESULTS.read_text(encoding="utf-8"))
        if former | {"created": ""} == json.loads(json.dumps(result)) | {"created": ""}:
            return result | {"created": former["created"]}
    return result


def _row(one: Outcome) -> dict[str, Any]:
    interval = {"low": one.low, "middle": one.middle, "high": one.high, "error": one.error, "covered": one.covered}
    return one.row.model_dump(mode="json") | interval


def to_markdown(result: dict[str, Any]) -> str:
    held = [row["covered"] for row in result["left_out"]]
    worst = max((row["error"] for row in result["left_out"]), key=abs)
    summary = (
        f"Left out one SoC at a time: mean absolute error **{result['mean_absolute_error']:.1%}** over {len(held)} CPU "
        f"rows, worst {worst:+.0%}; the intervals hold {sum(held)} of {len(held)} rows (**{result['coverage']:.0%}**). "
        f"An interval is a factor of {result['interval_factor']:.2f} to both sides. With the choice of the model left "
        f"to each fold too: {result['nested']:.1%}."
    )
    lines = [
        summary,
        _table(result["left_out"]),
        "Rows that no fit has seen; nothing was chosen by them:",
        _table(result["checks"]),
        "What was tried, judged the same way:",
        table(
            ["model", "fitted numbers", "mean absolute error"],
            [
                [f"**{name}** (chosen)" if name == CHOSEN else name, CANDIDATES[name][1], f"{error:.1%}"]
                for name, error in result["tried"].items()
            ],
        ),
        "What the labels of how cores are used are worth: the error would be "
        + ", ".join(f"{error:.1%} {name}" for name, error in result["relabelled"].items())
        + ".",
        "Efficiencies: "
        + ", ".join(
            f"{value:.2f} with {group} ({result['socs'][group]} SoCs)" for group, value in result["efficiency"].items()
        )
        + ".",
    ]
    return "\n\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> str:
    head = ["SoC", "model", "measured tokens/s", "projected", "interval", "error", "holds"]
    return table(
        head,
        [
            [
                row["soc"],
                f"{row['model']} {row['quant']}",
                f"{row['decode_tok_s']:g}",
                f"{row['middle']:.3g}",
                f"{row['low']:.3g} to {row['high']:.3g}",
                f"{row['error']:+.0%}",
                "yes" if row["covered"] else "**no**",
            ]
            for row in rows
        ],
    )


def draw(left_out: list[Outcome], checks: list[Outcome]) -> None:
    """Projected intervals over measured speeds, both logarithmic; the same bytes each time."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "edgetune"
    figure, axes = plt.subplots(figsize=(7, 6))
    for outcomes, label, colour, marker in (
        (left_out, "its SoC left out", "#1f5fa8", "o"),
        (checks, "seen by no fit", "#b3541e", "s"),
    ):
        axes.errorbar(
            [one.row.decode_tok_s for one in outcomes],
            [one.middle for one in outcomes],
            yerr=[[one.middle - one.low for one in outcomes], [one.high - one.middle for one in outcomes]],
            fmt=marker,
            color=colour,
            label=label,
            capsize=3,
            markersize=5,
            linewidth=1,
        )
    ends = (1.0, 200.0)
    axes.plot(ends, ends, color="#777777", linewidth=1, label="projected = measured")
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axes.set_xlabel("measured by others, tokens/s")
    axes.set_ylabel("projected, tokens/s")
    axes.set_title("Projected decode speed on processors, with its intervals")
    axes.legend()
    axes.grid(visible=True, which="major", color="#dddddd")
    figure.tight_layout()
    with files.atomic_path(PLOT) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    exit_with(main)
