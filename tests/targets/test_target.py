"""Targets: those that ship, one's own, names, and files that are wrong."""

import json

import pytest
import yaml

from edgetune.bench.objective import Objective
from edgetune.cli import main
from edgetune.errors import TargetError
from edgetune.targets import find_target, target_names
from edgetune.targets.finding import all_targets
from edgetune.targets.reading import read_objectives, read_target
from edgetune.targets.target import SCHEMA_FILE, Target, target_schema

MINE = {"name": "mine", "description": "x", "kind": "realtime", "objectives": [{"metric": "ttft", "at_most": 1}]}


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def put(folder, stem="mine", **changes):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{stem}.yaml"
    file.write_text(yaml.safe_dump({**MINE, **changes}))
    return file


def test_what_ships():
    assert {"cpu", "voice-assistant", "conversational", "interactive", "camera-30fps", "iphone"} <= set(target_names())
    assert find_target("camera-30fps").scenario == "frames"


@pytest.mark.parametrize("name", [one.name for one in all_targets()])
def test_every_number_that_ships_has_its_source(name):
    target = find_target(name)
    keys = ("rate", "threads", "memory_budget_mb", "context", "prompt_tokens", "new_tokens")
    numbers = {key for key in keys if getattr(target, key)}
    assert numbers | {one.metric for one in target.objectives} == set(target.sources)


@pytest.mark.parametrize("name", [one.name for one in all_targets()])
def test_every_device_that_is_named_is_known(name):
    from edgetune.devices.device import find_device

    device = find_target(name).device
    assert device is None or find_device(device).name == device


def test_a_bound_of_ttft_is_about_a_prompt(tmp_path):
    put(tmp_path / "targets", objectives=[{"metric": "ttft_bound", "at_most": 1000}])
    with pytest.raises(TargetError) as caught:
        find_target("mine")
    assert "needs prompt_tokens" in " ".join(caught.value.problems)


def test_a_memory_budget_is_an_objective():
    held_to = find_target("raspberry-pi-4").held_to
    assert held_to[-1] == Objective(metric="peak_rss", at_most=2000, unit="MB")


def test_ones_own_by_folder_and_by_path(tmp_path):
    user = put(tmp_path / "config" / "edgetune" / "targets", description="user's")
    assert find_target("mine").description == "user's"
    put(tmp_path / "targets", description="project's")
    assert find_target("mine").description == "project's"
    assert find_target(str(user)).description == "user's"
    elsewhere = put(tmp_path / "elsewhere", "other", name="other")
    assert find_target(str(elsewhere)).name == "other"


def test_a_published_name_means_one_thing(tmp_path):
    file = put(tmp_path / "targets", "cpu", name="cpu")
    with pytest.raises(TargetError, match="comes with edgetune: cpu") as caught:
        find_target("cpu")
    assert caught.value.hint.endswith("--target targets/cpu.yaml"), "has a separator, so it means the file"
    assert find_target(f"./{file.relative_to(tmp_path)}").kind == "realtime"


def test_an_unknown_name_brings_the_nearest():
    with pytest.raises(TargetError, match="did you mean 'voice-assistant'"):
        find_target("voice-asistant")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"objectves": []}, "objectves: unknown key; did you mean 'objectives'?"),
        ({"objectives": [{"metric": "ttft"}]}, "objectives.0: an objective has exactly one limit: at_most or at_least"),
        ({"objectives": [{"metric": "ttft", "at_most": 1, "at_least": 1}]}, "exactly one limit"),
        (
            {"objectives": [{"metric": "ttft", "at_most": 1, "statistic": "p97"}]},
            "objectives.0.statistic: Input should",
        ),
        ({"objectives": "ttft"}, "objectives: must be a list, such as: - {metric: ttft,"),
        ({"objectives": ["ttft"]}, "objectives.0: must be one with keys, such as: {metric: ttft,"),
        ({"objectives": [{"metric": "ttft", "at_most": -1}]}, "at_most: Input should be greater than or equal to 0"),
        ({"sources": ["me"]}, "sources: must have keys"),
        ({"kind": "mobile"}, "a mobile target needs transport"),
        ({"device": "poco-f5"}, "device and transport are for kind mobile"),
        ({"scenario": "frames"}, "needs a rate"),
        ({"scenario": "open loop"}, "the scenario 'open loop' needs a rate, in requests a second"),
        ({"rate": 3}, "a rate needs the scenario"),
        ({"rate": float("nan")}, "rate: Input should be"),
    ],
)
def test_files_that_are_wrong_say_what(tmp_path, changes, problem):
    with pytest.raises(TargetError, match="not a valid target") as caught:
        read_target(put(tmp_path, **changes))
    assert any(problem in found for found in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(("text", "held"), [("", "nothing"), ("- {metric: ttft}", "a list"), ("7", "only 7")])
def test_a_file_that_is_no_target_at_all(tmp_path, text, held):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(TargetError, match=f"holds {held}, not a target"):
        read_target(tmp_path / "mine.yaml")


def test_an_slo_file_of_another_kind_brings_an_example_and_no_python(tmp_path):
    (tmp_path / "slo.yaml").write_text("- ttft\n")
    with pytest.raises(TargetError) as caught:
        read_objectives(tmp_path / "slo.yaml")
    assert list(caught.value.problems) == [
        "0: must be one with keys, such as: {metric: ttft, statistic: p95, at_most: 300, unit: ms}"
    ]


def test_a_file_called_otherwise_than_its_target(tmp_path):
    with pytest.raises(TargetError, match="holds a target called 'mine'"):
        read_target(put(tmp_path, "yours"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "holds no objective"),
        ("- {metric: ttft}", "1 problem"),
        ("", "holds no objective"),
        ("metric: ttft", "holds keys, not a list of objectives"),
        ("ttft", "holds only 'ttft', not a list of objectives"),
        ("- ttft", "1 problem"),
        ("- {metric: ttft, at_most: -1}", "1 problem"),
        ("- {metric", ":1:10: not valid YAML"),
        ("- {metric: ttft, at_most: 1, when: now}", "1 problem"),
    ],
)
def test_slo_files_that_are_wrong(tmp_path, text, message):
    (tmp_path / "slo.yaml").write_text(text)
    with pytest.raises(TargetError, match=message):
        read_objectives(tmp_path / "slo.yaml")


def test_slo_files_that_cannot_be_read(tmp_path):
    with pytest.raises(TargetError, match="no such list of objectives"):
        read_objectives(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xe4")
    with pytest.raises(TargetError, match="is not UTF-8 text"):
        read_objectives(tmp_path / "latin.yaml")


def test_an_slo_file(tmp_path):
    (tmp_path / "slo.yaml").write_text("- {metric: ttft, statistic: p95, at_most: 300, unit: ms}\n")
    assert read_objectives(tmp_path / "slo.yaml")[0].text == "ttft p95 ≤ 300 ms"


def test_the_published_schema_is_up_to_date():
    assert json.loads(SCHEMA_FILE.read_text(encoding="utf-8")) == target_schema(), "run: make docs"
    assert target_schema()["properties"]["objectives"]["description"] == Target.model_fields["objectives"].description


def test_the_commands(capsys, tmp_path):
    put(tmp_path / "targets")
    put(tmp_path / "targets", "broken", kind="nonsense")
    assert main(["targets", "list"]) == 0
    listed = capsys.readouterr()
    assert "(project: targets/mine.yaml)" in listed.out
    assert "left out: targets/broken.yaml is not a valid target" in listed.err
    assert main(["targets", "list", "--json"]) == 0
    assert {"mine", "cpu"} <= {one["name"] for one in json.loads(capsys.readouterr().out)}
    assert main(["targets", "show", "voice-assistant"]) == 0
    assert "first_clause p95 ≤ 300 ms\n" in capsys.readouterr().out
    assert main(["targets", "show", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "mine"
    assert main(["targets", "show", "nothing-like-it"]) == TargetError.exit_code
    assert main(["targets", "schema"]) == 0
