"""The trained model in torch as something to measure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetune.errors import ArtifactError
from edgetune.run import open_run
from edgetune.runtimes.protocol import Runtime


def open_reference(folder: Path, job: Mapping[str, Any]) -> Runtime:
    """Open a run's trained model.

    Raises:
        ArtifactError: it is told what torch cannot be told.
        EdgetuneError: the run is not trained.
    """
    given = [name for name in ("prefill_threads", "kv_type", "batch", "context") if job.get(name)]
    if given:
        words = " and ".join(name.replace("_", " ") for name in given)
        raise ArtifactError(f"torch has no setting for {words}", hint="leave out --torch")
    import torch

    from edgetune.runtimes.threads import default_threads
    from edgetune.runtimes.torch_runtime import open_torch

    torch.set_num_threads(job.get("decode_threads") or default_threads())
    return open_torch(open_run(folder))
