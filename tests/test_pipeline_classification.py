"""`edgetune run` of a classifier, from rows to a report, with a tiny model through the real exporter and runtime."""

from __future__ import annotations

import io
import json
import shutil

import pytest
import torch
from tinyclassifier import write_base, write_recipe

import edgetune
from edgetune.cli import main
from edgetune.errors import DataError, EdgetuneError
from edgetune.pipeline import run_recipe
from edgetune.report.building import build


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("pipeline")
    exports = [{"format": "onnx", "quant": ["fp32", "int8"]}]
    bench = {"prompts": 2, "threads": 1}
    resolved = write_recipe(place / "recipe", write_base(place / "base"), exports=exports, bench=bench)
    return run_recipe(resolved, place / "run")


def test_every_artifact_has_its_evidence(whole):
    assert [one.artifact.manifest.precision for one in whole.shipped] == ["fp32", "int8"]
    assert whole.unverified == ()
    for shipped in whole.shipped:
        assert shipped.evaluation.n == 24
        assert shipped.bench.figure("latency").median > 0
    assert whole.base.score("accuracy").value == 0.5
    assert whole.report.is_file()


def test_its_training_counts_texts(whole):
    assert "texts/s" in whole.to_text()
    training = next(one for one in build(whole.run.folder).sections if one.id == "training")
    assert "nats per text" in training.lead
    assert {one.word for one in training.definitions} == {"training loss", "evaluation loss", "texts/s"}


def test_the_summary_ends_with_a_command_that_works(whole, capsys):
    text = whole.to_text()
    assert "accuracy" in text
    assert "latency" in text
    words = text.splitlines()[-1].split()
    assert words[1] == "classify"
    assert main(["classify", words[2], "a lovely film"]) == 0
    assert capsys.readouterr().out.startswith("positive\t")


def test_a_run_is_classified_with_its_largest_export(whole, capsys):
    assert main(["classify", str(whole.run.folder), "awful"]) == 0
    assert capsys.readouterr().out.startswith("negative\t")
    with edgetune.load(whole.shipped[1].artifact.path) as classifier:
        assert classifier.classify("a great story").label == "positive"


def test_eval_shows_the_baseline_and_the_exports(whole, capsys):
    assert main(["eval", str(whole.run.folder), "--artifacts"]) == 0
    out = capsys.readouterr().out
    assert "macro_f1" in out
    assert "most frequent class" in out


@pytest.mark.parametrize("words", [["merge"], ["export", "--auto", "--format", "onnx"], ["bench", "--torch"]])
def test_what_is_for_generation_says_so(whole, words, capsys):
    assert main([words[0], str(whole.run.folder), *words[1:]]) == EdgetuneError.exit_code
    assert "for models that generate" in capsys.readouterr().err


def test_fit_and_chat_say_what_it_is(whole, capsys):
    for command in ("fit", "chat"):
        assert (
            main([command, str(whole.shipped[0].artifact.path), *(["--prompt", "x"] if command == "chat" else [])]) == 8
        )
        assert "is for text-classification" in capsys.readouterr().err


def test_eval_on_rows_that_were_trained_on_says_so(whole, tmp_path, capsys):
    seen = whole.run.train_file.read_text().splitlines()[:3]
    rows = tmp_path / "mixed.jsonl"
    rows.write_text("\n".join([*seen, json.dumps({"text": "a film nobody saw", "label": "positive"})]) + "\n")
    assert main(["eval", str(whole.run.folder), "--data", str(rows), "--no-base"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"of the 4 rows of {rows}, 3 were trained on, so figures" in said
    assert f"(such as {rows}:1)" in said


def test_eval_tells_rows_that_were_trained_on_otherwise(whole, tmp_path, capsys):
    first = json.loads(whole.run.train_file.read_text().splitlines()[0])
    other = {"positive": "negative", "negative": "positive"}[first["label"]]
    rows = tmp_path / "turned.jsonl"
    rows.write_text(json.dumps(first | {"label": other}) + "\n")
    assert main(["eval", str(whole.run.folder), "--data", str(rows), "--no-base"]) == 0
    assert "1 were trained on with another answer or class" in capsys.readouterr().out


def test_eval_goes_without_the_training_rows(whole, tmp_path, capsys):
    run = shutil.copytree(whole.run.folder, tmp_path / "run")
    (run / "data" / "train.jsonl").unlink()
    rows = tmp_path / "new.jsonl"
    rows.write_text(json.dumps({"text": "a film nobody saw", "label": "positive"}) + "\n")
    assert main(["eval", str(run), "--data", str(rows), "--no-base"]) == 0
    said = capsys.readouterr().out
    assert "accuracy" in said
    assert "were trained on is not known: no such data file" in said


def lines(monkeypatch, content):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_nothing_to_classify_is_wrong_usage(whole, monkeypatch, capsys):
    lines(monkeypatch, b"")
    assert main(["classify", str(whole.run.folder)]) == 2
    assert "nothing to classify" in capsys.readouterr().err
    assert main(["classify", str(whole.run.folder), ""]) == 4
    assert "the text is empty" in capsys.readouterr().err


def test_each_line_of_standard_input_has_its_answer_or_is_named(whole, monkeypatch, capsys):
    lines(monkeypatch, b"awful\r\n\na \xff film\na lovely film\n")
    assert main(["classify", str(whole.run.folder), "--json", "-"]) == 4
    said = capsys.readouterr()
    found = [json.loads(line) for line in said.out.splitlines()]
    assert [one.get("label") for one in found] == ["negative", None, None, "positive"]
    assert (found[1]["error"], found[2]["error"]) == (
        "the text is empty: there is nothing to tell",
        "the text is not UTF-8",
    )
    assert "input 3: the text is not UTF-8" in said.err


def test_an_empty_text_spoils_no_other(whole, capsys):
    assert main(["classify", str(whole.run.folder), "awful", " ", "a lovely film", ""]) == 4
    said = capsys.readouterr()
    assert [line.split("\t")[0] for line in said.out.splitlines()] == ["negative", "positive"]
    assert "2 of 4 cannot be classified" in said.err
    assert "input 2: the text is empty" in said.err
    assert "input 4: the text is empty" in said.err


def test_an_application_that_gives_no_text_is_told(whole):
    with edgetune.load(whole.shipped[0].artifact.path) as classifier, pytest.raises(DataError, match="int, not text"):
        classifier.classify(5)


def test_names_of_classes_changed_in_one_place_are_refused(whole, tmp_path, capsys):
    """The label map is part of what the model says: swapped, every answer is wrong and looks right."""
    folder = shutil.copytree(whole.shipped[0].artifact.path, tmp_path / "copy")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["labels"] = manifest["labels"][::-1]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["classify", str(folder), "a lovely film"]) == 8
    assert "its manifest calls the classes positive, negative; its graph negative, positive" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"0": "positive", "1": "negative"}, "negative, positive; config.json positive, negative"),
        (["positive"], "cannot be read"),
        ({"first": "positive"}, "cannot be read"),
    ],
)
def test_other_names_in_the_configuration_are_refused(whole, tmp_path, capsys, names, said):
    folder = shutil.copytree(whole.shipped[0].artifact.path, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": names}))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["size_bytes"] = sum((folder / name).stat().st_size for name in manifest["sha256"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["classify", str(folder), "a lovely film"]) == 8
    assert said in capsys.readouterr().err
