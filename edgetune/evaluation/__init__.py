"""How good a model is on rows it never saw: loss, task metrics, comparisons."""

from edgetune.evaluation.compare import Comparison, Difference, compare
from edgetune.evaluation.metrics import Score
from edgetune.evaluation.record import Answer, Evaluation
from edgetune.evaluation.subjects import Settings, evaluate_run

__all__ = ["Answer", "Comparison", "Difference", "Evaluation", "Score", "Settings", "compare", "evaluate_run"]
