"""What an artifact must reach, by how many bits its weights have.

The limits lie between what sound artifacts reach and what planted faults do (``tests/verification``, and
``benchmarks/verify`` on real weights). A recipe's ``verify`` section can set others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgetune.evaluation.intervals import Groups, Ratio, bootstrap, draws, pooled
from edgetune.recipe import VerifySettings

#: So many times what is allowed is too much however few rows show it: an interval alone would let a fault in one row
#: of sixteen pass.
FAR = 2.0
#: Fewer rows, or groups of alike rows, have no interval: drawn again they are all but the same.
FEWEST = 5
#: A loss of the task is sure where chance alone would make one as large, or a gain, less often than so.
SURE = 0.05
#: Of the task, so much lost is too much however few rows show it.
HALF_LOST = 0.5
#: What 1 - 0.93 misses 0.07 by, in floating point, and more.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Limits:
    """One class of precision.

    Attributes:
        name: of the class.
        kl_mean: largest mean KL, nats a position.
        top1: smallest share of positions with the same likeliest token.
        retention: smallest share of the task's gain over the base that is left.
    """

    name: str
    kl_mean: float
    top1: float
    retention: float

    def overridden(self, settings: VerifySettings) -> Limits:
        """With what a recipe sets instead."""
        return Limits(
            self.name,
            self.kl_mean if settings.max_kl is None else settings.max_kl,
            self.top1 if settings.min_top1 is None else settings.min_top1,
            self.retention if settings.min_retention is None else settings.min_retention,
        )


@dataclass(frozen=True)
class Held:
    """A mean error of some rows, held to a limit.

    Attributes:
        value: of all rows together.
        low: of its 95 % interval.
        high: likewise.
        passed: None: above the limit, but neither surely nor far, so these rows cannot tell.
    """

    value: float
    low: float
    high: float
    passed: bool | None


def hold(errors: Sequence[Ratio], groups: Groups, allowed: float, far: float | None = None) -> Held:
    """Hold a mean error to the most that is allowed (docs/decisions/0017-limits-and-few-rows.md).

    Args:
        errors: (sum, count) of each row.
        groups: of the rows; empty: each stands for itself.
        allowed: the limit.
        far: what is too much however few rows show it; default: :data:`FAR` times what is allowed.

    >>> [hold([(error, 1.0)] * 4 + [(0.0, 1.0)] * 12, (), 0.01).passed for error in (0.03, 0.06, 0.1)]
    [True, None, False]
    """
    value, (low, high) = pooled(errors), bootstrap(errors, groups)
    if value <= allowed + _ROUNDING:
        return Held(value, low, high, passed=True)
    sure = draws(groups, len(errors)) >= FEWEST and low > allowed
    undecided = value <= (FAR * allowed if far is None else far) and not sure  # false of what is no number
    return Held(value, low, high, passed=None if undecided else False)


FULL = Limits("32 bits", kl_mean=1e-4, top1=0.998, retention=0.99)
HALF = Limits("16 bits", kl_mean=1e-3, top1=0.995, retention=0.98)
EIGHT = Limits("8 bits", kl_mean=0.01, top1=0.98, retention=0.97)
SIX = Limits("5 to 6 bits", kl_mean=0.03, top1=0.97, retention=0.95)
FOUR = Limits("4 bits", kl_mean=0.15, top1=0.93, retention=0.90)
FEWER = Limits("below 4 bits", kl_mean=0.40, top1=0.85, retention=0.80)

_CLASSES = (
    (r"f32|fp32|float32", FULL),
    (r"f16|fp16|bf16|float16|bfloat16", HALF),
    (r"i?q8|int8|u8", EIGHT),
    (r"i?q[56]", SIX),
    (r"i?q4|int4|u4|mixed", FOUR),
)


@dataclass(frozen=True)
class TypeLimits:
    """What rounding to one type may do to a tensor.

    Attributes:
        error: largest ‖W' - W‖ / ‖W‖.
        share: how far ``kept`` may be from 1 and ``residue`` from 0; half as far over all tensors of the type.
    """

    error: float
    share: float


#: By stored type: above what rounding SmolLM2's tensors gives (docs/decisions/0007), below rounding them twice. The
#: shares of types whose scales are searched for (K, IQ) are wide: those do take part of a fine-tune away.
TYPES = {
    "F32": TypeLimits(1e-5, 0.002),
    "F16": TypeLimits(1e-3, 0.002),
    "BF16": TypeLimits(4e-3, 0.005),
    "Q8_0": TypeLimits(0.012, 0.005),
    "Q6_K": TypeLimits(0.03, 0.45),
    "Q5_K": TypeLimits(0.06, 0.45),
    "Q5_1": TypeLimits(0.06, 0.08),
    "Q5_0": TypeLimits(0.07, 0.08),
    "Q4_1": TypeLimits(0.12, 0.10),
    "Q4_0": TypeLimits(0.13, 0.10),
    "Q4_K": TypeLimits(0.11, 0.45),
    "IQ4_NL": TypeLimits(0.11, 0.45),
    "IQ4_XS": TypeLimits(0.11, 0.45),
    "Q3_K": TypeLimits(0.25, 0.45),
    "Q2_K": TypeLimits(0.45, 0.60),
    # Of ONNX Runtime's MatMulNBits: rounded to nearest in blocks of 32; U types search for scale and zero point.
    "INT8": TypeLimits(0.012, 0.005),
    "UINT8": TypeLimits(0.012, 0.02),
    "INT4": TypeLimits(0.13, 0.10),
    "UINT4": TypeLimits(0.13, 0.45),
}
#: Share of types whose scales were searched for with an importance matrix: like those of K and IQ types, which search.
SEARCHED = 0.45
#: Of four bits by GPTQ: what is made up for elsewhere is added there, so that errors are longer; SmolLM2's reach 0.14
#: (docs/decisions/0020).
COMPENSATED = TypeLimits(0.2, 0.45)
#: Of a type that is not in the table.
ANY_TYPE = TypeLimits(0.45, 0.60)
#: Standard errors that rounding may move a share by, where those are wider than the type's limit: the errors of a
#: block's values are not quite independent.
DEVIATIONS = 8.0
#: How far a share may be off for each time that the rounding is larger than what is looked for. Over a base that was
#: rounded before, the quantiser amplifies or swallows what is smaller than its step (decision 0007).
GAIN = 0.06
#: Of what rounding changed, how much may not be the quantiser's doing: sums in another order move some values over a
#: threshold. Sound files are far below and an adapter a tenth weaker far above (tests/verification/test_verify.py).
UNLIKE = 0.05
#: A share that may be further off says nothing.
BLURRED = 0.7


def type_limits(kind: str, *, searched: bool = False, compensated: bool = False) -> TypeLimits:
    """What rounding to a type may do; ``searched``: the importance of inputs was minded; ``compensated``: GPTQ did it.

    >>> type_limits("Q4_0").share, type_limits("Q4_0", searched=True).share
    (0.1, 0.45)
    """
    if compensated:
        return COMPENSATED
    found = TYPES.get(kind, ANY_TYPE)
    return TypeLimits(found.error, max(found.share, SEARCHED)) if searched else found


def limits_for(precision: str, settings: VerifySettings) -> Limits:
    """The limits of a precision, such as ``q8_0`` or ``int4``; of an unknown one, the widest.

    >>> limits_for("q8_0", VerifySettings()).name, limits_for("iq4_nl", VerifySettings()).name
    ('8 bits', '4 bits')
    """
    found = next((limits for pattern, limits in _CLASSES if re.match(pattern, precision)), FEWER)
    return found.overridden(settings)
