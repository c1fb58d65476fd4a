"""From what was measured of every tensor to a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from edgetune.verification.limits import BLURRED, DEVIATIONS, GAIN, UNLIKE, TypeLimits, type_limits
from edgetune.verification.record import Check
from edgetune.verification.weights import Share, TensorFinding

#: A layer that keeps less of its fine-tune has none of it.
NOTHING = 0.2


def check_weights(findings: Sequence[TensorFinding]) -> Check:
    """Whether the artifact holds the tuned weights, as its types can."""
    problems = [f"{finding.name}: {problem}" for finding in findings for problem in _problems(finding)]
    problems += [problem for kind in sorted({f.type for f in findings}) for problem in _together(kind, findings)]
    figures = _figures(findings)
    return Check(
        name="weights",
        passed=not problems,
        text=_text(findings, figures),
        figures=figures,
        problems=tuple(problems),
        cause=_cause(findings) if problems else None,
    )


def _problems(finding: TensorFinding) -> list[str]:
    if finding.problem:
        return [finding.problem]
    problems = []
    limit = _limits(finding).error
    if finding.error is not None and finding.error > limit + finding.allowed:
        problems.append(f"{finding.error:.2%} away from the trained weights; {finding.type} may be {limit:.2%}")
    if finding.unlike is not None and finding.unlike > UNLIKE:
        problems.append(
            f"is not what {finding.type} makes of the trained weights ({finding.unlike:.0%} of the rounding)"
        )
    if _lost(finding):
        problems.append(f"holds {_value(finding.kept)} of its fine-tune")
    if _based(finding):
        problems.append(f"holds {_value(finding.residue)} of the rounding that training had taken out of the base")
    return problems


def _together(kind: str, findings: Sequence[TensorFinding]) -> list[str]:
    """The shares of all tensors of a type as one, which tells smaller differences."""
    own = [f for f in findings if f.type == kind and not _as_rounded(f)]
    limit = max((_limits(f).share for f in own), default=0.0) / 2
    kept, residue = (_pooled(shares) for shares in ([f.kept for f in own], [f.residue for f in own]))
    problems = []
    if kept and _off(kept, 1.0, limit):
        problems.append(f"all {kind} tensors together hold {_value(kept)} of their fine-tune")
    if residue and _off(residue, 0.0, limit):
        problems.append(f"all {kind} tensors together hold {_value(residue)} of the base's rounding")
    return problems


def _pooled(shares: Sequence[Share | None]) -> Share | None:
    """The mean, the surer shares weighing more; None for fewer than two, or where one is exact."""
    known = [share for share in shares if share]
    if len(known) < 2 or any(share.error == 0 for share in known):
        return None
    weights = [share.error**-2 for share in known]
    mean = sum(weight * share.value for weight, share in zip(weights, known, strict=True)) / sum(weights)
    return Share(value=mean, error=1 / math.sqrt(sum(weights)), blur=median(share.blur for share in known))


def _limits(finding: TensorFinding) -> TypeLimits:
    return type_limits(finding.type, searched=finding.searched, compensated=finding.compensated)


def _as_rounded(finding: TensorFinding) -> bool:
    """Whether a tensor holds what its quantiser makes of the trained weights: what is lost, rounding took."""
    return finding.unlike is not None and finding.unlike <= UNLIKE


def _lost(finding: TensorFinding) -> bool:
    return finding.kept is not None and not _as_rounded(finding) and _off(finding.kept, 1.0, _limits(finding).share)


def _based(finding: TensorFinding) -> bool:
    share = finding.residue
    return share is not None and not _as_rounded(finding) and _off(share, 0.0, _limits(finding).share)


def _off(share: Share, origin: float, limit: float) -> bool:
    """Whether a share is further from where it belongs than rounding could move it."""
    tolerance = max(limit, DEVIATIONS * share.error, GAIN * share.blur)
    return tolerance <= BLURRED and abs(share.value - origin) > tolerance


def _value(share: Share | None) -> str:
    assert share is not None
    return f"{share.value:.3f} (± {share.error:.3f})"


def _figures(findings: Sequence[TensorFinding]) -> dict[str, float]:
    errors = [f.error for f in findings if f.error is not None]
    kept = [f.kept.value for f in findings if f.kept]
    residue = [f.residue.value for f in findings if f.residue]
    figures = {"error_max": max(errors)} if errors else {}
    if kept:
        figures |= {"kept_min": min(kept), "kept_median": median(kept), "kept_max": max(kept)}
    if residue:
        figures["residue_max"] = max(residue, key=abs)
    return figures


def _text(findings: Sequence[TensorFinding], figures: dict[str, float]) -> str:
    text = f"{len(findings)} tensors, at most {figures.get('error_max', 0):.2%} away from the trained ones"
    if "kept_min" in figures:
        low, middle, high = (figures[f"kept_{name}"] for name in ("min", "median", "max"))
        text += f"; share of the fine-tune in a layer: {low:.3f} to {high:.3f}, median {middle:.3f}"
    return text


def _cause(findings: Sequence[TensorFinding]) -> str:
    """The commonest reason for such findings."""
    adapted = [f for f in findings if f.kept]
    lost, based = [f for f in adapted if _lost(f)], [f for f in adapted if _based(f)]
    if any("finite" in (f.problem or "") for f in findings):
        return "damaged weights, or values too large for the type"
    if any(f.problem for f in findings):
        return "tensors are missing, too many or of another shape: another vocabulary, a wrong tie flag, another model"
    if len(based) > len(adapted) / 2:
        return "the adapter was merged into the 16-bit base; it was trained over the one rounded to NF4"
    if lost and median(f.kept.value for f in lost if f.kept) < NOTHING:
        return "the adapter of these layers was left out"
    unlike = [f for f in findings if f.unlike is not None and f.unlike > UNLIKE]
    only_adapted = bool(unlike) and all(f.kept for f in unlike)
    if lost or only_adapted or any("fine-tune" in p for f in findings for p in _together(f.type, findings)):
        return "another adapter was merged (an older one?), or at another scale (rsLoRA's alpha/√rank?)"
    return "the weights were rounded more than once, their rows are in another order, or they are damaged"
