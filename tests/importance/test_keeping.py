"""A run's importance file: collected once, made again when what it rests on changes, and found by its hash."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml
from edgetune_gguf.imatrix import read_imatrix
from rowfiles import write_rows
from safetensors.torch import load_file, save_file
from tinyruns import ROWS

from edgetune import files
from edgetune.cli import main
from edgetune.errors import DataError, ExportError
from edgetune.exporting import Wanted, find_source, recipe_parts, weighted
from edgetune.importance import keeping
from edgetune.importance.keeping import adopt, general_text, importance_of, kept_importance
from edgetune.verification.verify import Verifier


@pytest.fixture
def run(make_run):
    made = make_run()
    write_rows(made.train_file, ROWS)
    return made


def test_it_is_collected_once(run, capsys, monkeypatch):
    file = importance_of(run, "gguf")
    found = read_imatrix(file)
    assert found.datasets == ("training rows", "Python's documentation (pydoc_data)")
    assert len(found.means) == 7 * 2
    monkeypatch.setattr(keeping, "_collect", lambda *_: pytest.fail("collected again"))
    assert importance_of(run, "gguf") == file
    assert "as collected before" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["weights", "rows", "text", "file"])
def test_it_is_collected_again_when_something_changed(run, tmp_path, change):
    text = tmp_path / "text.txt"
    text.write_text("Once upon a time. " * 200)
    file = importance_of(run, "gguf", text)
    before, digest = file.read_bytes(), files.sha256_file(file)
    if change == "weights":
        weights = run.adapter_folder / "adapter_model.safetensors"
        save_file({name: 3 * tensor for name, tensor in load_file(weights).items()}, weights)
    elif change == "rows":
        run.train_file.write_text(run.train_file.read_text().replace("?", "!") + run.train_file.read_text())
    elif change == "text":
        text.write_text("Another story begins here. " * 200)
    else:
        file.write_bytes(before[:-8] + bytes(8))
    again = importance_of(run, "gguf", text)
    assert (again.read_bytes() == before) == (change == "file")
    assert kept_importance(run, digest) == file, "what was rounded by it is verified by it"


def test_one_collected_later_is_no_alarm(run, tmp_path):
    """It is kept beside the older one, and what was rounded by that one stays verified and up to date."""
    text = tmp_path / "text.txt"
    text.write_text("Once upon a time. " * 200)
    (older,) = merged(weighted(find_source(str(run.folder)), "gguf", "auto"), "q4_0")
    artifact = older.write()
    (later,) = merged(weighted(find_source(str(run.folder)), "gguf", "auto", text), "q5_0")
    later.write()
    checks = {check.name: check for check in Verifier(run, quick=True).verify(artifact).checks}
    assert checks["metadata"].passed, checks["metadata"].problems
    written = artifact.main_file.stat().st_mtime_ns
    merged(weighted(find_source(str(run.folder)), "gguf", "auto"), "q4_0")[0].write()
    assert artifact.main_file.stat().st_mtime_ns == written


def test_the_rows_and_the_text_have_the_same_share(run, monkeypatch):
    seen = {}

    def collect(model, texts, names, **options):
        seen["lengths"] = [len(ids) for ids in texts]
        return real(model, texts, names, **options)

    real = keeping.collect
    monkeypatch.setattr(keeping, "collect", collect)
    monkeypatch.setattr(keeping, "TOKENS", 60)
    importance_of(run, "gguf")
    assert sum(length for length in seen["lengths"] if length < 256) >= 60
    assert 256 in seen["lengths"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("precision", ["q4_0", "q4_1", "q5_0", "iq4_nl", "q3_k_m"])
def test_what_searching_takes_away_is_no_alarm(make_run, seed, precision):
    run = make_run(seed, "qlora")
    write_rows(run.train_file, ROWS)
    (part,) = merged(weighted(find_source(str(run.folder)), "gguf", "auto"), precision)
    checks = {check.name: check for check in Verifier(run, quick=True).verify(part.write()).checks}
    assert checks["metadata"].passed, checks["metadata"].problems
    assert checks["weights"].passed, checks["weights"].problems


def test_a_layer_without_its_adapter_is_seen_all_the_same(run):
    source = weighted(find_source(str(run.folder)), "gguf", "auto")
    weights = run.adapter_folder / "adapter_model.safetensors"
    sound = load_file(weights)
    save_file({name: 0 * t if "layers.1.mlp.up_proj.lora_B" in name else t for name, t in sound.items()}, weights)
    artifact = merged(source, "q4_0")[0].write()
    save_file(sound, weights)
    checks = {check.name: check for check in Verifier(run, quick=True).verify(artifact).checks}
    assert not checks["weights"].passed
    assert any("blk.1.ffn_up.weight: holds" in problem for problem in checks["weights"].problems)


def test_an_artifact_that_minds_it_is_verified(run):
    source = weighted(find_source(str(run.folder)), "gguf", "auto")
    (part,) = merged(source, "q4_k_m")
    assert part.folder.name == "q4_k_m-imatrix"
    artifact = part.write()
    checks = {check.name: check for check in Verifier(run, quick=True).verify(artifact).checks}
    assert checks["metadata"].passed, checks["metadata"].problems
    assert checks["weights"].passed, checks["weights"].problems
    files_before = artifact.main_file.stat().st_mtime_ns
    part.write()
    assert artifact.main_file.stat().st_mtime_ns == files_before, "up to date"
    source.model.importance.unlink()
    checks = {check.name: check for check in Verifier(run, quick=True).verify(artifact).checks}
    assert checks["metadata"].passed is None, "nothing is known against it"
    assert "not in the run any more" in checks["metadata"].text


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_types_that_fit_a_size_are_verified(make_run, method):
    run = make_run(0, method)
    write_rows(run.train_file, ROWS)
    plain = weighted(find_source(str(run.folder)), "gguf", "auto")
    size = merged(plain, "q5_0")[0].plan().size_bytes
    source = weighted(find_source(str(run.folder)), "gguf", "auto", quants=("q4_0", "mixed-1mb"))
    assert source.model.importance != plain.model.importance, "what others were made with stays"
    (part,) = merged(source, f"mixed-{size / 1e6:.4f}mb")
    artifact = part.write()
    assert artifact.manifest.size_bytes <= round(size / 1e6, 4) * 1e6
    checks = {check.name: check for check in Verifier(run, quick=True).verify(artifact).checks}
    for name in ("file", "metadata", "weights", "prompts"):
        assert checks[name].passed, checks[name].problems


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_what_rounding_needs_is_collected_unasked_and_verified(make_run, method):
    run = make_run(0, method)
    write_rows(run.train_file, ROWS)
    source = find_source(str(run.folder))
    (part,) = source.parts(Wanted("onnx", ("int4_gptq_b16",)))
    part.plan()
    assert not run.importance_file("onnx-products.safetensors").is_file(), "a plan collects nothing"
    artifact = part.write()
    assert artifact.manifest.importance_sha256 == files.sha256_file(run.importance_file("onnx-products.safetensors"))
    checks = {check.name: check for check in Verifier(run, quick=True).verify(artifact).checks}
    for name in ("file", "metadata", "weights", "prompts"):
        assert checks[name].passed, checks[name].problems
    (plain,) = source.parts(Wanted("onnx", ("int4_b16",)))
    before = Verifier(run, quick=True).verify(plain.write())
    kl = {name: _kl(found) for name, found in (("gptq", checks), ("plain", {c.name: c for c in before.checks}))}
    assert kl["gptq"] < kl["plain"]


def _kl(checks):
    return checks["distributions"].figures["kl_mean"]


def test_what_nothing_reads_makes_no_other_artifact(run, capsys):
    source = find_source(str(run.folder))
    (plain,) = source.parts(Wanted("gguf", ("q4_0",)))
    plain.write()
    parts = source.parts(Wanted("gguf", ("q4_0", "mixed_1mb")))
    assert [part.folder.name for part in parts] == ["q4_0", "mixed_1mb-imatrix"]
    parts[0].write()
    assert "is up to date" in capsys.readouterr().err


def test_what_is_being_written_is_no_importance_file(run):
    file = importance_of(run, "gguf")
    (file.parent / ".half.gguf.edgetune-1").mkdir()
    assert run.importance_files == [file]
    assert kept_importance(run, files.sha256_file(file)) == file


def test_a_layer_without_its_adapter_is_seen_after_gptq(run):
    weights = run.adapter_folder / "adapter_model.safetensors"
    sound = load_file(weights)
    save_file({name: 0 * t if "layers.1.mlp.up_proj.lora_B" in name else t for name, t in sound.items()}, weights)
    artifact = find_source(str(run.folder)).parts(Wanted("onnx", ("int4_gptq_b16",)))[0].write()
    save_file(sound, weights)
    checks = {check.name: check for check in Verifier(run, quick=True).verify(artifact).checks}
    assert not checks["weights"].passed
    assert any("layers.1.mlp.up_proj.weight: holds" in problem for problem in checks["weights"].problems)


def test_a_recipe_can_ask_for_it(run):
    path = run.folder / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe["exports"] = [{"format": "gguf", "quant": ["q4_0", "q8_0"], "imatrix": True}]
    path.write_text(yaml.safe_dump(recipe))
    names = ["q4_0-imatrix", "q8_0"]
    assert [part.folder.name for part in recipe_parts(run)] == names
    assert [part.folder.name for part in find_source(str(run.folder)).parts(Wanted("gguf"))] == names


@pytest.mark.parametrize("more", [[], ["--auto"]])
@pytest.mark.parametrize(
    "asked", [["mixed-0.09mb"], ["q4_0", "--imatrix", "auto"], ["mixed-0.09mb", "--imatrix", "auto"]]
)
def test_a_plan_collects_nothing(run, monkeypatch, capsys, asked, more):
    monkeypatch.setattr(keeping, "_collect", lambda *_: pytest.fail("collected"))
    assert main(["export", str(run.folder), "--plan", "--json", "--quant", *asked, *more]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["plans"]
    assert plan["weighted"]
    if "mixed" in asked[0]:
        assert plan["size_bytes"] == 90_000
        assert "types are chosen when it is written" in plan["notes"][-1]
    assert not run.importance_file("").exists()


def test_a_plan_takes_what_was_collected_before(run, capsys):
    weighted(find_source(str(run.folder)), "gguf", "auto", quants=("mixed-0.09mb",))
    assert main(["export", str(run.folder), "--plan", "--json", "--quant", "mixed-0.09mb"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["plans"]
    assert sum(plan["tensor_types"].values()) == 21
    assert 80_000 < plan["size_bytes"] <= 90_000


def test_a_plan_is_of_what_is_written(run):
    source = replace(find_source(str(run.folder)), only_plan=True)
    (planned,) = merged(weighted(source, "gguf", "auto"), "q4_k_m")
    (part,) = merged(weighted(replace(source, only_plan=False), "gguf", "auto"), "q4_k_m")
    assert planned.plan() == part.plan()
    assert planned.folder == part.folder


def test_a_plan_keeps_no_file_and_still_reads_it(run, make_run, tmp_path):
    file = importance_of(run, "gguf")
    target = make_run(1)
    words = ["export", str(target.folder), "--plan", "--quant", "q4_0", "--imatrix"]
    assert main([*words, str(file)]) == 0
    assert target.importance_files == []
    assert main([*words, "auto", "--imatrix-text", str(tmp_path / "none.txt")]) == 4


def merged(source, precision):
    return source.parts(Wanted("gguf", (precision,)))


def test_a_file_from_elsewhere_is_kept_with_the_run(run, make_run, tmp_path):
    other = tmp_path / "theirs.gguf"
    other.write_bytes(importance_of(run, "gguf").read_bytes())
    target = make_run(1)
    source = weighted(find_source(str(target.folder)), "gguf", str(other))
    assert source.model.importance.parent == target.folder / "importance"
    assert kept_importance(target, files.sha256_file(other)) == source.model.importance
    assert kept_importance(target, None) is None
    assert kept_importance(target, "0" * 64) is None
    other.unlink()
    (part,) = merged(source, "q4_0")
    assert part.write().manifest.importance_sha256


@pytest.mark.parametrize(("format", "precision"), [("gguf", "q4_0"), ("onnx", "int4_gptq_b16")])
def test_a_file_that_cannot_be_used_is_not_kept(run, tmp_path, format, precision):
    given = tmp_path / "given"
    given.write_bytes(b"no imatrix")
    with pytest.raises(ExportError, match=str(given)):
        weighted(find_source(str(run.folder)), format, str(given), quants=(precision,))
    assert run.importance_files == []


def test_what_cannot_be_used_is_refused(run, tmp_path, make_run):
    with pytest.raises(ExportError, match="no such imatrix"):
        adopt(run, "gguf", tmp_path / "none.gguf")
    other = "onnx-optimum"
    for use in (lambda: importance_of(run, other), lambda: adopt(run, other, tmp_path)):
        with pytest.raises(ExportError, match=f"'{other}' has no use for an imatrix"):
            use()
    with pytest.raises(ExportError, match="rounds by the products of inputs"):
        importance_of(run, "onnx")
    for given in ("auto", str(importance_of(run, "gguf"))):
        with pytest.raises(ExportError, match="int8 of the format 'onnx' has no use for an imatrix"):
            weighted(find_source(str(run.folder)), "onnx", given, quants=("int8",))
    with pytest.raises(ExportError, match="does not hold the products"):
        weighted(find_source(str(run.folder)), "onnx", str(importance_of(run, "gguf")), quants=("int4_gptq_b16",))
    with pytest.raises(ExportError, match="only a run has training rows"):
        weighted(find_source(run.recipe.model.source), "gguf", "auto")
    with pytest.raises(ExportError, match="needs no text"):
        weighted(find_source(str(run.folder)), "gguf", "some.gguf", tmp_path / "text.txt")
    for content, message in ((b"\xff\xfe\x00", "cannot read"), (b" \n", "is empty")):
        (tmp_path / "text.txt").write_bytes(content)
        with pytest.raises(DataError, match=message):
            general_text(tmp_path / "text.txt")
