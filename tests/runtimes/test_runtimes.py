"""Finding runtimes, the fake one, and the device side's independence of torch."""

import math
import subprocess
import sys

import numpy as np
import pytest

from edgetune.artifact import Artifact
from edgetune.errors import ArtifactError
from edgetune.runtimes import open_runtime, runtime_names
from edgetune.runtimes.fake import FakeRuntime
from edgetune.runtimes.protocol import Decoding

WITHOUT_TORCH = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "peft", "datasets", "accelerate", "bitsandbytes"}:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)
sys.meta_path.insert(0, Blocker())
from edgetune.assistant import load
with load(sys.argv[1], threads=1, max_new_tokens=8) as assistant:
    print(len(assistant.chat("hello")) > 0)
    print("".join(assistant.stream([{"role": "user", "content": "hello"}])) == assistant.chat("hello"))
"""


def test_the_built_in_runtime_uses_the_public_door():
    assert "llama.cpp" in runtime_names()


def test_an_unknown_runtime_lists_those_installed(tiny_gguf, monkeypatch):
    monkeypatch.setattr(Artifact, "runtime", property(lambda self: "quantum"))
    with pytest.raises(ArtifactError, match="no runtime 'quantum'") as caught:
        open_runtime(tiny_gguf)
    assert "llama.cpp" in caught.value.hint


def test_the_device_side_runs_without_torch(tiny_gguf):
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tiny_gguf)], capture_output=True, text=True, check=False, timeout=600
    )
    assert result.stderr == ""
    assert result.stdout.split() == ["True", "True"]


def ask(runtime, text):
    return runtime.tokenizer.encode(runtime.tokenizer.render([{"role": "user", "content": text}]))


def test_the_fake_answers_from_its_script():
    runtime = FakeRuntime({"Hi": "Hello!", "é": "ñ"}, default="?")
    rows = [ask(runtime, text) for text in ("Hi", "é", "else")]
    counts = []
    answers = runtime.generate(rows, Decoding(), counts.append)
    assert [answer.text for answer in answers] == ["Hello!", "ñ", "?"]
    assert counts == [1, 2, 3]
    assert tuple(runtime.stream(rows[0], Decoding())) == answers[0].tokens
    short = runtime.generate(rows[:1], Decoding(max_new_tokens=3))[0]
    assert (short.text, short.finish) == ("Hel", "length")
    stopped = runtime.generate(rows[:1], Decoding(extra_stop_ids=(ord("l"),)))[0]
    assert (stopped.text, stopped.finish) == ("He", "stop")
    assert runtime.generate([ask(FakeRuntime(str.upper), "abc")], Decoding())[0].text == "?"
    assert FakeRuntime(str.upper).generate([ask(runtime, "abc")], Decoding())[0].text == "ABC"


def test_the_fakes_loss_is_known():
    logits = FakeRuntime({}, confidence=2.0).logits([1, 2, 3])
    loss = np.log(np.exp(logits[0]).sum()) - logits[0, 2]
    assert loss == pytest.approx(math.log(math.e**2 + 257) - 2, abs=1e-5)
