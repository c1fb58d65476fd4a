"""What the list of targets says."""

from edgetune.targets.text import list_text


def test_what_is_only_for_classifiers_says_so():
    marked = [line.split()[0] for line in list_text().splitlines() if "for models that classify" in line]
    assert marked == ["camera-30fps"]


def test_a_name_that_is_taken_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "targets").mkdir()
    for name in ("cpu", "mine"):
        (tmp_path / "targets" / f"{name}.yaml").write_text(f"name: {name}\ndescription: x\nkind: host\n")
    lines = [line for line in list_text().splitlines() if "(project: " in line]
    assert [line.split()[0] for line in lines] == ["cpu", "mine"]
    assert ["rename it" in line for line in lines] == [True, False]
