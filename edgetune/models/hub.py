"""Models on the Hugging Face hub: only safetensors, JSON, tokenizer files and the licence are fetched."""

from __future__ import annotations

import re
from pathlib import Path

from edgetune import extras, files
from edgetune.errors import ModelError

#: What is fetched. Pickled weights and Python files never are.
WANTED = (
    "*.safetensors",
    "*.json",
    "*.jinja",
    "tokenizer.model",
    "*.tiktoken",
    "merges.txt",
    "vocab.txt",
    "README.md",
    "LICENSE*",
)
CODE = ("*.py",)
#: Second copies of the weights for other programs: in subfolders, or in Mistral's own layout.
UNWANTED = ("*/*", "consolidated*.safetensors")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_hub_id(source: str) -> bool:
    """Whether ``source`` could be a hub id: ``name`` or ``owner/name``."""
    return bool(_HUB_ID.fullmatch(source)) and ".." not in source


def download(source: str, revision: str | None, *, with_code: bool) -> Path:
    """The folder of a hub model in the local hub cache, fetched first where needed.

    huggingface_hub resumes interrupted files, and a file appears under its name only when it is whole;
    without a network the cached revision serves.

    Raises:
        ModelError: not found, gated, unreachable, or only partly downloaded; each with what to do.
        ResourceError: the disk is full or may not be written.
    """
    hub = extras.require("huggingface_hub", extra="train", needed_for="a model from the hub")
    errors = extras.require("huggingface_hub.errors", extra="train", needed_for="a model from the hub")
    constants = extras.require("huggingface_hub.constants", extra="train", needed_for="a model from the hub")
    name = f"{source}@{revision}" if revision else source
    try:
        with files.disk_errors(Path(constants.HF_HUB_CACHE)):
            folder = hub.snapshot_download(
                source,
                revision=revision,
                allow_patterns=[*WANTED, *(CODE if with_code else ())],
                ignore_patterns=list(UNWANTED),
                etag_timeout=10,
            )
    except errors.GatedRepoError as error:
        raise ModelError(
            f"the hub model {name} is gated", hint=f"accept its licence at its hub page ({source}), then: hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{source} has no revision '{revision}'", hint="check model.revision") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"no model '{source}' on the hub, and no such file or folder here",
            hint="check the spelling; for a private model: hf auth login; a local path starts with ./ or /",
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise ModelError(
            f"the hub cannot be reached, and {name} is not in the local cache ({_cause(error)})",
            hint="connect once, or give a local folder, a .gguf file, or pkg:PACKAGE/FILE as model.source",
        ) from error
    except errors.HFValidationError as error:
        raise ModelError(f"'{source}' is not a hub id: {_cause(error)}", hint="a hub id is OWNER/NAME") from error
    except (errors.HfHubHTTPError, errors.HTTPError, OSError) as error:
        raise ModelError(
            f"the download of {name} broke off: {_cause(error)}",
            hint="run the same command again; it goes on where it stopped",
        ) from error
    return Path(folder)


def _cause(error: BaseException) -> str:
    inner: BaseException = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    return str(inner).strip().split("\n", maxsplit=1)[0].rstrip(".") or type(inner).__name__
