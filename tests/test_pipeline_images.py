"""`edgetune run` of an image classifier, from pictures to a report, and its use from a shell and an application."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tinyimages import picture, write_base, write_recipe

import edgetune
from edgetune.cli import main
from edgetune.errors import DataError
from edgetune.pipeline import run_recipe
from edgetune.report.building import build


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("pipeline")
    exports = [{"format": "onnx", "quant": ["fp32", "int8_static"]}]
    resolved = write_recipe(
        place / "recipe", write_base(place / "base"), exports=exports, bench={"prompts": 2, "threads": 1}
    )
    return run_recipe(resolved, place / "run")


@pytest.fixture
def red(tmp_path):
    picture(301).save(tmp_path / "red.png")
    return str(tmp_path / "red.png")


def test_every_artifact_has_its_evidence(whole):
    assert whole.unverified == ()
    for shipped in whole.shipped:
        assert shipped.evaluation.score("accuracy").value == 1.0
        assert shipped.bench.figure("latency").median > 0
        assert shipped.bench.figure("batch_rate").median > 0
    assert "images/s" in whole.to_text()
    assert whole.report.is_file()


def test_losses_and_speeds_of_its_training_are_of_images(whole):
    training = next(one for one in build(whole.run.folder).sections if one.id == "training")
    assert "images/s" in training.lead
    assert "nats per image" in training.lead
    assert "token" not in training.model_dump_json(exclude={"tables"})
    speeds = next(chart.table for chart in training.charts if chart.id == "training-rate")
    assert all(row[2].value > 0 for row in speeds.rows)


def test_its_checks_are_defined_as_of_classes(whole):
    verification = next(one for one in build(whole.run.folder).sections if one.id == "verification")
    said = {one.word: one.text for one in verification.definitions}
    assert set(said) >= {"inputs", "distributions", "task"}
    assert "token distributions" not in said["distributions"]
    assert "task metric" not in said["task"]


def test_the_summary_ends_with_a_command_that_works(whole, capsys):
    words = whole.to_text().splitlines()[-1].split()
    assert words[1] == "classify"
    assert Path(words[3]).is_file()
    assert main(["classify", *words[2:]]) == 0
    assert capsys.readouterr().out.split("\t")[0] in ("red", "blue")


def test_images_are_classified_by_path(whole, red, capsys):
    assert main(["classify", str(whole.run.folder), red, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["image"], found["label"]) == (red, "red")
    assert sum(found["scores"].values()) == pytest.approx(1.0)


def test_an_application_gives_paths_bytes_pictures_and_frames(whole, red):
    frame = np.asarray(Image.open(red))
    with edgetune.load(whole.shipped[0].artifact.path) as classifier:
        assert classifier.labels == ("blue", "red")
        for given in (red, Path(red), Path(red).read_bytes(), Image.open(red), frame):
            assert classifier.classify(given).label == "red"
        assert [one.label for one in classifier.classify([red, picture(300)])] == ["red", "blue"]


def test_what_cannot_be_opened_is_told_without_a_traceback(whole, red, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no image")
    folder = str(whole.shipped[0].artifact.path)
    assert main(["classify", folder, str(tmp_path / "gone.png")]) == 4
    assert "no such image" in capsys.readouterr().err
    assert main(["classify", folder, red, str(tmp_path / "text.png"), str(tmp_path / "gone.png")]) == 4
    said = capsys.readouterr()
    assert said.out.split("\t")[0] == "red", "the others have their answers"
    assert "2 of 3 cannot be classified" in said.err
    assert "text.png is not an image" in said.err
    with edgetune.load(folder) as classifier, pytest.raises(DataError, match="NoneType, not an image"):
        classifier.classify(None)


def test_the_device_side_needs_no_torch(whole, red):
    code = f"""
import sys
for name in ("torch", "transformers", "datasets", "onnx", "tokenizers"):
    sys.modules[name] = None
import edgetune
with edgetune.load({str(whole.shipped[1].artifact.path)!r}) as classifier:
    print(classifier.classify({red!r}).label)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "red", done.stderr


def test_without_pillow_the_extra_is_named(whole, red):
    code = f"""
import sys
sys.modules["PIL"] = None
from edgetune.cli import main
sys.exit(main(["classify", {str(whole.run.folder)!r}, {red!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 11, done.stderr
    assert "pip install 'edgetune[images]'" in done.stderr


def test_a_path_that_is_not_utf8_is_told_and_spoils_nothing(whole, red, monkeypatch, capsys):
    content = red.encode() + b"\n/nowhere/\xff.png\n\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    assert main(["classify", str(whole.run.folder), "--json"]) == 4
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["label"] == "red"
    assert second["image"] == "/nowhere/\udcff.png", "as JSON escapes it"
    assert "no such image" in second["error"]


def test_pictures_that_were_trained_on_are_told_by_their_content(whole, tmp_path, capsys):
    recipe = whole.run.folder.parent / "recipe"
    moved = shutil.copytree(recipe / "train", tmp_path / "elsewhere")
    assert main(["eval", str(whole.run.folder), "--data", str(moved), "--no-base"]) == 0
    assert f"of the 48 rows of {moved}, 48 were trained on" in capsys.readouterr().out
    assert main(["eval", str(whole.run.folder), "--data", str(recipe / "heldout"), "--no-base"]) == 0
    assert "were trained on" not in capsys.readouterr().out


def test_checking_pictures_beforehand(whole, tmp_path, capsys):
    train = whole.run.folder.parent / "recipe" / "train"
    assert main(["data", "check", str(train), "--format", "images"]) == 0
    assert "48" in capsys.readouterr().out
    (train / "red" / "broken.png").write_text("x")
    try:
        assert main(["data", "check", str(train), "--format", "images"]) == 4
        assert "broken.png" in capsys.readouterr().err
    finally:
        (train / "red" / "broken.png").unlink()
