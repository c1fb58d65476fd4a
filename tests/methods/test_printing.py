"""Tables, charts and formats."""

from __future__ import annotations

import csv
import json

import pytest
from comparisons import comparison, training

from edgetune.errors import EdgetuneError
from edgetune.evaluation.compare import Difference
from edgetune.evaluation.metrics import Score
from edgetune.methods.printing import PRINTERS, write_charts
from edgetune.methods.record import Apart, MethodsComparison
from edgetune.methods.sections import lines, sections

RIGHTS = {"full": [80, 81, 82], "lora": [79, 80, 81]}
BITS = {"full": 0.2, "lora": 0.02}


def cells(found, table):
    (one,) = (each for section in sections(found) for each in section.tables if each.id == table)
    return {row[0].text: dict(zip((c.name for c in one.columns[1:]), row[1:], strict=True)) for row in one.rows}


def test_the_table_has_every_figure_of_the_chapter():
    found = cells(comparison(RIGHTS, bits=BITS), "methods")
    assert found["trained (parameters)"]["full"].text == "1,234"
    assert found["peak memory (MB)"]["lora"].value == 600
    assert found["training (s)"]["full"].value == 31
    assert found["energy (J)"]["full"].reason == "not readable here"
    assert found["left by training (MB)"]["lora"].value == 4
    assert found["accuracy"]["full"].text.startswith("0.810 [0.785, 0.835]")
    assert found["plain text (bits a byte more)"]["full"].value == pytest.approx(0.201)
    assert found["questions (change)"]["lora"].value == pytest.approx(-0.1)
    assert found["exported (MB)"]["lora"].value == 23
    assert found["exported: latency (ms)"]["lora"].text == "2.50 [2.40, 2.60]"
    assert found["exported: accuracy (change)"]["lora"].reason == "not measured"
    assert found["in 1 GB, trained"]["lora"].value == 228
    assert set(found) == {line.heading for line in lines(comparison(RIGHTS, bits=BITS))}


def test_what_exporting_changed():
    found = comparison(RIGHTS)
    shifted = [
        one.model_copy(update={"shift": Difference("accuracy", 0.8, 0.79, -0.03, 0.01)}) for one in found.devices
    ]
    table = cells(found.model_copy(update={"devices": tuple(shifted)}), "methods")
    assert table["exported: accuracy (change)"]["full"].text == "-0.010 [-0.030, +0.010]"
    (notes,) = (section.notes for section in sections(found) if section.notes)
    assert "exported as onnx int8, merged: there an adapter costs nothing, and saves nothing either." in notes
    assert not any("kept apart" in note for note in notes)
    bare = cells(found.model_copy(update={"devices": (), "device_reason": "not asked for"}), "methods")
    assert bare["exported: accuracy (change)"]["full"].reason == "not asked for"


def test_what_an_adapter_kept_apart_lacks_is_said():
    found = comparison(RIGHTS)
    full, lora = found.devices
    parted = lora.model_copy(update={"apart": Apart(base_bytes=1, adapter_bytes=1, missing=0.125)})
    (notes,) = (
        section.notes for section in sections(found.model_copy(update={"devices": (full, parted)})) if section.notes
    )
    assert "in 1 GB, exported: adapters of lora kept apart on one base, not asked or timed so." in notes
    assert any(note.endswith("up to 0.12 of a weight's change is missing.") for note in notes)
    without = found.model_copy(update={"devices": ()})
    assert not any("merged" in note for section in sections(without) for note in section.notes)


def test_what_has_no_forgetting_says_why():
    found = comparison(RIGHTS)
    assert cells(found, "methods")["questions (change)"]["full"].reason == "an encoder has no such thing"
    (notes,) = (section.notes for section in sections(found) if section.notes)
    assert any(note.startswith("qlora was not trained: ") for note in notes)
    assert "energy: no readable RAPL counter below /sys/class/powercap." in notes


def test_rows_that_grow_have_a_section_of_their_own():
    more = [training(method, seed, 60 + seed, share=0.25) for method in RIGHTS for seed in range(3)]
    found = cells(comparison(RIGHTS, more=more), "capacity")
    assert found["lora"]["250 rows, 1.3 passes"].value == pytest.approx(0.61)
    assert found["full"]["1000 rows, 0.32 passes"].value == pytest.approx(0.81)


def test_every_format_says_the_same(tmp_path):
    found = comparison(RIGHTS, bits=BITS)
    text, markdown = PRINTERS["text"](found), PRINTERS["md"](found)
    assert "peak memory (MB)" in text
    assert "| peak memory \\(MB\\) |" in markdown or "| peak memory (MB) |" in markdown
    rows = list(csv.DictReader(PRINTERS["csv"](found).splitlines()))
    assert {row["value"] for row in rows if (row["row"], row["column"]) == ("peak memory (MB)", "lora")} == {"600.0"}
    assert MethodsComparison.model_validate(json.loads(PRINTERS["json"](found))) == found


def test_charts_are_drawn(tmp_path):
    more = [training(method, seed, 60, share=0.25) for method in RIGHTS for seed in range(3)]
    write_charts(comparison(RIGHTS, bits=BITS, more=more), tmp_path)
    names = sorted(path.name for path in (tmp_path / "charts").glob("*.png"))
    assert names == ["methods-forgetting.png", "methods-memory.png", "methods-rows.png"]


def test_a_damaged_record_is_told(tmp_path):
    (tmp_path / "methods.json").write_text("{}")
    with pytest.raises(EdgetuneError, match="is not a comparison of methods"):
        MethodsComparison.read(tmp_path / "methods.json")
    with pytest.raises(EdgetuneError, match="cannot read"):
        MethodsComparison.read(tmp_path / "other.json")


def test_what_the_most_frequent_class_gets_stands_beside_the_methods():
    found = comparison(RIGHTS)
    floor = Score("accuracy", 0.4, 0.31, 0.5, 100, "share of rows")
    (notes,) = (section.notes for section in sections(found.model_copy(update={"floor": floor})) if section.notes)
    assert notes[0].startswith("accuracy to be beaten: 0.400 [0.310, 0.500], the most frequent class")
    (without,) = (section.notes for section in sections(found) if section.notes)
    assert not any("to be beaten" in note for note in without)


def test_a_noisy_benchmark_is_said():
    found = comparison(RIGHTS)
    full, lora = found.devices
    (latency,) = lora.figures
    noisy = lora.model_copy(update={"figures": (latency.model_copy(update={"mad": 0.5}),)})
    (notes,) = (
        section.notes for section in sections(found.model_copy(update={"devices": (full, noisy)})) if section.notes
    )
    assert "noisy in the benchmark, so hardly to be told apart: latency of lora." in notes
    (without,) = (section.notes for section in sections(found) if section.notes)
    assert not any("noisy" in note for note in without)
