import logging

import phantoms
import pytest


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """A bundle on disk with tiny random networks."""
    return phantoms.tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(autouse=True)
def library_log():
    """Undo what a command in this process did to the library's log.

    Before the test, not after it: fixtures of modules run commands too.
    """
    logger = logging.getLogger("spinaldx")
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
    logger.handlers.clear()
