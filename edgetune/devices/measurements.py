"""Decode speeds that others measured and published: what the projection is fitted to and judged by."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from edgetune.devices.device import DeviceClass

FILE = "measurements.csv"
_Positive = Annotated[float, Field(gt=0)]


class Measurement(BaseModel):
    """One published decode speed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    soc: str
    """Devices with the same one are left out together when the projection is judged."""
    device_class: DeviceClass
    threads: Annotated[int | None, BeforeValidator(lambda text: text or None)]
    """None where the source does not say."""
    mixed_cores: bool
    """Whether threads ran on the slowest kind of core beside others, so that every step waits for it: there are more
    threads than big cores. Big is all but the slowest kind, also where these are of several kinds themselves; Zen 5c
    counts as Zen 5. Where the source does not say how many threads ran: no, an assumption that fits their speeds."""
    bandwidth_gb_s: _Positive
    model: str
    quant: str
    mb_per_token: _Positive
    """Weights read for one token, in 10⁶ bytes."""
    mweights: Annotated[float | None, BeforeValidator(lambda text: text or None)]
    """Weights multiplied for one token, in 10⁶; needed of cores without dot products."""
    decode_tok_s: _Positive
    runtime: str
    use: Literal["fit", "accelerator", "check"]
    """fit: the projection is fitted to it; accelerator: the only one of its class; check: seen by no fit."""
    source: str


@cache
def measurements() -> tuple[Measurement, ...]:
    """All of them, in the file's order."""
    text = (resources.files("edgetune.devices") / FILE).read_text(encoding="utf-8")
    return tuple(Measurement.model_validate(row) for row in csv.DictReader(text.splitlines()))


def used_for(use: str) -> tuple[Measurement, ...]:
    """Those with that use."""
    return tuple(row for row in measurements() if row.use == use)
