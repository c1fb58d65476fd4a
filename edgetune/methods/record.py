"""A comparison of methods as stored: what every training gave. All tables are made from this."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from edgetune.bench.schema import Environment, Figure
from edgetune.evaluation.compare import Difference
from edgetune.evaluation.metrics import Score
from edgetune.stored import Stored, read_stored, write_stored


class Budget(Stored):
    """What each training may use; without both, what the recipe says."""

    minutes: float | None = None
    examples: int | None = None

    @property
    def text(self) -> str:
        """In words."""
        if self.minutes is not None:
            return f"{self.minutes:g} minutes of training each"
        return f"{self.examples} examples each" if self.examples is not None else "the recipe's own budget each"


class LeftOut(Stored):
    """A method that was not trained, and why."""

    method: str
    reason: str


class Try(Stored):
    """A learning rate that was tried for a while."""

    rate: float
    loss: float | None
    """The best on the rows that choose checkpoints, nats; null: it diverged."""


class Rate(Stored):
    """The peak learning rate of a method, and where it comes from."""

    method: str
    value: float
    why: str
    tried: tuple[Try, ...] = ()
    given_up: tuple[float, ...] = ()
    """Rates that were better when tried, and with which a whole training ended worse than the try, or diverged."""

    @property
    def at_edge(self) -> bool:
        """Whether the best is the lowest or highest of those that were tried: the next one could be better still."""
        if self.given_up:
            return False
        rates = [one.rate for one in self.tried]
        return bool(rates) and self.value in (min(rates), max(rates))


class Training(Stored):
    """One training: a method, a seed, and a share of the rows."""

    method: str
    seed: int
    share: float
    """Of the training rows."""
    rows: int
    folder: str
    """Name of its run folder among the trials."""
    settings: dict[str, Any]
    """What it changes in the recipe."""
    steps: int
    first_loss: float | None = None
    """Nats: of a classifier that knows nothing, else of the first line that training wrote of its own rows."""
    last_loss: float | None = None
    """Nats, of the last line that training wrote of its own rows; null: trained earlier."""
    best_loss: float | None = None
    """Nats, the lowest on the rows that choose checkpoints; null: trained earlier."""
    examples: int
    """Rows that training saw, each pass counted."""
    seconds: float
    trainable_parameters: int
    peak_rss: int
    """Bytes: largest resident set of the process that trained."""
    peak_cuda: int | None = None
    """Bytes: the most that torch allocated on a GPU."""
    energy_j: float | None = None
    """Joules of the processor packages, other programs included."""
    energy_reason: str | None = None
    """Why there is no energy."""
    result_bytes: int
    """Of what training leaves: the adapter, or the whole model."""
    others_share: float | None = None
    """Share of the processors' time that other programs used meanwhile; null: not known, or trained earlier."""
    heldout_sha256: str
    scores: tuple[Score, ...]
    """Of the trained model on the held-out rows."""
    forgot: tuple[Difference, ...] = ()
    """Of general ability: base to trained model, paired by question."""

    @property
    def got_worse(self) -> bool:
        """Whether the loss on its own rows rose while it trained."""
        return self.first_loss is not None and self.last_loss is not None and self.last_loss > self.first_loss

    def score(self, name: str) -> Score | None:
        """The figure of that name, if it is there."""
        return next((score for score in self.scores if score.name == name), None)

    def forgotten(self, name: str) -> Difference | None:
        """How a figure of general ability moved, if it was measured."""
        return next((one for one in self.forgot if one.name == name), None)


class Pair(Stored):
    """How one method differs from another in the task's figure, seed by seed."""

    method: str
    other: str
    seeds: int
    value: float
    """Mean over the seeds of this method's figure minus the other's."""
    low: float | None = None
    high: float | None = None
    """Student's 95 % interval over the seeds; null below three."""
    row_low: float
    row_high: float
    """95 % interval over the held-out rows, from a bootstrap of the trained models as they are."""

    @property
    def certain(self) -> bool:
        """Whether neither another seed nor other rows would explain it: both intervals leave zero out."""
        if self.low is None or self.high is None:
            return False
        return all(low > 0 or high < 0 for low, high in ((self.low, self.high), (self.row_low, self.row_high)))


class Apart(Stored):
    """An exported adapter that is not merged, and the exported base that all such adapters share."""

    base_bytes: int
    adapter_bytes: int
    missing: float = 0.0
    """‖missing‖ / ‖change‖ of the weight that the format approximates worst; of a LoRA nothing."""


class Device(Stored):
    """What the exported model of one method costs where it runs."""

    method: str
    seed: int
    format: str
    precision: str
    runtime: str
    size_bytes: int
    figures: tuple[Figure, ...]
    shift: Difference | None = None
    """The task's figure on the held-out rows: from the trained model of that seed to its artifact, paired by row."""
    apart: Apart | None = None
    """Its adapter, kept apart; null: it has none, or the format cannot."""


class MethodsComparison(Stored):
    """All of it."""

    kind: Literal["edgetune-methods"] = "edgetune-methods"
    schema_version: Literal[1] = 1
    edgetune: str
    created: str
    """UTC, ISO 8601: of the newest training or measurement."""
    name: str
    """Of the recipe."""
    recipe: dict[str, Any]
    """As given, every value written out."""
    base_origin: str
    base_bytes: int
    """Of the base's weights, as trained on."""
    metric: str
    metric_definition: str
    lower_is_better: bool
    budget: Budget
    seeds: tuple[int, ...]
    margin: float
    rates: tuple[Rate, ...]
    left_out: tuple[LeftOut, ...]
    floor: Score | None = None
    """Of the most frequent class of the training rows for every held-out row; null where rows are answered."""
    trainings: tuple[Training, ...]
    pairs: tuple[Pair, ...]
    general_reason: str | None = None
    """Why forgetting was not measured."""
    devices: tuple[Device, ...] = ()
    device_reason: str | None = None
    """Why nothing was measured on a device's format."""
    environment: Environment
    warnings: tuple[str, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """That were trained, in the order of tables."""
        return tuple(dict.fromkeys(one.method for one in self.trainings))

    def of(self, method: str, share: float = 1.0) -> tuple[Training, ...]:
        """The trainings of a method, seed by seed."""
        return tuple(one for one in self.trainings if one.method == method and one.share == share)

    def pair(self, method: str, other: str) -> Pair | None:
        """How two methods differ, if both were evaluated."""
        return next((one for one in self.pairs if (one.method, one.other) == (method, other)), None)

    @classmethod
    def read(cls, path: Path) -> Self:
        """A stored comparison.

        Raises:
            EdgetuneError: there is none, or it is damaged or of another version.
        """
        return read_stored(
            path,
            cls,
            "a comparison of methods",
            hint="edgetune compare-methods RECIPE writes it: what is trained is kept",
        )

    def write(self, path: Path) -> None:
        """Store it, whole or not at all."""
        write_stored(path, self)
