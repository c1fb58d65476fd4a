"""Around a training: one process at work in the run folder, one voice, and a way back for who interrupts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edgetune import extras, files
from edgetune.adapters.tuned import trained_base
from edgetune.adapters.unchanged import require_inputs
from edgetune.data.pictures import changed_images
from edgetune.errors import DataError, Interrupted
from edgetune.run import Run, alone, is_run, open_run
from edgetune.training import checkpoints
from edgetune.training.processes import main_first, one_voice


@contextmanager
def session(folder: Path, ready: Callable[[], object], *, cpu: bool) -> Iterator[None]:
    """Hold the run folder for a training in the body.

    Args:
        folder: of the run, which need not exist yet.
        ready: brings the run to where all processes can go on; called in the main process alone, once it
            has the lock.
        cpu: do not look for other devices.

    Raises:
        InUse: another training is at work there; nothing was touched.
        Interrupted: Ctrl-C; it says what is kept.
    """
    with _way_back(folder):
        main = _is_main(cpu=cpu)
    with one_voice(main=main), _way_back(folder), ExitStack() as held:
        with main_first():
            if main:
                held.enter_context(alone(folder))
                _sweep(folder)
                ready()
        yield


def _is_main(*, cpu: bool) -> bool:
    """Whether this process is the first of those that train together; they find each other here."""
    extras.require("transformers", extra="train", needed_for="training")
    from accelerate import PartialState

    main: bool = PartialState(cpu=cpu).is_main_process
    return main


def _sweep(folder: Path) -> None:
    """Remove what killed processes were writing, beside the run and in it."""
    for place in (folder.resolve().parent, folder):
        if place.is_dir():
            files.sweep(place)


@contextmanager
def _way_back(folder: Path) -> Iterator[None]:
    """Turn Ctrl-C, whenever it comes, into a message that says what is kept and what goes on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise _interrupted(folder) from stop


def _interrupted(folder: Path) -> Interrupted:
    if not is_run(folder) or open_run(folder).manifest.state == "created":
        return Interrupted("interrupted while preparing; nothing is kept")  # no hint: the same command goes on
    run = open_run(folder)
    whole = checkpoints.sealed_checkpoints(run.checkpoints_folder)
    kept = f"the checkpoint of step {whole[-1].step}" if whole else "its rows and its base; no step is saved yet"
    return Interrupted(f"interrupted; {run.folder} keeps {kept}", hint=run.resume_command)


def require_unchanged(run: Run) -> None:
    """Refuse to go on with other rows or another base than the run began with.

    A cached copy of the base that was deleted is made again from where it came from.

    Raises:
        DataError: naming the files of rows that are gone or have others.
        ModelError: the base is gone, or has other weights or settings; the tokenizer or its
            template was changed, or how pictures are prepared.
    """
    rows = {run.rows_file(name): digest for name, digest in run.manifest.data_sha256.items()}
    problems = [problem for path, digest in rows.items() if (problem := _change(path, digest))]
    problems += [f"{path}: was not there" for path in run.row_files.values() if rows and path not in rows]
    problems += changed_images(run.data_folder)
    if problems:
        raise DataError(
            f"the rows of {run.folder} are not those that it began with",
            hint="put the former files back, or train anew: edgetune train RECIPE --output FOLDER",
            problems=problems,
        )
    require_inputs(run)
    base = trained_base(run)
    if base.folder != Path(run.manifest.base_folder):
        run.update_manifest(base_folder=str(base.folder))


def _change(path: Path, digest: str) -> str | None:
    if not path.is_file():
        return f"{path}: missing"
    return None if files.sha256_file(path) == digest else f"{path}: changed since the run was prepared"
