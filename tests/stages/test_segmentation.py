from dataclasses import replace

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
from spinaldx.stages.segmentation import (
    SegmentationOptions,
    segment,
    with_faint_parts,
)

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


def faint_phantom():
    """A cord of 100, a third of it 85, with a lesion of 135 and in a corner 160."""
    spine = spine_phantom(rows=(20, 27), columns=(14, 16))
    voxels = np.where(spine.cord, np.float32(100), np.float32(0))
    voxels[1] *= 0.85
    voxels[spine.lesion] = 135.0
    voxels[2, 20, 14] = 160.0
    return replace(spine.volume, voxels=voxels), spine.lesion


@pytest.mark.parametrize("order", ORDERS[::7])
def test_a_brighter_look_finds_what_is_faint(order):
    volume, lesion = faint_phantom()
    volume = reordered_volume(volume, *order)
    # With a cord of 100 as 1 the lesion is 1.35 and its corner 1.6; with one of 85, 1.59.
    once, twice = (
        segment(volume, FakeNetworks(), replace(GRID, bright_percentile=percentile))
        for percentile in (0.0, 10.0)
    )

    assert (once.lesion_probability > 0.5).sum() == 1
    found = twice.lesion_probability > 0.5
    assert np.array_equal(found, reordered(lesion, *order))
    assert np.array_equal(once.cord_probability, twice.cord_probability)


def test_only_slices_that_show_cord_are_looked_at_again():
    networks = FakeNetworks()

    segment(faint_phantom()[0], networks, replace(GRID, bright_percentile=10.0))

    # Five slices, of which the middle three show cord.
    assert networks.slices_seen == [1] * 8


def test_nothing_is_looked_at_again_where_nothing_was_seen():
    networks = FakeNetworks()
    volume, lesion = faint_phantom()
    volume.voxels[lesion] = 135.0

    found = segment(volume, networks, replace(GRID, bright_percentile=10.0))

    assert networks.slices_seen == [1] * 5
    assert not found.lesion_probability.any()


def test_without_a_cord_output_all_are():
    networks = FakeNetworks()
    grid = replace(GRID, bright_percentile=10.0)

    segment(faint_phantom()[0], networks, grid, SegmentationOptions(("lesion", "sac")))

    assert networks.slices_seen == [1] * 10


class TestWithFaintParts:
    @pytest.mark.parametrize(
        ("seen", "is_faint"),
        [(10, False), (7, False), (6, True), (1, True), (0, False)],
    )
    def test_the_rest_of_what_the_first_look_saw_a_part_of(self, seen, is_faint):
        first, bright = np.full((2, 3, 1, 12), 0.1, np.float32)
        bright[1, 0, 1:11] = 0.8
        first[1, 0, 1 : 1 + seen] = 0.6

        found = with_faint_parts(first, bright)

        assert found.dtype == np.float32
        assert np.array_equal(found, np.maximum(first, bright) if is_faint else first)

    def test_each_piece_is_judged_by_itself(self):
        first, bright = np.zeros((2, 1, 3, 20), np.float32)
        first[0, 0, :8] = 0.9
        bright[0, 0, :10] = 0.7
        bright[0, 0, 12:] = 0.6
        first[0, 0, 15] = 0.5

        found = with_faint_parts(first, bright)

        assert np.array_equal(found[0, 0, :12], first[0, 0, :12])
        assert np.array_equal(found[0, 0, 12:], bright[0, 0, 12:])

    def test_what_the_first_look_alone_marks_stays(self):
        first, bright = np.zeros((2, 1, 3, 20), np.float32)
        first[0, 0, :8] = 0.9

        assert np.array_equal(with_faint_parts(first, bright), first)

    def test_nothing_marked(self):
        first = np.full((2, 3, 4), 0.2, np.float32)

        assert with_faint_parts(first, first + 0.2) is first
