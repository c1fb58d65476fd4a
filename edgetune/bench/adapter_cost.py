"""What an adapter kept apart costs in every token: measured in a few seconds, beside the base without it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edgetune import console
from edgetune.artifact import Artifact
from edgetune.bench.statistics import NOISY, median
from edgetune.exporters import find_exporter
from edgetune.exporting_parts import adapter_writer
from edgetune.runtimes import adapters_of, open_runtime
from edgetune.runtimes.pairing import bases_beside, on_base
from edgetune.runtimes.protocol import Runtime

#: Tokens of a prompt, and tokens decoded after it, in a round.
PROMPT, TOKENS = 32, 24
#: Rounds of each: at least three, and no more once so many seconds are spent.
FEWEST, MOST, SECONDS = 3, 9, 6.0
#: A larger base is not copied to be measured without its places.
CHEAP_BYTES = 1_000_000_000
ON, OFF, PLAIN = "with it", "with it off", "without places for adapters, as a merged model runs"
_TEXT = "Adapters change what a model says and not how fast it says it, if that is what they cost. "


@dataclass(frozen=True)
class AdapterCost:
    """Decode rates of one base, in tokens a second: 1 / mean gap between tokens, one for each round.

    Attributes:
        base: name of the base.
        threads: in use.
        rates: what was on → a rate for each round.
    """

    base: str
    threads: int
    rates: Mapping[str, Sequence[float]]

    @property
    def text(self) -> str:
        """The definition, and median with lowest and highest round of each."""
        found = [f"{_rate(median(r))} t/s ({_rate(min(r))} to {_rate(max(r))}) {n}" for n, r in self.rates.items()]
        rounds = len(next(iter(self.rates.values())))
        text = (
            f"cost of the adapter on {self.base}: decode {'; '.join(found)}\n"
            f"  1 / mean gap between {TOKENS} tokens after {PROMPT}, {self.threads} threads; median of {rounds} "
            "interleaved rounds, lowest to highest"
        )
        spread = max((max(r) - min(r)) / median(r) for r in self.rates.values())
        return text + (f"\n  warning: the rounds differ by up to {spread:.0%}" if spread >= NOISY else "")


def tell_costs(artifacts: Sequence[Artifact]) -> None:
    """Measure each adapter among artifacts whose base is among them or beside it, and say what it costs."""
    bases = [artifact for artifact in artifacts if artifact.is_base]
    adapters = [artifact for artifact in artifacts if artifact.is_adapter]
    for one in adapters:
        if bases or bases_beside(one):
            console.note(measure(on_base(one, next(iter(bases), None))).text)


def measure(adapter: Artifact, *, threads: int | None = None) -> AdapterCost:
    """Decode with an adapter, with it off, and with a base that could take none, in turn.

    Args:
        adapter: with its base.
        threads: default: the physical cores this process may use.

    Raises:
        ArtifactError: base or adapter cannot be run.
    """
    assert adapter.beneath is not None, "on_base found one"
    with _opened(adapter, threads) as (runtime, plain):
        switch = adapters_of(runtime).use_adapter
        switch(name := adapters_of(runtime).adapters[0])
        rounds: dict[str, Callable[[], float]] = {
            ON: lambda: _round(runtime, lambda: switch(name)),
            OFF: lambda: _round(runtime, lambda: switch(None)),
        }
        if plain is not None:
            rounds[PLAIN] = lambda: _round(plain, plain.reset)
        return AdapterCost(adapter.beneath.name, getattr(runtime, "threads", 0), _interleaved(rounds))


@contextmanager
def _opened(adapter: Artifact, threads: int | None) -> Iterator[tuple[Runtime, Runtime | None]]:
    """The adapter on its base, and the base without places if it has any."""
    assert adapter.beneath is not None, "on_base found one"
    assert adapter.manifest is not None, "adapters have one"
    with TemporaryDirectory() as folder:
        bare = adapter.beneath
        if adapter.manifest.adapter_inputs and adapter.beneath.main_file.stat().st_size < CHEAP_BYTES:
            writer = adapter_writer(find_exporter(adapter.manifest.format))
            bare = writer.without_places(adapter.beneath, Path(folder) / "plain")
        runtimes = [open_runtime(adapter, threads=threads)]
        try:
            if bare is not adapter.beneath:
                runtimes.append(open_runtime(bare, threads=threads))
            yield runtimes[0], runtimes[1] if len(runtimes) > 1 else None
        finally:
            for runtime in runtimes:
                runtime.close()


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _interleaved(rounds: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Rates of each, in turn; the first round warms up and is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in rounds}
    with console.progress("Measuring the adapter's cost", MOST + 1, "rounds") as bar:
        for run in rounds.values():
            run()
        bar.advance()
        start = time.monotonic()
        for count in range(MOST):
            if count >= FEWEST and time.monotonic() - start > SECONDS:
                break
            for name, run in rounds.items():
                rates[name].append(run())
            bar.advance()
    return rates


def _round(runtime: Runtime, prepare: Callable[[], None]) -> float:
    """Tokens a second over one round; the tokens are given, so that every round decodes the same."""
    prepare()
    found = runtime.tokenizer.encode(_TEXT)
    tokens = (found * (1 + (PROMPT + TOKENS) // len(found)))[: PROMPT + TOKENS]
    runtime.logits(tokens[:PROMPT], PROMPT - 1)
    start = time.monotonic()
    for end in range(PROMPT + 1, PROMPT + TOKENS + 1):
        runtime.logits(tokens[:end], end - 1)
    return TOKENS / (time.monotonic() - start)
