"""What `edgetune bench` says of its words before it measures."""

import errno

import pytest
from benchreports import report
from tinyruns import write_artifact

from edgetune.bench import command as storing
from edgetune.bench.command import require_storable
from edgetune.cli import main
from edgetune.errors import ResourceError
from edgetune.realtime import command


@pytest.mark.parametrize(
    ("count", "output", "message"),
    [
        (1, "folder", "folder is a folder, and one report is stored as a file"),
        (2, "file.json", "file.json is a file, and reports cannot be stored in it"),
        (1, "file.json/a.json", "file.json is a file, and a report cannot be stored in it"),
        (2, "file.json/deep/er", "file.json is a file, and reports cannot be stored in it"),
    ],
)
def test_a_place_that_reports_do_not_fit_into(tmp_path, count, output, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.json").touch()
    with pytest.raises(ResourceError, match=message):
        require_storable(tmp_path / output, count)


@pytest.mark.parametrize(
    ("count", "output"), [(1, "file.json"), (1, "new/deep/a.json"), (2, "folder"), (2, "new"), (2, "new.json")]
)
def test_places_that_do(tmp_path, monkeypatch, count, output):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.json").touch()
    require_storable(tmp_path / output, count)
    require_storable(None, count)
    assert not list(tmp_path.glob("**/tmp*")), "nothing is left of the attempt"

    def refuse(*, dir):
        assert dir in (tmp_path, tmp_path / "folder")
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(storing.tempfile, "TemporaryFile", refuse)
    with pytest.raises(ResourceError, match=r"cannot write in .*: Read-only file system"):
        require_storable(tmp_path / output, count)


def test_it_is_said_before_anything_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "bench_subjects", lambda *_: pytest.fail("measured"))
    made = [str(write_artifact(tmp_path / name).path) for name in ("a", "b")]
    (tmp_path / "out.json").touch()
    assert main(["bench", *made, "--output", str(tmp_path / "out.json")]) == 10
    assert "is a file, and reports cannot be stored in it" in capsys.readouterr().err


def test_what_was_measured_is_printed_where_it_cannot_be_stored(monkeypatch, capsys, tmp_path):
    def fail(*_):
        raise ResourceError("cannot write x", hint="give another place with --output")

    monkeypatch.setattr("edgetune.realtime.command.bench_held", lambda *_: [report({"decode": [100, 101, 99]})])
    monkeypatch.setattr("edgetune.bench.command.store", fail)
    assert main(["bench", str(tmp_path), "--output", str(tmp_path / "x.json")]) == 10
    out, err = capsys.readouterr()
    assert "decode" in out
    assert "cannot write x" in err


@pytest.mark.parametrize("words", [["--decode-threads", "0"], ["--batch", "0"], ["--kv-type", "q9"]])
def test_values_that_nothing_can_have_are_wrong_usage(words, tmp_path, capsys):
    artifact = write_artifact(tmp_path / "a", name="tiny")
    assert main(["bench", str(artifact.path), *words]) == 2
    assert "error:" in capsys.readouterr().err
