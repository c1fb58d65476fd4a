"""Comparisons of methods made without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgetune.bench.environment import environment
from edgetune.bench.schema import Figure
from edgetune.evaluation.compare import Difference
from edgetune.evaluation.metrics import Score
from edgetune.evaluation.record import Answer, Basis, Evaluation
from edgetune.general.figures import BITS_PER_BYTE, TOGETHER
from edgetune.methods.pairing import all_pairs
from edgetune.methods.record import Budget, Device, LeftOut, MethodsComparison, Rate, Training

ROWS = 100
PEAKS = {"full": 900e6, "frozen": 700e6, "head-only": 500e6, "lora": 600e6, "dora": 640e6}
SIZES = {"lora": 4_000_000, "dora": 4_100_000}


def evaluation(right: int, rows: int = ROWS, data: str = "d") -> Evaluation:
    """``right`` of ``rows`` rows right: the first ones."""
    answers = tuple(
        Answer(row=row, correct=row < right, ratios={"accuracy": (float(row < right), 1.0)}) for row in range(rows)
    )
    return Evaluation(
        subject="tuned",
        basis=Basis(
            weights_sha256="w",
            data_sha256=data,
            rows=tuple(range(rows)),
            runtime="torch",
            metrics=("accuracy",),
            max_new_tokens=0,
            system=None,
            edgetune="0",
        ),
        created="2026-01-01T00:00:00+00:00",
        seconds={},
        scores=(),
        answers=answers,
    )


#: Half of the interval over the passages of the text.
PASSAGES = 0.002


def training(method: str, seed: int, right: int, *, share: float = 1.0, bits: float | None = None) -> Training:
    """One training that got ``right`` rows right, and forgot so many bits for a byte."""
    forgot: tuple[Difference, ...] = ()
    if bits:
        plain = Difference(BITS_PER_BYTE, 1.0, 1.0 + bits, bits - PASSAGES, bits + PASSAGES)
        forgot = (plain, Difference(TOGETHER, 0.6, 0.5, 0, 0))
    value = right / ROWS
    return Training(
        method=method,
        seed=seed,
        share=share,
        rows=round(1000 * share),
        folder=f"x-{method}-{seed}",
        settings={},
        steps=10,
        examples=320,
        seconds=30.0 + seed,
        trainable_parameters=1234,
        peak_rss=int(PEAKS[method]),
        energy_reason="no readable RAPL counter below /sys/class/powercap",
        result_bytes=SIZES.get(method, 90_000_000),
        heldout_sha256="d",
        scores=(Score("accuracy", value, value - 0.1, value + 0.1, ROWS, "share of rows that got their own class"),),
        forgot=forgot,
    )


def comparison(
    rights: Mapping[str, Sequence[int]], bits: Mapping[str, float] | None = None, more: Sequence[Training] = ()
) -> MethodsComparison:
    """Method → right rows of each seed; and what each method forgets."""
    known = bits or {}
    trainings = [
        training(method, seed, right, bits=known[method] + 0.001 * seed if method in known else None)
        for method, each in rights.items()
        for seed, right in enumerate(each)
    ]
    evaluations = {name: {seed: evaluation(right) for seed, right in enumerate(each)} for name, each in rights.items()}
    latency = Figure(name="latency", unit="ms", definition="of one text", median=2.5, interval=(2.4, 2.6), samples=9)
    return MethodsComparison(
        edgetune="0",
        created="2026-01-01T00:00:00+00:00",
        name="tickets",
        recipe={},
        base_origin="",
        base_bytes=88_000_000,
        metric="accuracy",
        metric_definition="share of rows that got their own class",
        lower_is_better=False,
        budget=Budget(minutes=0.5),
        seeds=tuple(range(max(len(each) for each in rights.values()))),
        margin=0.01,
        rates=tuple(Rate(method=name, value=1e-4, why="as given") for name in rights),
        left_out=(LeftOut(method="qlora", reason="a classifier takes none"),),
        trainings=(*trainings, *more),
        pairs=all_pairs(evaluations, "accuracy"),
        general_reason=None if known else "an encoder has no such thing",
        devices=tuple(
            Device(
                method=name,
                seed=0,
                format="onnx",
                precision="int8",
                runtime="onnxruntime",
                size_bytes=23_000_000,
                figures=(latency,),
            )
            for name in rights
        ),
        environment=environment(""),
    )
