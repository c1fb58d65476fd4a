"""llama.cpp's own converter, out of the source archive of the llama-cpp-python that is installed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from publishing import REPOSITORY

from edgetune import console, files
from edgetune.errors import EdgetuneError

CONVERTER = "convert_hf_to_gguf.py"
#: What the converter needs of the archive, below its copy of llama.cpp.
_NEEDED = (CONVERTER, "conversion", "gguf-py")
_INSIDE = ("vendor", "llama.cpp")


def converter() -> Path:
    """convert_hf_to_gguf.py beside what it imports; fetched on the first call.

    Raises:
        EdgetuneError: the archive cannot be fetched; pip's own message is above.
    """
    release = version("llama-cpp-python")
    folder = REPOSITORY / "build" / "benchmarks" / "llama.cpp" / release
    if not folder.is_dir():
        console.note(f"fetching the sources of llama-cpp-python {release}")
        with tempfile.TemporaryDirectory() as room, files.atomic_path(folder) as temporary:
            _unpack(_download(release, Path(room)), temporary)
    return folder / CONVERTER


def _download(release: str, room: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    wanted = ["--no-deps", "--no-binary", "llama-cpp-python", f"llama-cpp-python=={release}"]
    if subprocess.run([*pip, "--dest", str(room), *wanted], check=False).returncode != 0:
        raise EdgetuneError(
            f"could not fetch the sources of llama-cpp-python {release}", hint="pip's own message is above"
        )
    return next(room.glob("*.tar.gz"))


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            if parts[1:3] == _INSIDE and parts[3:4] and parts[3] in _NEEDED:
                member.name = str(PurePosixPath(*parts[3:]))
                tar.extract(member, folder, filter="data")
