"""A tiny classifier to be trained."""

from __future__ import annotations

import pytest
import tinyclassifier


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tinyclassifier.write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def resolved(tmp_path, base):
    return tinyclassifier.write_recipe(tmp_path / "recipe", base)
