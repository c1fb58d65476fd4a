"""What processes tell each other, one process at a time; ``test_launched.py`` has two."""

from __future__ import annotations

import pytest

from edgetune import console
from edgetune.errors import DataError, Interrupted, RecipeError, TrainingError
from edgetune.training import processes
from edgetune.training.processes import any_process, main_first, one_voice, reduced


@pytest.fixture(autouse=True)
def _no_launcher_to_outlive(monkeypatch):
    """What a process does that ends silently would also make this one deaf to Ctrl-C."""
    monkeypatch.setattr(processes, "_outlive_the_teller", lambda: None)


def test_only_the_main_process_talks(capsys):
    for main in (True, False):
        with one_voice(main=main):
            console.note("hello")
    assert capsys.readouterr().err == "hello\n"
    with pytest.raises(SystemExit) as left, one_voice(main=False):
        raise Interrupted("stopped")
    assert left.value.code == 130
    with pytest.raises(RecipeError), one_voice(main=False):
        raise RecipeError("only I know")


def test_who_loses_the_others_says_so_once():
    lost = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:9")
    with pytest.raises(TrainingError, match="another process of this training has ended"), one_voice(main=True):
        raise lost
    with pytest.raises(SystemExit) as left, one_voice(main=False):
        raise lost
    assert left.value.code == TrainingError.exit_code
    with pytest.raises(RuntimeError, match="something else"), one_voice(main=False):
        raise RuntimeError("something else")


def test_the_others_leave_with_the_main_process(monkeypatch):
    told = []
    monkeypatch.setattr(processes, "reduced", lambda values, _: told.append(values[0]) or [4.0])
    with pytest.raises(SystemExit) as left, main_first():
        pass
    assert left.value.code == 4
    for error, code in ((DataError("bad"), 4), (KeyboardInterrupt(), 130), (ZeroDivisionError(), 1)):
        with pytest.raises(type(error)), main_first():
            raise error
        assert told[-1] == code


def test_without_a_launcher_everything_is_told(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    assert not processes.told_by_another("an error")
    assert not processes.told_by_another("an error")


def test_without_the_launchers_store_everything_is_told(monkeypatch):
    environment = {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "STORE_SECONDS", 0.1)
    assert not processes.told_by_another("an error")


def test_alone_there_is_nobody_to_ask():
    assert reduced([1.0, 2.0], "sum") == [1.0, 2.0]
    assert any_process(True)
    assert not any_process(False)
