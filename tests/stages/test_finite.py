import numpy as np
import pytest
from phantoms import FakeNetworks, fake_bundle, spine_phantom

from spinaldx.cascade import run_case
from spinaldx.errors import InferenceError
from spinaldx.records import Task
from spinaldx.stages.finite import check_finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_no_number(value):
    with pytest.raises(InferenceError, match="ms_vs_nmosd put out") as raised:
        check_finite(np.array([[0.5, value]], np.float32), "ms_vs_nmosd")

    assert raised.value.exit_code == 5
    assert "fp32" in raised.value.hint


@pytest.mark.parametrize("shape", [(2, 3), (0, 2)])
def test_numbers_pass_as_they_are(shape):
    values = np.zeros(shape, np.float32)

    assert check_finite(values, "segmentation") is values


def run(networks):
    return run_case("case", [spine_phantom().volume], networks, fake_bundle())


def test_no_study_is_without_lesion_because_its_network_failed():
    networks = FakeNetworks()
    networks.segment = lambda slices: np.full(
        (len(slices), 2, *slices.shape[2:]), np.nan, np.float32
    )
    with pytest.raises(InferenceError, match="network segmentation"):
        run(networks)


def test_no_study_has_a_disease_because_its_classifier_failed():
    logits = dict.fromkeys(Task, (0.0, np.nan))
    with pytest.raises(InferenceError, match="network tumour_vs_demyelination"):
        run(FakeNetworks(logits))
