import phantoms
import pytest


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """A bundle on disk with tiny random networks."""
    return phantoms.tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
