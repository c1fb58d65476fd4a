"""A verification as text for people."""

from __future__ import annotations

from edgetune.verification.record import Check, Verification

#: Findings shown of one check.
SHOWN = 5
_VERDICT = {True: "pass", False: "FAIL", None: "-"}


def to_text(verification: Verification) -> str:
    """Every check with what was found; of a failed one the limit, the findings and the likely cause."""
    verdict = "verified" if verification.passed else "NOT verified"
    if verification.passed and (open_ := unjudged(verification)):
        verdict += f", {', '.join(open_)} not judged"
    against = f"{verification.precision_class}; against {verification.reference}; {verification.seconds:.0f} s"
    lines = [f"{verification.artifact}: {verdict} ({against})"]
    for check in verification.checks:
        lines += _lines(check)
    return "\n".join(lines)


def _lines(check: Check) -> list[str]:
    lines = [f"  {_VERDICT[check.passed]:<5}{check.name:<15}{check.text}"]
    if check.limits and check.passed is not None:
        limits = ", ".join(f"{name} {value:.4g}" for name, value in check.limits.items())
        lines.append(f"{'':<22}limits: {limits}")
    lines += [f"{'':<22}{problem}" for problem in check.problems[:SHOWN]]
    if len(check.problems) > SHOWN:
        lines.append(f"{'':<22}… and {len(check.problems) - SHOWN} more")
    return [*lines, f"{'':<22}likely cause: {check.cause}"] if check.cause else lines


def summary_line(verification: Verification) -> str:
    """Verified or not, in one line."""
    judged = [check for check in verification.checks if check.passed is not None]
    if verification.passed:
        rest = "".join(f"; {check.name}: {check.text}" for check in verification.checks if _is_open(check))
        return f"verified: {', '.join(check.name for check in judged)} are the trained model's{rest}"
    return f"NOT verified: failed {', '.join(check.name for check in verification.failed)}"


def unjudged(verification: Verification) -> list[str]:
    """Names of the checks without a verdict; that of the loss never has one."""
    return [check.name for check in verification.checks if _is_open(check)]


def _is_open(check: Check) -> bool:
    return check.passed is None and check.name != "loss"


def failure(verification: Verification) -> str:
    """One sentence for an error message."""
    names = ", ".join(check.name for check in verification.failed) or "nothing could be judged"
    return f"{verification.artifact} is not the trained model: {names}"
