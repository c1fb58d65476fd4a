"""What a recipe for rows with a class should say, value by value, and why.

They are where to begin. Rates, rank and alpha are those of edgetune's own recipes for film reviews and handwritten
digits, which were measured with the bases proposed here (benchmarks/classifiers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgetune.data.advice import Advice, heldout_share, max_tokens, passes
from edgetune.data.lengths import Lengths
from edgetune.recipe import TaskKind

#: Tokens that an encoder's tokenizer puts around a text.
AROUND = 2
#: From this ratio of the commonest class to the rarest on, they are weighed.
UNEQUAL = 2.0
#: Asking a classifier costs little; by so many rows an accuracy of 0.9 is known to be 0.83 to 0.94 (Wilson, 95 %).
ENOUGH_TO_TELL = 100
#: Pixels a side that image models are mostly built for; below the least, little is left after their strides.
USUAL_SIDE, LEAST_SIDE = 224, 64


@dataclass(frozen=True)
class ClassFacts:
    """What is known about rows with a class, and about the model.

    Attributes:
        kind: what is classified.
        reason: how that is known.
        columns: key of the format → what the file calls it.
        classes: name → rows of that class.
        lengths: of texts, in tokens, or in characters where no model was given; None of images.
        sides: longer sides of images, in pixels; None of texts.
        limit: longest text the model takes, in tokens.
        has_heldout: rows held out lie beside the data.
        measured: the base is the one that edgetune's own recipe was measured with.
    """

    kind: TaskKind
    reason: str
    columns: Mapping[str, str]
    classes: Mapping[str, int]
    lengths: Lengths | None
    sides: Lengths | None
    limit: int
    has_heldout: bool
    measured: bool

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(self.classes.values())


def advise_classes(facts: ClassFacts) -> list[Advice]:
    """Every value of the recipe that depends on the rows."""
    count, most, least = len(facts.classes), max(facts.classes.values()), min(facts.classes.values())
    kind = Advice("task.kind", facts.kind, f"{facts.reason}; {count} classes of {least} to {most} rows")
    return [kind, *_data(facts), *_method(facts), *_augment(facts), *_train(facts), *_exports(facts)]


def _data(facts: ClassFacts) -> list[Advice]:
    advice = [
        Advice(f"data.{key}_column", name, f"as given: the file's name for the {key}")
        for key, name in facts.columns.items()
        if key != name
    ]
    if not facts.has_heldout:
        further = "equal rows stay together. Better: rows of your own in data.heldout"
        advice.append(heldout_share(facts.rows, further, ENOUGH_TO_TELL))
    if facts.lengths:
        advice.append(max_tokens(facts.lengths, facts.limit, AROUND))
    if facts.sides:
        advice.append(_image_size(facts.sides))
    return advice


def _image_size(sides: Lengths) -> Advice:
    wanted = -(-sides.p90 // 32) * 32
    size = max(LEAST_SIDE, min(USUAL_SIDE, wanted))
    why = f"90 % of the images are {sides.p90} pixels long or less; half the size takes about a quarter of the time"
    return Advice("data.image_size", size, why)


def _method(facts: ClassFacts) -> list[Advice]:
    tried = "; `edgetune compare-methods` says which is best for these rows"
    if facts.kind == "image-classification":
        why = f"all weights, as in the digits recipe: a small network gives an adapter little to save{tried}"
        return [Advice("method.kind", "full", why)]
    return [
        Advice("method.kind", "lora", f"as in the sentiment recipe: a few MB in place of a whole model{tried}"),
        Advice("method.rank", 16, "as in the sentiment recipe"),
        Advice("method.alpha", 32, "twice the rank, so that the learning rate suits any rank"),
    ]


def _augment(facts: ClassFacts) -> list[Advice]:
    if facts.kind != "image-classification":
        return []
    further = "rotate, flip, brightness and contrast help too where they change no class"
    return [
        Advice("augment.shift", 0.08, "an image moved a little shows the same"),
        Advice("augment.zoom", 0.1, f"likewise; {further}"),
    ]


def _train(facts: ClassFacts) -> list[Advice]:
    count, images = facts.rows, facts.kind == "image-classification"
    epochs = next((e for most, e in ((500, 10), (5000, 5), (50_000, 3)) if count < most), 1)
    value, of = (0.001, "digits recipe, for MobileNetV2") if images else (0.00075, "sentiment recipe, for MiniLM")
    unsure = "" if facts.measured else "; for this base it was not measured"
    batch, why = (
        (16, "small, as there are few rows") if count < 1000 else (32, "as in edgetune's own recipes for classes")
    )
    advice = [
        Advice("train.learning_rate", value, f"as in the {of}{unsure}"),
        *passes(count, epochs, batch, why),
    ]
    most, least = max(facts.classes.values()), min(facts.classes.values())
    if most >= UNEQUAL * least:
        why = f"the commonest class has {most} rows, the rarest {least}: each shall count as much"
        advice.append(Advice("train.class_weights", "balanced", why))
    return advice


def _exports(facts: ClassFacts) -> list[Advice]:
    text = facts.kind == "text-classification"
    why = "half the bytes, and a quarter; `edgetune run` says what each costs in accuracy"
    return [
        Advice("exports.format", "onnx", "for onnxruntime, on a phone or in a browser too"),
        Advice("exports.quant", ["fp16", "int8" if text else "int8_static"], why),
    ]
