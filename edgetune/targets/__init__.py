"""Targets: where a model must run and what it must keep to. Named profiles, objectives, verdicts."""

from edgetune.bench.objective import Objective, Verdict
from edgetune.targets.finding import find_target, target_names
from edgetune.targets.target import Target

__all__ = ["Objective", "Target", "Verdict", "find_target", "target_names"]
