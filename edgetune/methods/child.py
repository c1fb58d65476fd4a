"""The process that looks at a trained model: ``python -m edgetune.methods.child``; see :mod:`edgetune.trial_child`.

Torch and the exporters take much memory, and what they leave behind must not count for the next training.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from edgetune.methods.forgetting import measure_general
from edgetune.run import open_run
from edgetune.trial_child import do


def look(job: dict[str, Any]) -> None:
    """Measure general ability, or export, as the job says."""
    run = open_run(Path(job["run"]))
    if job["general_limit"]:
        measure_general(run, Path(job["base"]), limit=job["general_limit"], seed=job["seed"])
    if job["export"]:
        from edgetune.methods.exported import EXPORTS

        EXPORTS[job["export"]](run, job["format"], job["precision"])


if __name__ == "__main__":
    sys.exit(do(look))
