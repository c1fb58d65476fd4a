"""`edgetune chat` and `edgetune bench` as a user types them."""

import io
import json

import pytest
from tinygguf import write_tiny_gguf

from edgetune import talk
from edgetune.assistant import Assistant, load
from edgetune.cli import main
from edgetune.runtimes.fake import FakeRuntime


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture
def typed(monkeypatch):
    def type_lines(*lines):
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(line + "\n" for line in lines)))

    return type_lines


def test_one_shot_answers_on_stdout_and_nothing_else(model_file, capfd, typed):
    arguments = ["--threads", "1", "--max-new-tokens", "8", "--system", "Be brief."]
    assert main(["chat", str(model_file), "--prompt", "hello", *arguments]) == 0
    out, err = capfd.readouterr()
    with load(model_file, threads=1, max_new_tokens=8, system="Be brief.") as assistant:
        assert out == assistant.chat("hello") + "\n"
    assert err == ""
    typed("hello")
    assert main(["chat", str(model_file), "--prompt", "-", *arguments]) == 0
    assert capfd.readouterr().out == out


def test_a_wrong_path_is_one_message(tmp_path, capfd):
    assert main(["chat", str(tmp_path / "none.gguf"), "--prompt", "x"]) == 8
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: no such artifact")
    assert "hint: " in err


def conversation(capfd, **options):
    """Talk to a fake that answers with what it was asked last and how much came before."""
    runtime = FakeRuntime(str.upper)
    seen = []
    original = runtime.tokenizer.render
    runtime.tokenizer.render = lambda messages: (seen.append(len(messages)), original(messages))[1]
    talk.talk(Assistant(runtime), **options)
    return capfd.readouterr(), seen


def test_a_conversation_remembers_until_reset(capfd, typed):
    typed("one", "", "two", "/reset", "three")
    (out, err), seen = conversation(capfd)
    assert out == "ONE\nTWO\nTHREE\n"
    assert seen == [1, 3, 1]
    assert "new conversation" in err


def test_without_history_each_line_stands_alone(capfd, typed):
    typed("one", "two", "/exit", "never")
    (out, _), seen = conversation(capfd, remember=False)
    assert out == "ONE\nTWO\n"
    assert seen == [1, 1]


class TwoAdapters:
    """An assistant that answers with its adapter and how much came before."""

    adapters = ("en", "es")
    adapter = "en"

    def use(self, name):
        self.adapter = name

    def stream(self, asked):
        yield f"{self.adapter} {len(asked)}"


def test_each_adapter_has_a_history_of_its_own(capfd, typed):
    typed("one", "two", "/adapter es", "three", "/adapter en", "four", "/reset", "five", "/adapter none", "six")
    talk.talk(TwoAdapters())
    assert capfd.readouterr().out.splitlines() == ["en 1", "en 3", "es 1", "en 5", "en 1", "None 1"]


def test_ctrl_c_ends_an_answer_not_the_conversation(capfd, typed):
    def interrupt_once(question):
        if question == "slow":
            raise KeyboardInterrupt
        return question

    typed("slow", "fast")
    talk.talk(Assistant(FakeRuntime(interrupt_once)))
    out, err = capfd.readouterr()
    assert out == "fast\n"
    assert "(stopped)" in err


def test_a_conversation_too_long_says_how_to_go_on(model_file, capfd, typed):
    typed("hello " * 100, "/reset", "x")
    with load(model_file, threads=1, context=64, max_new_tokens=2) as assistant:
        talk.talk(assistant)
    out, err = capfd.readouterr()
    assert "does not fit a context of 64" in err
    assert "hint: /reset" in err
    assert len(out.splitlines()) >= 1


def test_bench_prints_json_on_stdout_only(model_file, capfd, tmp_path):
    quick = ["--prompts", "1", "--new-tokens", "3", "--threads", "1", "--rounds", "1", "--depths", "0"]
    options = [*quick, "--output", str(tmp_path / "r.json")]
    assert main(["bench", str(model_file), "--json", *options]) == 0
    out, _ = capfd.readouterr()
    assert json.loads(out)["schema_version"] == 2
    assert json.loads((tmp_path / "r.json").read_text()) == json.loads(out)


def test_an_empty_prompt_is_no_question(tmp_path, capsys):
    from edgetune.cli import main

    assert main(["chat", str(tmp_path), "--prompt", " "]) == 2
    assert "--prompt is empty" in capsys.readouterr().err
