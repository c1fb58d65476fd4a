"""How the rows of an optimiser step are shared out."""

from __future__ import annotations

from dataclasses import dataclass

from edgetune.errors import DataError, RecipeError


@dataclass(frozen=True)
class BatchSize:
    """How an optimiser step's rows are shared out.

    Attributes:
        micro: rows in one forward pass of one process.
        accumulate: forward passes a step.
        total: rows a step, over all processes.
    """

    micro: int
    accumulate: int
    total: int

    @classmethod
    def of(cls, total: int, micro: int | None, rows: int, processes: int) -> BatchSize:
        """Share ``total`` rows over processes and forward passes.

        Args:
            total: rows a step.
            micro: rows a forward pass of one process; default: all of its share.
            rows: to train on.
            processes: that train together.

        Raises:
            RecipeError: they do not divide evenly.
            DataError: fewer rows than one step takes.
        """
        micro = micro or total // processes or 1
        accumulate, rest = divmod(total, micro * processes)
        if rest or not accumulate:
            raise RecipeError(
                f"train.batch_size {total} is not a multiple of {micro} rows a pass on {processes} "
                f"process{'es' if processes > 1 else ''}",
                hint="choose a --batch-size or --micro-batch-size that divides",
            )
        if rows < total:
            raise DataError(
                f"{rows} training rows are fewer than one step takes (train.batch_size {total})",
                hint=f"--batch-size {rows}, or give more rows",
            )
        return cls(micro, accumulate, total)

    def steps_per_epoch(self, rows: int) -> int:
        """Whole steps in a pass over the rows; the rest, another one each pass, is left out."""
        return rows // self.total
