"""Adapting a model: methods, batches, the trainer's wiring, checkpoints.

Importing this package loads neither torch nor transformers.
"""

from __future__ import annotations

from edgetune.training.train import resume, train

__all__ = ["resume", "train"]
