"""Types that work on blocks of 256: of a model as narrow as the others they fall back to something else."""

from __future__ import annotations

import pytest
from rowfiles import write_rows
from tinyruns import ROWS

from edgetune.exporting import Wanted, find_source, weighted
from edgetune.verification.verify import Verifier

#: Precision → a type that its file has.
TYPES = {
    "q2_k": "Q2_K",
    "q3_k_m": "Q3_K",
    "q4_k_m": "Q4_K",
    "q5_k_m": "Q5_K",
    "q6_k": "Q6_K",
    "iq4_xs": "IQ4_XS",
    "iq4_nl": "IQ4_NL",
}
#: Of a random network few bits leave too little to be held to.
LOSSY = {"distributions", "endings"}


@pytest.fixture
def wide(make_run):
    def make(seed, method):
        run = make_run(seed, method, hidden_size=256, intermediate_size=256, num_hidden_layers=1)
        write_rows(run.train_file, ROWS)
        return run

    return make


@pytest.mark.parametrize(("seed", "method"), enumerate(("lora", "qlora", "rslora")))
def test_no_false_alarm(wide, seed, method):
    run = wide(seed, method)
    verifier = Verifier(run, quick=True)
    for part in find_source(str(run.folder)).parts(Wanted("gguf", tuple(TYPES))):
        artifact = part.write()
        assert TYPES[part.precision] in artifact.manifest.tensor_types
        found = verifier.verify(artifact)
        assert {check.name for check in found.failed} <= LOSSY, found.failed


def test_no_false_alarm_with_an_imatrix(wide):
    run = wide(3, "qlora")
    source = find_source(str(run.folder))
    size = source.parts(Wanted("gguf", ("q5_k_m",)))[0].plan().size_bytes / 1e6
    verifier = Verifier(run, quick=True)
    asked = (f"mixed-{size:.3f}mb", "q2_k", "q4_k_m", "iq4_xs")
    for part in weighted(source, "gguf", "auto", quants=asked).parts(Wanted("gguf", asked)):
        artifact = part.write()
        assert artifact.manifest.importance_sha256
        found = verifier.verify(artifact)
        assert {check.name for check in found.failed} <= LOSSY, found.failed
