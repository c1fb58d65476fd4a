"""Any failure becomes one message with a next step, and an exit code."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgetune import errors
from edgetune.cli import edgetune, main


@pytest.fixture
def failing():
    """Add a command `boom` that raises what it is given."""

    def add(error: BaseException) -> None:
        def boom() -> None:
            raise error

        edgetune.add_command(click.Command("boom", callback=boom))

    yield add
    del edgetune.commands["boom"]


def error_classes():
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EdgetuneError)]


def test_error_is_printed_with_problems_and_hint(failing, capsys):
    failing(errors.DataError("rows.jsonl cannot be used", hint="edgetune data check rows.jsonl", problems=["a", "b"]))

    assert main(["boom"]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "error: rows.jsonl cannot be used",
        "  a",
        "  b",
        "hint: edgetune data check rows.jsonl",
    ]


def test_thousands_of_problems_are_counted_not_printed(failing, capsys):
    failing(errors.DataError("rows.jsonl cannot be used", problems=[f"row {i}" for i in range(5000)]))

    assert main(["boom"]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[100:] == ["  row 99", "  and 4900 more"]


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_exit_code_is_that_of_the_class(failing, capsys, kind):
    failing(kind("train", "training") if kind is errors.MissingExtra else kind("it failed"))
    assert main(["boom"]) == kind.exit_code
    assert capsys.readouterr().err.startswith("error: ")


def test_exit_codes_differ():
    codes = [kind.exit_code for kind in error_classes() if "exit_code" in vars(kind)]  # the others have their parent's
    assert len(set(codes)) == len(codes)
    assert [kind for kind in error_classes() if kind.exit_code == 2] == [errors.WrongUsage], "as click's own"


def test_tree_in_the_docstring_is_the_tree():
    drawn = dict(re.findall(r"^[\s│]+(?:[├└]── )?(\w+)\s+(\d+) ", errors.__doc__ or "", re.MULTILINE))
    assert drawn == {kind.__name__: str(kind.exit_code) for kind in error_classes()}


def test_missing_extra_says_what_installs_it(failing, capsys):
    failing(errors.MissingExtra("gguf", "running a GGUF file"))
    main(["boom"])
    assert "hint: pip install 'edgetune[gguf]'" in capsys.readouterr().err


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
        ),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=["python", "torch-cuda", "torch-cpu", "kernel"],
)
def test_out_of_memory(failing, capsys, error):
    failing(error)
    assert main(["boom"]) == errors.ResourceError.exit_code
    err = capsys.readouterr().err
    assert err.startswith("error: not enough memory")
    assert "--micro-batch-size" in err


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS])
def test_disk_and_permission_errors_name_the_file(failing, capsys, code):
    failing(OSError(code, os.strerror(code), "/some/where"))
    assert main(["boom"]) == errors.ResourceError.exit_code
    err = capsys.readouterr().err
    assert "/some/where" in err
    assert "hint: " in err


def test_ctrl_c(failing, capsys):
    failing(KeyboardInterrupt())
    assert main(["boom"]) == 130
    assert capsys.readouterr().err.strip() == "error: interrupted"


def test_unforeseen_error_is_a_bug_with_a_saved_traceback(failing, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(ZeroDivisionError("division by zero"))

    assert main(["boom"]) == 1
    err = capsys.readouterr().err
    assert err.splitlines()[0] == "error: a bug in edgetune: ZeroDivisionError: division by zero"
    assert "Traceback" not in err
    (saved,) = tmp_path.iterdir()
    assert str(saved) in err
    assert "in boom" in saved.read_text()


def test_bug_report_survives_a_full_disk(failing, capsys, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    failing(ZeroDivisionError("division by zero"))
    assert main(["boom"]) == 1
    assert "edgetune --debug" in capsys.readouterr().err


def test_bug_report_holds_no_variables(failing, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    token = "hf_" + "x" * 30
    failing(ValueError("no"))
    monkeypatch.setenv("HF_TOKEN", token)
    main(["boom"])
    (saved,) = tmp_path.iterdir()
    assert token not in saved.read_text()


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_debug_shows_the_traceback(failing, capsys, monkeypatch, how):
    failing(errors.ModelError("no such model"))
    if how == "variable":
        monkeypatch.setenv("EDGETUNE_DEBUG", "1")
    assert main(["--debug", "boom"] if how == "flag" else ["boom"]) == 5
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert "error: no such model" in err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["nope"], "No such command 'nope'"),
        (["trian"], "No such command 'trian'"),
        (["train", "--no-such-option"], "'--no-such-option'"),
        (["run"], "Missing argument 'RECIPE'"),
        (["train"], "give a RECIPE"),
        (["train", "x.yaml", "--rank"], "'--rank' requires an argument"),
        (["train", "x.yaml", "--rank", "0"], "'--rank': input should be greater than or equal to 1 (got '0')"),
        (["train", "x.yaml", "--method", "loora"], "'--method': input should be 'lora'"),
        (["train", "x.yaml", "--epochs", "many"], "'--epochs': input should be a valid number"),
        (["train", "x.yaml", "--warmup-share", "1.5"], "'--warmup-share': input should be less than 1"),
        (["train", "x.yaml", "--metrics", "bleu"], "'--metrics': input should be 'exact_match'"),
        (["train", "x.yaml", "--seed", "-1"], "'--seed': input should be greater than or equal to 0"),
        (["train", "x.yaml", "--epochs", "none"], "'--epochs': input should be a valid number"),
        (["train", "x.yaml", "--target-modules", "auto", "--target-modules", "q"], "'auto' cannot be combined"),
        (["train", "x.yaml", "--resume", "runs/x"], "--resume takes its recipe and settings from the run"),
        (["train", "--resume", "runs/x", "--rank", "4"], "--resume takes its recipe and settings from the run"),
    ],
)
def test_wrong_command_lines(capsys, argv, says):
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert says in err
    assert re.search(r"^hint: edgetune.* --help$", err, re.MULTILINE)


def test_no_arguments_show_the_help(capsys):
    code = main([])
    out, err = capsys.readouterr()
    assert code in (0, 2)
    assert "Commands:" in out + err


def test_version(capsys):
    from edgetune import __version__

    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_a_closed_pipe_is_quiet():
    command = f"{sys.executable} -m edgetune recipe schema | head -c 10"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert len(done.stdout) == 10
    assert done.stderr == ""


def test_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "edgetune", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("edgetune")


def test_every_command_is_one_file_with_a_short_body():
    """Parse, call, print: fifteen lines at most."""
    import ast

    import edgetune.cli

    folder = Path(edgetune.cli.__file__).parent
    checked = 0
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any("command" in ast.unparse(d) for d in node.decorator_list):
                body = node.body[1:]  # without the docstring, which is the help
                assert body[-1].end_lineno - body[0].lineno < 15, f"{file.name}: {node.name} is too long"
                checked += 1
    assert checked > 5
