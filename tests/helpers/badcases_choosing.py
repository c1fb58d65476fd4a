"""Guesses, sweeps and comparisons that cannot begin; where they train, their trainings fail as others do."""

from __future__ import annotations

from badcases_training import FULL
from badworld import Case, Command, World


def suggest(*lines: str, flags: tuple[str, ...] = ()) -> Command:
    """``edgetune suggest`` with these lines in the recipe."""
    return lambda w: w.cmd("suggest", w.recipe(*lines), "--rows", "8", *flags)


def sweep(*flags: str) -> Command:
    """``edgetune sweep`` of a sound recipe."""
    return lambda w: w.cmd("sweep", w.recipe(), "--output", "swept", *flags)


def compare(*flags: str) -> Command:
    """``edgetune compare-methods`` of a sound recipe."""
    return lambda w: w.cmd("compare-methods", w.recipe(), "--output", "compared", *flags)


def occupied(w: World) -> list[str]:
    """A sweep into a folder that holds something else."""
    w.file("swept", "notes\n")
    return sweep("--trials", "1")(w)


CHOOSING: dict[str, Case] = {
    "a guess for a recipe that is not there": (lambda w: w.cmd("suggest", "gone.yaml"), 3, "gone.yaml"),
    "a guess without an adapter": (suggest("method: {kind: full}"), 3, "method.kind is full"),
    "a guess from too few rows": (suggest("data: {train: rows.jsonl, train_limit: 3}"), 4, "3 training rows"),
    "a guess from fewer rows than groups": (lambda w: w.cmd("suggest", w.recipe(), "--rows", "2"), 2, "--rows"),
    "a guess written over a recipe": (suggest(flags=("--output", "recipe.yaml")), 3, "recipe.yaml"),
    "a guess from rows that are all too long": (suggest(flags=("--data-max-tokens", "5")), 4, "longer than 5 tokens"),
    "a guess on a full disk": (lambda w: suggest()(w.fail("os.fsync", FULL)), 10, "disk full"),
    "a sweep without an end": (sweep(), 2, "needs an end"),
    "a sweep of an unknown method": (sweep("--trials", "1", "--methods", "lara"), 2, "no method called lara"),
    "a sweep of a rank that is none": (sweep("--trials", "1", "--ranks", "0"), 2, "0 is no rank"),
    "a sweep of a rank that is no number": (sweep("--trials", "1", "--ranks", "a"), 2, "--ranks"),
    "a sweep without optuna": (lambda w: sweep("--trials", "1")(w.without("optuna")), 11, "'sweep' extra"),
    "a sweep into a file": (occupied, 2, "swept"),
    "a comparison with two budgets": (compare("--minutes", "1", "--examples", "9"), 2, "two budgets"),
    "a comparison of an unknown method": (compare("--methods", "lara"), 2, "lara"),
    "a comparison of one seed too few": (compare("--seeds", "0"), 2, "--seeds"),
}
