"""The smallest precision within the limits ships; every other rung says why it does not."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from edgetune_gguf import GgufExporter

from edgetune.cli import main
from edgetune.errors import CheckFailed, DataError, ExportError, OutOfMemory
from edgetune.exporters import find_exporter
from edgetune.exporting import export, find_source
from edgetune.ladder import climbing
from edgetune.ladder.climbing import climb, limits_of, require_shipped
from edgetune.ladder.record import FILE, Ladder, Limits
from edgetune.ladder.text import to_text
from edgetune.verification.record import Check, Depth, Verification

PRECISIONS = ("q4_0", "q8_0", "f16")


@pytest.fixture
def run(make_run):
    return make_run()


class Verdicts:
    """Stands for the verifier: ``left`` of the task by precision, None where the verification fails.

    Of those ``undecided`` the rows cannot tell whether what ``check`` looks at is the trained model's.
    """

    def __init__(self, left, undecided=(), check="distributions"):
        self.left = left
        self.undecided = undecided
        self.check = check
        self.asked = []

    def __call__(self, run, *, quick=False, depth=None):
        self.quick, self.depth = quick, depth
        return self

    def verify(self, artifact, *, again):
        precision = artifact.manifest.precision
        self.asked.append(precision)
        left = self.left[precision]
        figures = {"retention": left, "low": left - 0.1, "high": left + 0.1} if left is not None else {}
        return Verification(
            artifact=artifact.name,
            sha256={},
            basis_sha256="",
            depth=Depth(rows=1, answers=1),
            precision_class="",
            reference="",
            checks=(
                Check(
                    name=self.check,
                    passed=None if precision in self.undecided else left is not None,
                    text="not judged: 3 rows" if precision in self.undecided else "",
                    figures={"kl_mean": 0.01},
                    limits={"kl_mean": 0.005},
                ),
                Check(name="task", passed=left is not None, text="", figures=figures),
            ),
            created="",
            seconds=0.0,
            edgetune="",
        )


def climbed(run, monkeypatch, left, **limits):
    verdicts = Verdicts(left)
    monkeypatch.setattr(climbing, "Verifier", verdicts)
    return climb(find_source(str(run.folder)), "gguf", PRECISIONS, Limits(**limits)), verdicts


def test_the_smallest_that_keeps_the_task_ships(run, monkeypatch):
    ladder, verdicts = climbed(run, monkeypatch, {"q4_0": 0.9, "q8_0": 0.99, "f16": 1.0})
    assert [(rung.name, rung.verdict) for rung in ladder.rungs] == [
        ("q4_0", "too little left"),
        ("q8_0", "ships"),
        ("f16", "not tried"),
    ]
    assert verdicts.asked == ["q4_0", "q4_0", "q8_0", "q8_0"], "quickly, and then on more rows"
    assert ladder.chosen == str(run.exports_folder / "q8_0")
    assert sorted(path.name for path in run.exports_folder.iterdir()) == ["q8_0"], "what does not ship goes"
    assert Ladder.model_validate_json((run.folder / FILE).read_bytes()) == ladder
    require_shipped(ladder)
    text = to_text(ladder)
    assert "too little left: 0.900 of the gain is left (KL 0.01, task [0.800, 1.000])" in text
    assert text.endswith(f"ships: {run.exports_folder / 'q8_0'}")
    sizes = [rung.size_bytes for rung in ladder.rungs]
    assert sizes == sorted(sizes)


def test_what_is_not_the_trained_model_is_not_asked_twice(run, monkeypatch):
    ladder, verdicts = climbed(run, monkeypatch, {"q4_0": None, "q8_0": 1.0, "f16": 1.0})
    assert ladder.rungs[0].verdict == "not verified"
    assert "distributions, task" in ladder.rungs[0].why
    assert verdicts.asked == ["q4_0", "q8_0", "q8_0"]


@pytest.mark.parametrize("check", ["distributions", "endings"])
def test_what_could_not_be_told_apart_does_not_ship(run, monkeypatch, check):
    verdicts = Verdicts({"q4_0": 1.0, "q8_0": 1.0, "f16": 1.0}, undecided=("q4_0",), check=check)
    monkeypatch.setattr(climbing, "Verifier", verdicts)
    ladder = climb(find_source(str(run.folder)), "gguf", PRECISIONS, Limits())
    assert [rung.verdict for rung in ladder.rungs] == ["not verified", "ships", "not tried"]
    assert ladder.rungs[0].why == f"{check} not judged: 3 rows"


@pytest.mark.parametrize("fault", [OutOfMemory("too many products", hint=""), DataError("no answers", hint="")])
def test_the_climb_goes_on_where_what_a_precision_needs_cannot_be_collected(run, monkeypatch, fault):
    def refuse(*_):
        raise fault

    monkeypatch.setattr("edgetune.importance.keeping.importance_of", refuse)
    monkeypatch.setattr(climbing, "Verifier", Verdicts({"int8": 1.0}))
    ladder = climb(find_source(str(run.folder)), "onnx", ("int8", "int4_gptq_b16"), Limits())
    assert [(rung.name, rung.verdict) for rung in ladder.rungs] == [
        ("int4_gptq_b16", "not written"),
        ("int8", "ships"),
    ]
    assert ladder.rungs[0].why == fault.message
    assert sorted(path.name for path in run.exports_folder.iterdir()) == ["int8"]


def test_what_has_the_tensors_of_one_that_failed_is_not_tried(run, monkeypatch):
    """The tiny model is too narrow for k-quants, so that several of them come down to the same types."""
    verdicts = Verdicts({"q2_k": 0.5, "q3_k_s": 0.5, "q8_0": 1.0})
    monkeypatch.setattr(climbing, "Verifier", verdicts)
    ladder = climb(find_source(str(run.folder)), "gguf", ("q2_k", "q3_k_s", "q8_0"), Limits())
    first, second, last = ladder.rungs  # from the smallest up; of one size, the better one first
    assert (second.verdict, second.why) == ("not tried", f"the same tensors as {first.name}")
    assert verdicts.asked == [*[first.name] * 2, "q8_0", "q8_0"]
    assert last.verdict == "ships"


def test_plans_say_what_decides_their_values(run):
    model = find_source(str(run.folder)).model
    two, three, eight = (find_exporter("gguf").plan(model, one).tensors_sha256 for one in ("q2_k", "q3_k_s", "q8_0"))
    assert two == three != eight
    assert find_exporter("onnx").plan(model, "int8").tensors_sha256 is None, "the algorithm has a part in them"


def test_too_large_is_not_even_written(run, monkeypatch):
    ladder, verdicts = climbed(run, monkeypatch, {"q4_0": 0.5, "q8_0": 1.0, "f16": 1.0}, max_bytes=1000)
    assert {rung.verdict for rung in ladder.rungs} == {"too large"}
    assert verdicts.asked == []
    assert ladder.chosen is None
    with pytest.raises(CheckFailed, match="no precision of gguf keeps to the limits"):
        require_shipped(ladder)
    assert to_text(ladder).endswith("nothing ships")


@pytest.mark.parametrize("off", [-2000, 2000])
def test_the_file_decides_where_the_prediction_cannot(run, monkeypatch, off):
    """A prediction that is off by no more than it says makes nothing ship that is too large, and nothing fail."""
    real = export(run, "gguf", "q4_0", run.folder.parent / "elsewhere").size_bytes
    plan = GgufExporter.plan

    def predicted(self, model, precision):
        return replace(plan(self, model, precision), size_bytes=real + off, unsure_bytes=2001)

    monkeypatch.setattr(GgufExporter, "plan", predicted)
    monkeypatch.setattr(climbing, "Verifier", Verdicts({"q4_0": 1.0}))
    for limit, verdict in ((real, "ships"), (real - 1, "too large")):
        (rung,) = climb(find_source(str(run.folder)), "gguf", ("q4_0",), Limits(max_bytes=limit)).rungs
        assert (rung.verdict, rung.size_bytes, rung.written) == (verdict, real, True)
        assert (run.exports_folder / "q4_0").exists() is (verdict == "ships")
        shutil.rmtree(run.exports_folder)


def test_plans_say_how_far_they_may_be_off(run, tmp_path):
    for kind, precision in (("gguf", "q4_0"), ("onnx", "int8")):
        plan = find_exporter(kind).plan(find_source(str(run.folder)).model, precision)
        real = export(run, kind, precision, tmp_path).size_bytes
        assert abs(real - plan.size_bytes) <= plan.unsure_bytes


def test_what_cannot_be_written_is_a_rung(run, monkeypatch, capsys):
    """Rows of 96 are three blocks of 32, and k_quant packs two at a time."""
    monkeypatch.setattr(climbing, "Verifier", Verdicts({"int8": 1.0}))
    ladder = climb(find_source(str(run.folder)), "onnx", ("int4", "int8"), Limits())
    refused, shipped = ladder.rungs
    assert (refused.name, refused.verdict, refused.size_bytes) == ("int4", "not written", None)
    assert "odd number of blocks" in refused.why
    assert shipped.verdict == "ships"
    assert "-  not written: " in to_text(ladder)
    words = ["export", str(run.folder), "--format", "onnx", "--auto", "--plan", "--quant", "int4", "--quant", "int8"]
    assert main(words) == 0
    assert "int4" in capsys.readouterr().err
    with pytest.raises(ExportError, match="odd number of blocks"):
        climb(find_source(str(run.folder)), "onnx", ("int4",), Limits())
    with pytest.raises(ExportError, match="int99"):
        climb(find_source(str(run.folder)), "onnx", ("int8", "int99"), Limits())


def test_too_slow_climbs_on(run, monkeypatch):
    ladder, _ = climbed(run, monkeypatch, {"q4_0": 1.0, "q8_0": 1.0, "f16": 1.0}, min_decode=1e9)
    assert {rung.verdict for rung in ladder.rungs} == {"too slow"}
    assert all(rung.decode > 0 for rung in ladder.rungs)
    assert not any(run.exports_folder.iterdir())


def test_what_was_there_before_stays(run, monkeypatch):
    export(run, "gguf", "q4_0")
    climbed(run, monkeypatch, {"q4_0": 0.1, "q8_0": 1.0, "f16": 1.0})
    assert sorted(path.name for path in run.exports_folder.iterdir()) == ["q4_0", "q8_0"]


def test_a_real_climb_ends_in_an_artifact(run):
    """A random adapter gains nothing, so the checks decide: four bits are too few for a network this small."""
    ladder = climb(find_source(str(run.folder)), "gguf", ("f16", "q8_0"), Limits(rows=4, min_retention=0))
    assert ladder.rungs[0].verdict == "ships"
    assert ladder.rungs[0].why == "the task was not judged, as asked for"
    assert (run.exports_folder / "q8_0/verify.json").is_file()


def test_a_task_without_a_gain_ships_nothing(run):
    ladder = climb(find_source(str(run.folder)), "gguf", ("f16", "q8_0"), Limits(rows=4))
    assert [rung.verdict for rung in ladder.rungs] == ["task not judged", "not tried"]
    assert "gained nothing" in ladder.rungs[0].why
    assert not any(run.exports_folder.iterdir())
    with pytest.raises(CheckFailed, match="gained nothing on the task") as caught:
        require_shipped(ladder)
    assert "--min-retention 0" in caught.value.hint


def test_ctrl_c_leaves_no_rung_behind(run, monkeypatch):
    class Stopped(Verdicts):
        def verify(self, artifact, *, again):
            raise KeyboardInterrupt

    monkeypatch.setattr(climbing, "Verifier", Stopped({}))
    with pytest.raises(KeyboardInterrupt):
        climb(find_source(str(run.folder)), "gguf", PRECISIONS, Limits())
    assert not any(run.exports_folder.iterdir())


@pytest.mark.parametrize("more", [["--adapter", "separate"], ["--with-base", "q8_0"], ["--no-verify"], ["--no-cost"]])
def test_what_a_climb_cannot_mind_is_refused(run, more, capsys):
    assert main(["export", str(run.folder), "--auto", *more]) == 2
    assert f"--auto cannot be used with {more[0]}" in capsys.readouterr().err
    assert not run.exports_folder.exists()


def test_a_plan_and_another_folder_are_minded(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(climbing, "Verifier", Verdicts({"q4_0": 0.98, "q8_0": 1.0}))
    words = [
        "export",
        str(run.folder),
        "--quant",
        "q8_0",
        "--quant",
        "q4_0",
        "--auto",
        "--output",
        str(tmp_path / "out"),
    ]
    assert main([*words, "--plan"]) == 0
    assert "tiny as q4_0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(words) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["q4_0"]
    assert not run.exports_folder.exists()


def test_only_a_run_can_climb(run):
    with pytest.raises(ExportError, match="--auto needs a run"):
        climb(find_source(run.recipe.model.source), "gguf", PRECISIONS, Limits())


def test_limits_come_from_the_command_line_then_the_recipe(run):
    source = find_source(str(run.folder))
    nothing = dict.fromkeys(("max_size", "min_decode", "min_retention", "rows"))
    assert limits_of(source, nothing) == Limits()
    given = {"max_size": 105.0, "min_decode": 50.0, "min_retention": 0.9, "rows": 10}
    assert limits_of(source, given) == Limits(max_bytes=105_000_000, min_decode=50.0, min_retention=0.9, rows=10)


def test_the_command(run, monkeypatch, capsys):
    monkeypatch.setattr(climbing, "Verifier", Verdicts({"q4_0": 0.98, "q8_0": 1.0}))
    words = ["export", str(run.folder), "--quant", "q8_0", "--quant", "q4_0"]
    assert main([*words, "--auto"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "q4_0" in lines[1]
    assert lines[-1].startswith("ships: ")
    assert main([*words, "--auto", "--min-retention", "1", "--max-size", "0.001"]) == 9
    assert "keeps to the limits" in capsys.readouterr().err
    assert main([*words, "--max-size", "5"]) == 2
    assert "need --auto" in capsys.readouterr().err
