"""A sweep as stored: what was tried, what came of it, what can be said of it."""

from __future__ import annotations

from typing import Any, Literal

from edgetune.stored import Stored

#: complete: trained to its end; pruned: stopped early, as it was worse than half of the others at the same step;
#: failed: memory, divergence, a process that died; stopped: to be gone on with.
State = Literal["complete", "pruned", "failed", "stopped", "running", "waiting"]

Targets = Literal["auto"] | tuple[str, ...]


class Space(Stored):
    """What settings are chosen from."""

    methods: tuple[str, ...]
    ranks: tuple[int, ...]
    ratios: tuple[float, ...]
    """Alpha over rank."""
    targets: dict[str, Targets]
    """Name → ``method.target_modules``."""
    learning_rate: float
    """Of adapters, in the middle; full training takes a tenth of it."""
    spread: float
    """Learning rates go from the middle over this to the middle times this; 1: the middle alone."""


class Basis(Stored):
    """What all trials of a sweep share. Only equal ones may go into one storage."""

    recipe_sha256: str
    """Of the recipe and the limits of a trial, without paths."""
    base_sha256: str
    data_sha256: dict[str, str]
    """Of the rows to train on and of those that choose."""
    validation: str
    """Which rows choose, in words."""
    space: Space


class TrialRecord(Stored):
    """One training."""

    number: int
    state: State
    origin: str
    """recipe, suggested, or sampled; retried after: its number."""
    settings: dict[str, Any]
    """Dotted key of the recipe → value."""
    targets: str | None
    """Their name in the space; None: the method has none."""
    loss: float | None
    """The lowest on validation rows; None unless complete."""
    losses: dict[int, float]
    """Step → loss on validation rows."""
    seconds: float | None
    peak_rss: int | None
    trainable_parameters: int | None
    reason: str | None
    """Why it failed or was stopped."""
    folder: str | None

    @property
    def reached(self) -> float:
        """The loss of one that is complete."""
        assert self.loss is not None, f"trial {self.number} is {self.state}"
        return self.loss


class Importance(Stored):
    """How much of what makes trials good is due to one setting."""

    setting: str
    share: float
    low: float
    high: float
    """95 % jackknife interval over trials."""


class Agreement(Stored):
    """How well the guess from gradients ranks what was measured."""

    what: str
    n: int
    rho: float | None
    """Spearman's rank correlation; above 0: what was guessed better was better."""
    p_value: float | None
    """Chance of one as far from 0 where nothing agrees, by permutation."""
    reason: str | None
    """Why it cannot be said."""


class Sweep(Stored):
    """All of it."""

    kind: Literal["edgetune-sweep"] = "edgetune-sweep"
    schema_version: Literal[1] = 1
    recipe: str
    basis: Basis
    limits: dict[str, float]
    """Of each trial: ``max_steps``, ``max_minutes``."""
    trials: tuple[TrialRecord, ...]
    best: int | None
    """Number of the trial with the lowest loss."""
    importance: tuple[Importance, ...]
    importance_missing: str | None
    """Why nothing can be said of it."""
    agreement: tuple[Agreement, ...]
    created: str
    """UTC, ISO 8601."""
    edgetune: str
    versions: dict[str, str]

    def trial(self, number: int) -> TrialRecord:
        """The trial with a number."""
        return next(trial for trial in self.trials if trial.number == number)

    @property
    def complete(self) -> tuple[TrialRecord, ...]:
        """Those trained to their end."""
        return tuple(trial for trial in self.trials if trial.state == "complete")
