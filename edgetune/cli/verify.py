"""``edgetune verify``: is the exported file the trained model?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetune import console
from edgetune.errors import ArtifactError, CheckFailed

if TYPE_CHECKING:
    from edgetune.verification.record import Verification


@click.command("verify")
@click.argument("path", metavar="ARTIFACT|RUN", type=click.Path(path_type=Path))
@click.option("--artifact", "name", help="With a run: only this export. Default: all of them.")
@click.option("--run", "run_folder", type=click.Path(path_type=Path), help="Run that an artifact elsewhere came from.")
@click.option("--base", type=click.Path(path_type=Path), help="Of an adapter: verify it on this base.")
@click.option("--quick", is_flag=True, help="Fewer rows.")
@click.option(
    "--portable",
    is_flag=True,
    help="Leave held-out rows in it, for devices without torch.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every finding.")
def verify(path: Path, as_json: bool, **options: Path | str | bool | None) -> None:
    """Prove that ARTIFACT, or every export of RUN, behaves like the model that was trained.

    The trained model in torch is the reference. File, metadata, weights, prompts, next-token
    distributions, endings and the task metric are compared; the result is stored in the artifact as
    verify.json. An ARTIFACT outside its run is compared with what --portable left in it.
    Exit code 9 if anything fails, 8 if an export of RUN cannot be looked at; the others are.
    """
    from edgetune.verification.subjects import Wanted, require_read, verify_path
    from edgetune.verification.text import to_text

    verified = verify_path(path, Wanted(**options))  # type: ignore[arg-type]  # click has checked each type
    found = verified.found
    if as_json:
        console.data("[" + ",".join(one.model_dump_json() for one in found) + "]")
    else:
        console.data("\n\n".join(to_text(one) for one in found))
    above = "the findings above say where it differs and why: export it again, or in a wider precision"
    require_verified(verified.failed, verified.refused, hint=above)
    require_read(verified.refused)


def require_verified(
    failed: Sequence[Verification],
    refused: Sequence[ArtifactError] = (),
    *,
    hint: str = "`edgetune verify` on it shows the findings and the likely causes",
) -> None:
    """End with exit code 9 where an artifact is not the trained model.

    Args:
        failed: those that are not.
        refused: why others could not be looked at, to be said with it.
        hint: what to do next.

    Raises:
        CheckFailed: naming the artifacts and the checks that failed.
    """
    if failed:
        from edgetune.verification.text import failure

        problems = [line for error in refused for line in (error.message, *error.problems)]
        raise CheckFailed("; ".join(failure(one) for one in failed), hint=hint, problems=problems)
