from __future__ import annotations

import pytest
import torch
from tinyruns import write_base


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums come out the same only when they are made in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("base") / "model")
