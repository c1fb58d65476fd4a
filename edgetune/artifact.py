"""The artifact: an exported file (or files) with a manifest that says what it is.

``exports/q8_0/`` holds ``manifest.json`` beside the exported files. A bare ``.gguf``
file made elsewhere can be opened too; it then has no manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from edgetune import files
from edgetune.errors import ArtifactError
from edgetune.recipe import TaskKind
from edgetune.stored import Stored, read_stored, write_stored

MANIFEST = "manifest.json"
#: Before the names of files of the base that an adapter runs on.
BENEATH = "base: "


class ArtifactManifest(Stored):
    """What an artifact is, as stored in ``manifest.json``."""

    kind: Literal["edgetune-artifact"] = "edgetune-artifact"
    schema_version: Literal[1] = 1
    name: str
    """``smart-home-q8_0``."""
    format: str
    """Exporter: ``gguf``, …"""
    precision: str
    """``q8_0``, …"""
    runtime: str
    """Runtime plug-in that runs it: ``llama.cpp``, …"""
    main_file: str
    """The file a runtime opens, relative to the artifact folder."""
    weights: Literal["merged", "whole", "adapter", "base"]
    """merged: the adapter is in the base; whole: trained directly; adapter: kept apart; base: untuned."""
    architecture: str
    """``LlamaForCausalLM``, …"""
    base_source: str
    base_sha256: str
    merged_into: Literal["base", "nf4", "none"]
    """What the adapter was added to, or belongs on: what it was trained against. Of a base: what it was rounded to."""
    chat_template_sha256: str
    stop_ids: tuple[int, ...]
    system: str | None
    """System prompt the model was trained with; chat uses it unless told otherwise."""
    context_length: int
    """Longest prompt plus answer, or longest text to classify, in tokens."""
    parameters: int
    tensor_types: dict[str, int]
    """Type name → number of tensors, as written."""
    fallbacks: dict[str, str]
    """Tensor → the type it got instead of the one asked for, with the reason."""
    missing: dict[str, float] = Field(default={})
    """Of an adapter: weight → ‖missing‖ / ‖change‖ where its format can only approximate the change."""
    sha256: dict[str, str]
    """Hash of each file, relative path → hex."""
    size_bytes: int
    """Of all files together."""
    edgetune: str
    created: str
    """UTC, ISO 8601."""
    licence: str | None = None
    run: str | None = None
    """Name of the run it came from."""
    task: TaskKind = "generation"
    """What the model does."""
    labels: tuple[str, ...] = ()
    """Of a classifier: names of its classes, in the order of its outputs. The graph and config.json say the same."""
    tokenizer_sha256: str | None = None
    """Of a classifier: hash of its tokenizer.json."""
    calibration_sha256: str | None = None
    """Of a classifier in static eight bits: hash of the training rows that the ranges of its activations are from."""
    quantiser: str | None = None
    """The library that rounded the values: its version and its file."""
    importance_sha256: str | None = None
    """Hash of the file that said how strongly each input is used (llama.cpp's imatrix), where the types minded it."""
    adapter_base: str | None = None
    """Hash over the weights beneath an adapter: an adapter runs on the bases that have the same."""
    adapter_inputs: bool = False
    """Of a base: its graph has inputs for adapters; of an adapter: it needs such inputs. llama.cpp needs none."""
    inputs_sha256: str | None = None
    """Hash over everything it was made from: the same inputs need no second export."""


@dataclass(frozen=True)
class Artifact:
    """An exported folder, or one bare model file made elsewhere (``manifest`` is then None).

    Attributes:
        path: the folder or file.
        manifest: what it is.
        beneath: of an adapter, the base it runs on, once that is known.
    """

    path: Path
    manifest: ArtifactManifest | None
    beneath: Artifact | None = None

    @property
    def is_adapter(self) -> bool:
        """Whether it needs a base to run on."""
        return self.manifest is not None and self.manifest.weights == "adapter"

    @property
    def is_base(self) -> bool:
        """Whether it is a model that nobody tuned."""
        return self.manifest is not None and self.manifest.weights == "base"

    @property
    def sha256(self) -> dict[str, str]:
        """Hashes of everything that runs: also of the base beneath an adapter."""
        own = dict(self.manifest.sha256) if self.manifest else {self.path.name: files.sha256_file(self.path)}
        return own | (
            {f"{BENEATH}{name}": digest for name, digest in self.beneath.sha256.items()} if self.beneath else {}
        )

    @property
    def size_bytes(self) -> int:
        """Of everything that runs: also of the base beneath an adapter."""
        own = self.manifest.size_bytes if self.manifest else self.path.stat().st_size
        return own + (self.beneath.size_bytes if self.beneath else 0)

    @property
    def main_file(self) -> Path:
        """The file that the runtime opens."""
        return self.path / self.manifest.main_file if self.manifest else self.path

    @property
    def name(self) -> str:
        """Name for people and for evaluation files."""
        return self.manifest.name if self.manifest else self.path.stem

    @property
    def runtime(self) -> str:
        """Name of the runtime plug-in that runs it."""
        return self.manifest.runtime if self.manifest else "llama.cpp"


def open_artifact(path: Path, *, check_hashes: bool = False) -> Artifact:
    """Open an artifact folder, its manifest, its main file, or a bare ``.gguf`` file.

    Args:
        path: the folder or file.
        check_hashes: also compare every file with the manifest's sha256 (reads them whole).

    Raises:
        ArtifactError: not an artifact, a file is missing, of another size, or differs from the manifest.
    """
    artifact = read_artifact(path)
    if artifact.manifest is not None:
        _check_files(artifact.path, artifact.manifest, check_hashes)
    return artifact


def require_whole(artifact: Artifact) -> None:
    """Check every file of an artifact, and of the base beneath an adapter, by its hash.

    Raises:
        ArtifactError: a file is missing, or not what the manifest says.
    """
    for one in (artifact, artifact.beneath):
        if one is not None:
            open_artifact(one.path, check_hashes=True)


def read_artifact(path: Path) -> Artifact:
    """As :func:`open_artifact`, whatever the state of the files that the manifest lists.

    Raises:
        ArtifactError: not an artifact, or its manifest is damaged.
    """
    folder = path if path.is_dir() else path.parent
    manifest_file = folder / MANIFEST
    if not path.exists():
        raise ArtifactError(f"no such artifact: {path}", hint="edgetune export RUN writes one")
    if not manifest_file.is_file():
        if path.is_file() and path.suffix == ".gguf":
            return Artifact(path, None)
        raise ArtifactError(f"{path} is not an artifact: no {MANIFEST}", hint="give an export folder or a .gguf file")
    what = "an artifact manifest"
    manifest = read_stored(manifest_file, ArtifactManifest, what, hint="export again", error=ArtifactError)
    if path.is_file() and path.name not in (MANIFEST, manifest.main_file):
        return Artifact(path, None)
    return Artifact(folder, manifest)


def write_manifest(folder: Path, manifest: ArtifactManifest) -> Artifact:
    """Store the manifest in an artifact folder."""
    write_stored(folder / MANIFEST, manifest)
    return Artifact(folder, manifest)


def is_artifact(path: Path) -> bool:
    """Whether ``path`` looks like an artifact folder or a .gguf file."""
    if path.is_file():
        return path.suffix == ".gguf"
    return (path / MANIFEST).is_file() and b'"edgetune-artifact"' in (path / MANIFEST).read_bytes()


def _check_files(folder: Path, manifest: ArtifactManifest, check_hashes: bool) -> None:
    problems = []
    for name, digest in manifest.sha256.items():
        file = folder / name
        if not file.is_file():
            problems.append(f"{name}: missing")
        elif check_hashes and files.sha256_file(file) != digest:
            problems.append(f"{name}: changed since it was exported")
    if not problems:
        size = sum((folder / name).stat().st_size for name in manifest.sha256)
        if size != manifest.size_bytes:
            problems.append(f"{size} bytes where the manifest says {manifest.size_bytes}: truncated or changed")
    if problems:
        raise ArtifactError(f"{folder} is damaged", hint="export again, or copy it again", problems=problems)
