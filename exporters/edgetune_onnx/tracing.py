"""What torch's exporter is given of a classifier: a module of plain tensors, examples of its inputs, what may vary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetune import files
from edgetune.exporters import TunedModel
from edgetune.images.preprocessing import read_preprocessing
from edgetune.runtimes.onnx_classifier import open_tokenizer

if TYPE_CHECKING:
    import torch


#: Tokens of the texts that are traced.
_EXAMPLE = 9


@dataclass(frozen=True)
class Traced:
    """What is traced.

    Attributes:
        module: takes the examples, returns (rows, classes).
        examples: input → a batch of two: what is 1, or always full, the tracer takes for a constant.
        axes: input → number of an axis → what may vary along it.
    """

    module: torch.nn.Module
    examples: dict[str, torch.Tensor]
    axes: dict[str, dict[int, Any]]


def traced(model: TunedModel, tuned: torch.nn.Module) -> Traced:
    """A trained classifier as it is traced."""
    return _images(model, tuned) if model.task == "image-classification" else _texts(model, tuned)


def _texts(model: TunedModel, tuned: torch.nn.Module) -> Traced:
    """Any batch and length, with padding."""
    import torch

    class Logits(torch.nn.Module):
        """Plain tensors in, a plain tensor out."""

        def __init__(self) -> None:
            super().__init__()
            self.model = tuned

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    ids = torch.ones(2, _EXAMPLE, dtype=torch.long)
    mask = torch.ones(2, _EXAMPLE, dtype=torch.long)
    mask[1, 5:] = 0
    longest = max(model.max_tokens, _EXAMPLE)  # what is longer than max_tokens is cut before it gets here
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=longest)}
    return Traced(Logits(), {"input_ids": ids, "attention_mask": mask}, {"input_ids": axes, "attention_mask": axes})


def _images(model: TunedModel, tuned: torch.nn.Module) -> Traced:
    """Any batch of pictures of one size."""
    import torch

    class Logits(torch.nn.Module):
        """A plain tensor in, another out."""

        def __init__(self) -> None:
            super().__init__()
            self.model = tuned

        def forward(self, pixel_values: torch.Tensor) -> Any:
            return self.model(pixel_values=pixel_values).logits

    height, width = read_preprocessing(model.tokenizer_folder).size
    example = {"pixel_values": torch.zeros(2, 3, height, width)}
    return Traced(Logits(), example, {"pixel_values": {0: torch.export.Dim("batch")}})


#: Training rows behind the ranges of static eight bits: their largest and smallest activations hardly move beyond.
CALIBRATION_ROWS = 128


def calibration_batches(model: TunedModel, rows: Path) -> Iterator[dict[str, NDArray[Any]]]:
    """Training rows, spread evenly over the file, one at a time: padding would be measured with them."""
    lines = [json.loads(line) for line in files.read_lines(rows)]
    few = min(CALIBRATION_ROWS, len(lines))
    chosen = [lines[index * len(lines) // few] for index in range(few)]
    if model.task == "image-classification":
        preprocessing = read_preprocessing(model.tokenizer_folder)
        for row in chosen:
            yield {"pixel_values": preprocessing.pixels(rows.parent / row["image"])[None]}
        return
    tokenizer = open_tokenizer(model.tokenizer_folder / "tokenizer.json", model.max_tokens)
    for row in chosen:
        ids = np.asarray([tokenizer.encode(row["text"]).ids], np.int64)
        yield {"input_ids": ids, "attention_mask": np.ones_like(ids)}
