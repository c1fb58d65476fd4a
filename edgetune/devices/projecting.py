"""A report of projections: an artifact's real tensors, devices by name, depths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from edgetune import __version__
from edgetune.artifact import Artifact
from edgetune.devices.device import Device
from edgetune.devices.footprint import Footprint, read_footprint
from edgetune.devices.measuring import subject_of
from edgetune.devices.projection import project
from edgetune.devices.report import DeviceReport, Projected
from edgetune.devices.stamp import now
from edgetune.errors import ArtifactError


def project_all(artifact: Artifact, devices: Sequence[Device], depths: Sequence[int]) -> DeviceReport:
    """Project decode speed on each device at each depth.

    Raises:
        ArtifactError: an artifact that cannot be read, a mixture of experts, or a depth that it was not built for.
    """
    model = read_footprint(artifact)
    if model.mixture:
        raise ArtifactError(
            f"{artifact.name} is a mixture of experts: what a token reads cannot be told, so nothing is projected",
            hint="edgetune device measure ARTIFACT --over local --runner llama-bench",
        )
    if beyond := [depth for depth in depths if depth > model.trained_context]:
        raise ArtifactError(
            f"{artifact.name} was built for {model.trained_context} tokens, so no depth of {max(beyond)} is projected",
            hint=f"--depth {model.trained_context} at most",
        )
    found = [
        Projected(
            depth=depth,
            **asdict(project(device, model.token_bytes(depth), model.read_weights)),
        )
        for device in devices
        for depth in depths
    ]
    return DeviceReport(
        how="projected",
        created=now(),
        edgetune=__version__,
        subject=subject_of(artifact, model),
        devices=tuple(devices),
        projected=tuple(found),
        warnings=(*model.notes, *_of_another_runtime(model)),
    )


def _of_another_runtime(model: Footprint) -> Iterator[str]:
    if model.runtime != "llama.cpp":
        yield f"how well devices use their bandwidth was measured with llama.cpp, not with {model.runtime}"
