import pytest
import torch
from training_cases import Listener, tiny_request, write_cohort

from spinaldx.training.fine_tuning import fine_tune


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """The table of a tiny cohort; not to be changed."""
    return write_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="session")
def listener():
    """Heard what the tiny run told."""
    return Listener()


@pytest.fixture(scope="session")
def finished(cohort, listener, tmp_path_factory):
    """The request and outcome of a tiny run of all stages."""
    torch.set_num_threads(1)
    request = tiny_request(cohort, tmp_path_factory.mktemp("run") / "bundle")
    return request, fine_tune(request, listener)
