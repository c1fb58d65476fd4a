"""Loading models and tokenizers: complete or not at all, from files on this machine, without pickles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import extras
from edgetune.errors import EdgetuneError, ModelError
from edgetune.memory import is_out_of_memory
from edgetune.models.sentencepiece_tokenizer import build, read_model_file, settings_from
from edgetune.models.weights import tensor_shapes

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

#: transformers shows its progress bar for models of more values than this, which take seconds.
SHOW_BAR_ABOVE = 500_000_000
#: Missing or ill-shaped tensors named in one message before it says "and N more".
NAMED = 12


def load_config(folder: Path, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """A model's configuration.

    Raises:
        ModelError: config.json is missing, damaged, or of a model type that transformers does not know.
    """
    transformers = extras.require("transformers", extra="train", needed_for="loading a model")
    hint = "check config.json, or install a newer transformers if the model is newer than yours"
    with usable_settings(f"in {folder}", hint):
        config: PretrainedConfig = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    return config


@contextmanager
def usable_settings(where: str, hint: str) -> Iterator[None]:
    """Turn what transformers says to a model's settings into a :class:`ModelError`.

    Args:
        where: the settings are, in words.
        hint: what to do.
    """
    try:
        yield
    except (EdgetuneError, MemoryError):
        raise
    except Exception as error:  # a value of the wrong kind raises huggingface_hub's own class, or whatever it leads to
        raise ModelError(f"cannot read the model configuration {where}: {_first_line(error)}", hint=hint) from error


def load_model(
    folder: Path,
    *,
    dtype: str | torch.dtype,
    device: str = "cpu",
    attention: str = "sdpa",
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """A causal language model with all its weights, in evaluation mode.

    Args:
        folder: config.json and safetensors.
        dtype: ``float32``, ``bfloat16``, ``float16`` or a torch dtype.
        device: where it ends up.
        attention: transformers' name of an attention implementation. ``sdpa`` means the fused one where the
            architecture has it (Gemma 2's capped logits have none), else ``eager``.
        trust_remote_code: run Python code that lies in the folder.

    Raises:
        ModelError: a tensor is missing or has another shape than the configuration asks for, a file
            is damaged, or the architecture is unknown. transformers would only warn about the first two.
    """
    config = load_config(folder, trust_remote_code=trust_remote_code)
    model, info = read_weights(
        "AutoModelForCausalLM",
        folder,
        config,
        dtype=dtype,
        attn_implementation=None if attention == "sdpa" else attention,
        trust_remote_code=trust_remote_code,
    )
    require_complete(folder, info["missing_keys"], info)
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


def read_weights(kind: str, folder: Path, config: PretrainedConfig, **options: Any) -> tuple[Any, Mapping[str, Any]]:
    """A model with the weights of a folder, and what transformers says of those that do not fit.

    Args:
        kind: transformers' automatic class, such as ``AutoModelForCausalLM``.
        folder: config.json and safetensors.
        config: of the model.
        options: of ``from_pretrained``.

    Raises:
        ModelError: a file is damaged, or there is no such model.
    """
    transformers = extras.require("transformers", extra="train", needed_for="loading a model")
    stored = tensor_shapes(folder)  # names a truncated file before anything large is allocated
    large = sum(tensor.elements for tensor in stored.values()) > SHOW_BAR_ABOVE
    try:
        with _quiet(show_bar=large):
            model, info = getattr(transformers, kind).from_pretrained(
                folder,
                config=config,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # so that they are reported by name below
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if is_out_of_memory(error):  # not the model's fault: the command line says what helps
            raise
        raise ModelError(
            f"cannot load the model in {folder}: {_first_line(error)}", hint="check config.json against the weights"
        ) from error
    return model, info


def load_tokenizer(
    folder: Path, chat_template: Path | None = None, *, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """A tokenizer, exactly as its tokenizer.json says.

    transformers' class for a model type may rebuild parts of the file from memory (its own split
    pattern, its own space handling). Where there is a tokenizer.json it is therefore loaded as
    written, whatever class tokenizer_config.json names.

    Args:
        folder: tokenizer.json (or tokenizer.model), tokenizer_config.json, chat template.
        chat_template: a Jinja file that replaces the folder's own template.
        trust_remote_code: run Python code that lies in the folder.

    Raises:
        ModelError: no tokenizer there, it is damaged, or the template is not valid Jinja.
    """
    transformers = extras.require("transformers", extra="train", needed_for="loading a tokenizer")
    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        elif (folder / "tokenizer.model").is_file():
            tokenizer = _from_sentencepiece(folder)
        else:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=trust_remote_code
            )
    except ModelError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
        raise ModelError(
            f"cannot load the tokenizer in {folder}: {_first_line(error)}",
            hint="the folder needs tokenizer.json (or tokenizer.model) and tokenizer_config.json",
        ) from error
    if chat_template is not None:
        tokenizer.chat_template = _read_template(chat_template)
    loaded: PreTrainedTokenizerBase = tokenizer
    return loaded


def _from_sentencepiece(folder: Path) -> PreTrainedTokenizerBase:
    """A fast tokenizer from tokenizer.model alone; text begins with BOS, as such models expect."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    pieces = read_model_file(folder / "tokenizer.model")
    settings = settings_from(folder, pieces)
    backend = build(pieces)
    if "bos_token" in settings:
        token = settings["bos_token"]
        ids = [(token, list(pieces.tokens).index(token))]
        backend.post_processor = processors.TemplateProcessing(
            single=f"{token} $A", pair=f"{token} $A {token}:1 $B:1", special_tokens=ids
        )
    loaded: PreTrainedTokenizerBase = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, clean_up_tokenization_spaces=False, **settings
    )
    return loaded


def _read_template(path: Path) -> str:
    jinja2 = extras.require("jinja2", extra="gguf", needed_for="a chat template")
    try:
        text = path.read_text(encoding="utf-8")
        jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read the chat template {path}: {error}", hint="give a Jinja text file") from error
    except jinja2.TemplateSyntaxError as error:
        raise ModelError(
            f"{path}:{error.lineno}: not a valid Jinja template: {error.message}", hint="mend the template"
        ) from error
    return text


def require_complete(folder: Path, missing_keys: Iterable[str], info: Mapping[str, Any]) -> None:
    """Check that nothing of a model is left as it was drawn at random.

    Raises:
        ModelError: naming the tensors that are.
    """
    missing = [f"{name}: missing" for name in sorted(missing_keys)]
    wrong = [
        f"{name}: {tuple(stored)} in the file, {tuple(wanted)} by config.json"
        for name, stored, wanted in sorted(info["mismatched_keys"])
    ]
    problems = [*wrong, *missing, *map(str, info.get("error_msgs", ()))]
    if problems:
        more = [f"and {len(problems) - NAMED} more"] if len(problems) > NAMED else []
        raise ModelError(
            f"the weights in {folder} do not fit its config.json: {len(problems)} tensors missing or of another shape",
            hint="config.json and the weights must come from the same model; copy or download both again",
            problems=problems[:NAMED] + more,
        )


@contextmanager
def _quiet(*, show_bar: bool) -> Iterator[None]:
    """Silence transformers' table of missing tensors, reported here, and its bar where it would only flash up."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(50)  # critical only
    try:
        with nullcontext() if show_bar else without_bars():
            yield
    finally:
        logging.set_verbosity(level)


@contextmanager
def without_bars() -> Iterator[None]:
    """No bars of transformers' own: edgetune shows its own, and only on a terminal."""
    from transformers.utils import logging

    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if bar:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _first_line(error: BaseException) -> str:
    """The first line of an error, with the next where that is only announced."""
    first, _, rest = str(error).strip().partition("\n")
    if first.endswith(":") and rest:
        first = f"{first} {rest.strip().partition(chr(10))[0]}"
    return first.rstrip(".") or type(error).__name__
