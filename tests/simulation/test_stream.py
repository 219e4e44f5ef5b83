"""The training stream is endless, repeatable and easily shared."""

import itertools

import numpy as np
import pytest

from spinaldx.grid import GridSpec
from spinaldx.records import Disease
from spinaldx.simulation.patient import PatientOptions
from spinaldx.simulation.stream import Share, stream_slices

OPTIONS = PatientOptions(
    disease=Disease.NMOSD, location="cervical", in_plane_mm=1.1, slice_mm=4.0
)


def take(count, share=None):
    stream = stream_slices(np.random.SeedSequence(4), options=OPTIONS, share=share)
    return list(itertools.islice(stream, count))


@pytest.fixture(scope="module")
def slices():
    return take(30)


def test_slices_are_on_the_networks_grid(slices):
    first = slices[0]

    assert first.pixels.dtype == np.float32
    assert first.pixels.shape == first.lesion.shape == first.cord.shape
    assert all(side % GridSpec().size_multiple == 0 for side in first.pixels.shape)


def test_truth_is_a_share_of_each_pixel(slices):
    for item in slices:
        assert 0 <= item.lesion.min() <= item.lesion.max() <= 1
        assert (item.lesion <= item.cord + 1e-5).all()
    assert any(item.lesion.any() for item in slices)


def test_patients_follow_one_another(slices):
    numbers = [item.patient for item in slices]

    assert numbers == sorted(numbers)
    assert {item.disease for item in slices} == {Disease.NMOSD}


def test_two_workers_make_the_patients_of_one(slices):
    second = take(1, Share(worker=1, workers=2))[0]
    same = next(item for item in slices if item.patient == 1)

    assert second.patient == 1
    assert np.array_equal(second.pixels, same.pixels)
