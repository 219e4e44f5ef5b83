import numpy as np
import pytest
from phantoms import (
    ORDERS,
    FakeNetworks,
    reordered,
    reordered_volume,
    spine_phantom,
    volume_of,
)

from spinaldx.errors import IncompatibleWeightsError
from spinaldx.grid import GridSpec
from spinaldx.models.specs import MultiResUNetSpec
from spinaldx.stages.segmentation import SegmentationOptions, segment

GRID = GridSpec(size_multiple=16)


def test_lesion_and_cord_lie_where_they_are():
    spine = spine_phantom()

    found = segment(spine.volume, FakeNetworks(), GRID)

    assert np.array_equal(found.lesion_probability > 0.5, spine.lesion)
    assert np.array_equal(found.cord_probability > 0.5, spine.cord)
    assert found.lesion_probability.max() == pytest.approx(0.9)


@pytest.mark.parametrize("order", ORDERS[::7])
def test_every_storage_gives_the_same_voxels(order):
    spine = spine_phantom()

    found = segment(reordered_volume(spine.volume, *order), FakeNetworks(), GRID)

    lesion = reordered(spine.lesion, *order)
    assert np.array_equal(found.lesion_probability > 0.5, lesion)


@pytest.mark.parametrize(
    ("device", "at_once", "calls"),
    [("cpu", None, [1] * 5), ("cuda:0", None, [5]), ("cpu", 2, [2, 2, 1])],
)
def test_slices_come_in_bounded_batches(device, at_once, calls):
    networks = FakeNetworks()
    networks.device = device
    options = SegmentationOptions(slices_at_once=at_once)

    segment(spine_phantom().volume, networks, GRID, options)

    assert networks.slices_seen == calls


def test_batches_do_not_change_the_result():
    volume = spine_phantom().volume
    alone, together = (
        segment(volume, FakeNetworks(), GRID, SegmentationOptions(slices_at_once=count))
        for count in (1, 5)
    )

    assert np.array_equal(alone.lesion_probability, together.lesion_probability)


class MiddleNetworks(FakeNetworks):
    """Answers to the middle channel and keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def segment(self, slices):
        self.seen.extend(slices)
        middle = slices.shape[1] // 2
        return super().segment(slices[:, middle : middle + 1])


@pytest.mark.parametrize("order", ORDERS[::11])
def test_neighbours_are_channels_from_right_to_left(order):
    spine = spine_phantom()
    networks = MiddleNetworks()
    options = SegmentationOptions(in_channels=3, slices_at_once=2)

    found = segment(reordered_volume(spine.volume, *order), networks, GRID, options)

    lesion = reordered(spine.lesion, *order)
    assert np.array_equal(found.lesion_probability > 0.5, lesion)
    middles = [channels[1] for channels in networks.seen]
    for place, channels in enumerate(networks.seen):
        # The slices of the phantom are 3 mm apart: the next ones are neighbours.
        assert np.array_equal(channels[0], middles[max(place - 1, 0)])
        assert np.array_equal(channels[2], middles[min(place + 1, 4)])


def test_a_network_is_run_as_it_is_built():
    options = SegmentationOptions.of(MultiResUNetSpec(5, ("cord", "lesion")))

    assert options == SegmentationOptions(("cord", "lesion"), in_channels=5)


class OvershootingNetworks(FakeNetworks):
    def segment(self, slices):
        return np.full((len(slices), 1, *slices.shape[2:]), 1.1, np.float32)


def test_probabilities_stay_between_0_and_1_and_a_cord_is_optional():
    volume = volume_of(np.ones((3, 20, 20)), (3.0, 0.7, 0.7))
    options = SegmentationOptions(outputs=("lesion",))

    found = segment(volume, OvershootingNetworks(), GRID, options)

    assert found.lesion_probability.max() == 1.0
    assert found.cord_probability is None


def test_a_network_without_lesion_output_is_refused():
    options = SegmentationOptions(outputs=("cord",))

    with pytest.raises(IncompatibleWeightsError, match="no output named lesion"):
        segment(spine_phantom().volume, FakeNetworks(), GRID, options)
