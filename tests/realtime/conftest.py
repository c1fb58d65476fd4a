import pytest
from tinygguf import write_tiny_gguf


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A model file that answers at random."""
    return write_tiny_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf")
