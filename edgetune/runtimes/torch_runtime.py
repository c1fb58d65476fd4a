"""The torch runtime: the reference that every exported artifact is compared with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetune.runtimes.fitting import longest_answer, require_fit
from edgetune.runtimes.protocol import Completion, Decoding, MemoryParts
from edgetune.runtimes.sampling import Sampler
from edgetune.runtimes.torch_raw import TorchLoop
from edgetune.runtimes.torch_tokenizer import TorchTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from edgetune.run import Run

#: Prompts answered side by side.
BATCH_ROWS = 32


class TorchRuntime:
    """Runs a transformers model where it lies. Does not own it: :meth:`close` only lets go.

    Args:
        model: on any device, in any type; put into evaluation mode while it answers.
        tokenizer: with its chat template.
        system: system prompt the model was trained with.

    Attributes:
        tokenizer: with the ids that end an answer.
        context_length: longest prompt plus answer, in tokens.
    """

    name = "torch"

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, system: str | None = None
    ) -> None:
        from edgetune.models import context_length, stop_ids

        self._model: Any = model
        ends = stop_ids(tokenizer, model.generation_config or model.config)
        self.tokenizer = TorchTokenizer(tokenizer, frozenset(ends))
        self.context_length = context_length(model.config)
        self.system = system

    @property
    def model(self) -> PreTrainedModel:
        """The model itself, for losses that torch computes faster than through :meth:`logits`."""
        model: PreTrainedModel = self._model
        return model

    def logits(self, tokens: Sequence[int], start: int = 0) -> NDArray[np.float32]:
        """Next-token logits at every position from ``start`` on: shape (len(tokens) - start, vocabulary)."""
        import torch

        require_fit(tokens, self.context_length, room=0)
        wanted = len(tokens) - start
        only = (
            {"logits_to_keep": wanted} if "logits_to_keep" in inspect.signature(self._model.forward).parameters else {}
        )
        ids = torch.tensor([list(tokens)], device=self._model.device)
        with self._inference():
            result = self._model(input_ids=ids, use_cache=False, **only)
        logits: NDArray[np.float32] = result.logits[0, -wanted:].float().cpu().numpy()
        return logits

    def stream(self, prompt: Sequence[int], decoding: Decoding) -> Iterator[int]:
        """Yield new tokens one by one, without the stop token."""
        from edgetune.runtimes.torch_batching import RowGroup

        require_fit(prompt, self.context_length)
        sampler = Sampler(decoding)
        with self._inference():
            group = RowGroup(self._model, [prompt])
            logits = group.logits()
        limit = longest_answer(prompt, decoding, self.context_length)
        for count in range(1, limit + 1):
            token = sampler.choose(logits[0])
            if self._stops(token, decoding):
                return
            yield token
            if count < limit:
                with self._inference():
                    logits = group.feed([token])

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Answer many prompts in padded batches of similar length; the order is kept."""
        for prompt in prompts:
            require_fit(prompt, self.context_length)
        # Longest first: a batch that does not fit memory fails at once, not at the end.
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        done: dict[int, Completion] = {}
        for start in range(0, len(order), BATCH_ROWS):
            for index, completion in self._answer(prompts, order[start : start + BATCH_ROWS], decoding):
                done[index] = completion
                if on_done:
                    on_done(len(done))
        return [done[index] for index in range(len(prompts))]

    def reset(self) -> None:
        """Nothing is kept between calls."""

    def close(self) -> None:
        """Let go of the model."""
        self._model = None

    def raw_loop(self, capacity: int) -> TorchLoop:
        """The model's own forward pass, token after token."""
        del capacity  # the cache grows
        return TorchLoop(self._model.eval())

    def memory_parts(self) -> MemoryParts:
        """The weights as they lie in memory; torch keeps no other part apart."""
        weights = [*self._model.parameters(), *self._model.buffers()]
        absent = dict.fromkeys(("kv", "compute"), "torch allocates it as it goes and keeps no account of it")
        return MemoryParts(sum(one.nbytes for one in {id(one): one for one in weights}.values()), None, None, absent)

    def _answer(
        self, prompts: Sequence[Sequence[int]], rows: Sequence[int], decoding: Decoding
    ) -> Iterator[tuple[int, Completion]]:
        """Answer one batch; a row leaves it as soon as its answer ends."""
        from edgetune.runtimes.torch_batching import RowGroup

        rows = list(rows)
        answers: dict[int, list[int]] = {index: [] for index in rows}
        samplers = {index: Sampler(decoding, index) for index in rows}
        with self._inference():
            group = RowGroup(self._model, [prompts[index] for index in rows])
            logits = group.logits()
        while rows:
            going: list[int] = []
            for place, index in enumerate(rows):
                token = samplers[index].choose(logits[place])
                stopped = self._stops(token, decoding)
                if not stopped:
                    answers[index].append(token)
                if stopped or len(answers[index]) >= longest_answer(prompts[index], decoding, self.context_length):
                    yield index, self._completion(answers[index], stopped)
                else:
                    going.append(place)
            rows = [rows[place] for place in going]
            if rows:
                with self._inference():
                    group.keep(going)
                    logits = group.feed([answers[index][-1] for index in rows])

    def _completion(self, tokens: Sequence[int], stopped: bool) -> Completion:
        return Completion(tuple(tokens), self.tokenizer.decode(tokens), "stop" if stopped else "length")

    def _stops(self, token: int, decoding: Decoding) -> bool:
        return token in self.tokenizer.stop_ids or token in decoding.extra_stop_ids

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """Evaluation mode without gradients; a model in training is put back."""
        import torch

        training = self._model.training
        if training:  # walking through all modules costs as much as a small layer
            self._model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            if training:
                self._model.train()


def open_torch(source: Run | Path, *, dtype: str = "float32", device: str = "cpu", merge: bool = True) -> TorchRuntime:
    """Load a run's result, or a model folder, as the reference.

    A run's adapter is added to exactly what it was trained against, by PEFT itself and in memory: an
    independent check of edgetune's own merge.

    Args:
        source: trained run, or model folder.
        dtype: of the weights.
        device: where they end up.
        merge: add the adapter to the weights; else PEFT computes it beside them, as in training.

    Raises:
        EdgetuneError: the run is not trained yet.
        ModelError: the model or adapter is damaged or does not fit.
        MissingExtra: the train extra is not installed.
    """
    from edgetune.adapters.tuned import quantised_from, trained_base
    from edgetune.adapters.unchanged import require_as_trained
    from edgetune.models import load_model, load_tokenizer
    from edgetune.run import is_run, open_run

    if isinstance(source, Path):
        if not is_run(source):
            return TorchRuntime(load_model(source, dtype=dtype, device=device), load_tokenizer(source))
        source = open_run(source)
    manifest = source.require_trained()
    require_as_trained(source)
    tokenizer = load_tokenizer(source.tokenizer_folder)
    system = source.recipe.task.system
    if manifest.trained_against is None:
        return TorchRuntime(load_model(source.model_folder, dtype=dtype, device=device), tokenizer, system=system)
    model = load_model(trained_base(source).folder, dtype=dtype, device=device)
    if manifest.trained_against == "nf4":
        _round_to_nf4(model, manifest.quantised_modules, quantised_from(manifest))
    return TorchRuntime(add_adapter(model, source.adapter_folder, merge=merge), tokenizer, system=system)


def _round_to_nf4(model: PreTrainedModel, modules: Sequence[str], quantised_from: str) -> None:
    """Replace the named linear layers' weights by what 4-bit training computed with."""
    import torch

    from edgetune.models.nf4 import nf4_as_trained
    from edgetune.runtimes.threads import allowed_cpus

    def round_one(name: str) -> None:
        weight = model.get_submodule(name).weight
        assert isinstance(weight, torch.Tensor)
        with torch.no_grad():  # it holds for the thread that says so
            weight.copy_(nf4_as_trained(weight, quantised_from))

    # bitsandbytes uses one processor for a layer, and layers are independent. A GPU takes them one after another.
    with ThreadPoolExecutor(min(8, len(allowed_cpus())) if model.device.type == "cpu" else 1) as pool:
        list(pool.map(round_one, modules))


def add_adapter(model: PreTrainedModel, folder: Path, *, merge: bool) -> PreTrainedModel:
    """Put an adapter on the model that it was trained on, by PEFT: into the weights, or beside them.

    Raises:
        ModelError: it does not fit.
    """
    from edgetune.adapters.tensors import list_tensors
    from edgetune.errors import ModelError
    from edgetune.memory import memory_errors
    from edgetune.models.peft_library import load_peft, renamed_names_allowed, show_shapes

    peft = load_peft("loading an adapter")
    list_tensors(folder)  # PEFT would look for missing weights on the hub
    try:
        with memory_errors(), renamed_names_allowed():
            tuned = peft.PeftModel.from_pretrained(model, str(folder), is_trainable=False)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        first = str(error).strip().split("\n", maxsplit=1)[0]
        raise ModelError(
            f"the adapter in {folder} does not fit its base: {first}",
            hint="the run folder is damaged, or its base was changed; train again",
        ) from error
    show_shapes(tuned)
    whole: PreTrainedModel = (tuned.merge_and_unload(safe_merge=True) if merge else tuned.get_base_model()).eval()
    return whole
