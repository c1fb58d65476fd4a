"""The forms that a trained adapter can take, opened for evaluation in float32 torch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edgetune import console, files
from edgetune.adapters.merged_folder import stored_types, unties
from edgetune.adapters.merging import HEAD, MergedWeights
from edgetune.evaluation.evaluate import Subject
from edgetune.evaluation.subjects import Opening, torch_subject, tuned_opening
from edgetune.exporters import TunedModel
from edgetune.models.weights import as_stored
from edgetune.run import Run, TrainedAgainst

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def unmerged_opening(run: Run) -> Opening:
    """The adapter as it was trained: PEFT computes it beside the weights it was trained against."""
    return _opening(run, "unmerged", partial(_open_unmerged, run))


def merged_opening(run: Run, model: TunedModel, weights: MergedWeights, into: TrainedAgainst) -> Opening:
    """The model merged by edgetune, its weights rounded to the types they are written in.

    Args:
        run: trained.
        model: its result.
        weights: the same, merged.
        into: what.
    """
    return _opening(run, f"merged-{into}", partial(_open_merged, model, weights, f"merged-{into}"))


def _opening(run: Run, name: str, opener: partial[Subject]) -> Opening:
    tuned = tuned_opening(run)
    weights = files.sha256_text(f"{name} {tuned.weights_sha256}")
    return Opening(name, weights, "torch", opener, chat_template=tuned.chat_template)


def _open_unmerged(run: Run) -> Subject:
    from edgetune.runtimes.torch_runtime import open_torch
    from edgetune.training.devices import choose_device

    device = choose_device("auto")
    runtime = open_torch(run, device=device.value, merge=False)
    return torch_subject("unmerged", runtime, (f"ran on {device}",))


def _open_merged(model: TunedModel, weights: MergedWeights, name: str) -> Subject:
    from edgetune.models import load_model, load_tokenizer
    from edgetune.runtimes.torch_runtime import TorchRuntime
    from edgetune.training.devices import choose_device

    device = choose_device("auto")
    merged = load_model(model.base_folder, dtype="float32")
    put_weights(merged, weights)
    tokenizer = load_tokenizer(model.tokenizer_folder)
    runtime = TorchRuntime(merged.to(device.value), tokenizer, system=model.system)  # type: ignore[arg-type]
    return torch_subject(name, runtime, (f"ran on {device}",))


def put_weights(model: PreTrainedModel, weights: MergedWeights) -> None:
    """Give a loaded base the weights that the merged folder would hold, in place.

    Args:
        model: the base, float32 on the CPU.
        weights: the merged model.
    """
    import torch

    types, split = stored_types(weights), unties(weights)
    names = sorted(weights.changed | ({HEAD} if split else set()))
    model.config.tie_word_embeddings = bool(model.config.tie_word_embeddings) and not split
    with console.progress("Merging", total=len(names), unit="tensors") as bar:
        for name in names:
            module, _, part = name.rpartition(".")
            values = torch.from_numpy(as_stored(weights.read(name), types[name]))
            setattr(model.get_submodule(module), part, torch.nn.Parameter(values, requires_grad=False))
            bar.advance()
