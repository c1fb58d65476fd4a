"""Data sets of the datasets package: folders, splits, and the hub."""

import pytest
from rowfiles import TALK, load, said

from edgetune.data.reading import load_rows
from edgetune.errors import DataError


@pytest.fixture
def datasets():
    import datasets

    datasets.disable_progress_bars()
    return datasets


def test_one_set(tmp_path, datasets):
    datasets.Dataset.from_list([{"messages": TALK}]).save_to_disk(tmp_path / "set")
    (row,) = load(tmp_path / "set").rows
    assert (said(row)[1], row.where) == (("assistant", "hello"), f"{tmp_path}/set:1")


def test_splits(tmp_path, datasets):
    part = {name: datasets.Dataset.from_list([{"text": name}]) for name in ("train", "test")}
    datasets.DatasetDict(part).save_to_disk(tmp_path / "set")
    assert load(tmp_path / "set").rows[0].text == "train"
    assert load(f"{tmp_path}/set#test").rows[0].text == "test"
    with pytest.raises(DataError, match="no split 'x'") as caught:
        load_rows(f"{tmp_path}/set#x")
    assert caught.value.hint == "add one of: #train, #test"


def test_which_split(tmp_path, datasets):
    part = {name: datasets.Dataset.from_list([{"text": name}]) for name in ("a", "b")}
    datasets.DatasetDict(part).save_to_disk(tmp_path / "set")
    with pytest.raises(DataError, match="which split"):
        load_rows(tmp_path / "set")


def test_a_damaged_folder(tmp_path, datasets):
    datasets.Dataset.from_list([{"text": "a"}]).save_to_disk(tmp_path / "set")
    (arrow,) = (tmp_path / "set").glob("*.arrow")
    arrow.write_bytes(b"no arrow")
    with pytest.raises(DataError, match="cannot load"):
        load_rows(tmp_path / "set")


def test_the_hub_is_asked_for_config_and_split(monkeypatch, datasets):
    asked = []

    def fake(identifier, config):
        asked.append((identifier, config))
        return {"test": datasets.Dataset.from_list([{"text": "a"}])}

    monkeypatch.setattr(datasets, "load_dataset", fake)
    (row,) = load("hub:owner/name@small#test").rows
    assert asked == [("owner/name", "small")]
    assert row.where == "hub:owner/name@small#test:1"


def test_no_network(monkeypatch, datasets):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="cannot load hub:nobody/nothing-of-this-name") as caught:
        load_rows("hub:nobody/nothing-of-this-name")
    assert "network" in caught.value.hint
