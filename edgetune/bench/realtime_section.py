"""Raw samples of real-time loops, as a benchmark report keeps them. Figures are derived in ``edgetune.realtime``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RealtimeRequest(_Part):
    """One request. Seconds since it was *scheduled*, waiting included, but for ``scheduled_s`` itself."""

    prompt: int
    """Which of the prompts."""
    scheduled_s: float
    """Since the loop began."""
    started_s: float
    tokenised_s: float
    token_s: tuple[float, ...]
    """When each output token was visible as text."""
    clause_s: float | None
    """When a synthesiser could begin to speak; None for an empty answer."""
    clause_tokens: int
    """Output tokens that were visible then."""
    finished_s: float
    prompt_tokens: int
    finish: Literal["stop", "length"]


class RealtimeLoop(_Part):
    """Requests of one loop, in the order of their schedule; they are served one at a time, first come first served."""

    scenario: Literal["closed loop", "open loop"]
    """closed loop: the next is scheduled when the last answer has ended. open loop: at seeded Poisson times."""
    rate: float | None = None
    """open loop: requests a second that were wanted."""
    seed: int = 0
    planned: int
    """Requests wanted."""
    stopped: str | None = None
    """Why there are fewer than planned."""
    requests: tuple[RealtimeRequest, ...]


class RateSearch(_Part):
    """The highest rate of random requests at which every objective is met, as far as it was looked for."""

    highest_met: float | None
    """Requests a second, measured; None: no rate that was measured meets them, or none was measured."""
    lowest_missed: float | None
    """Requests a second, measured; None: none missed."""
    predicted: float | None
    """Where the search began: simulated from the closed loop. Not a measurement."""
    ended: str
    """Why no further rate was measured."""


class Frame(_Part):
    """One frame of a source with a fixed rate. Seconds since the source began; None: it was dropped."""

    scheduled_s: float
    started_s: float | None
    finished_s: float | None


class FrameLoop(_Part):
    """Frames at a fixed rate."""

    rate: float
    policy: Literal["latest"] = "latest"
    """One frame waits at most: the newest. A frame that another one overtakes while it waits is dropped."""
    frames: tuple[Frame, ...]


class FrameSection(_Part):
    """A source with a fixed rate, measured against a clock: each frame is an input to be classified."""

    inputs: int
    """How many there were; frames take them in turn."""
    input_source: str
    loop: FrameLoop
    others_share: float | None = None
    """Share of this machine's processor time that other processes took meanwhile; None where it cannot be read."""
    steal_share: float | None = None
    """Share of it that a host took from this virtual machine."""


class RealtimeSection(_Part):
    """Everything measured against a clock."""

    clause_definition: str
    prompts: int
    """How many there were; requests take them in turn."""
    prompt_source: str
    new_tokens: int
    loops: tuple[RealtimeLoop, ...]
    search: RateSearch | None = None
    others_share: float | None = None
    """Share of this machine's processor time that other processes took meanwhile; None where it cannot be read."""
    steal_share: float | None = None
    """Share of it that a host took from this virtual machine."""

    @property
    def judged(self) -> RealtimeLoop:
        """The loop that objectives are judged by: at the rate asked for, else one request at a time."""
        asked = [loop for loop in self.loops if loop.scenario == "open loop"]
        return asked[0] if asked and self.search is None else self.loops[0]

    @property
    def no_rate(self) -> str:
        """Why there is no highest rate, where there is none."""
        tried = any(loop.scenario == "open loop" for loop in self.loops)
        return "no rate that was measured meets the objectives" if tried else "no rate was measured"
