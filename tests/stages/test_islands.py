import numpy as np
import pytest

from spinaldx.records import Volume
from spinaldx.stages.extent import Evidence
from spinaldx.stages.islands import IslandOptions, islands_beside

# Three sagittal slices of 3 mm, 10 columns and 30 rows of 1 mm.
SHAPE = (3, 10, 30)
AFFINE = np.diag([3.0, 1.0, 1.0, 1.0])
# 3 columns and 4 rows: 36 mm3.
ISLAND = (1, slice(3, 6), slice(10, 14))
SEED = (1, 4, 11)


def evidence(probability, cord=None, reach=None):
    return Evidence(
        probability,
        np.ones(SHAPE, np.float32) if cord is None else cord,
        np.ones((1, 1, 1), bool) if reach is None else reach,
        Volume(np.ones(SHAPE, np.float32), AFFINE, "islands"),
    )


def seen(sure=0.6, possible=0.3):
    probability = np.full(SHAPE, 0.05, np.float32)
    probability[ISLAND] = possible
    probability[SEED] = sure
    return probability


def beside(known, labels=None, **options):
    labels = np.zeros(SHAPE, np.uint8) if labels is None else labels
    return islands_beside(labels, known, IslandOptions(**options))


def island():
    expected = np.zeros(SHAPE, bool)
    expected[ISLAND] = True
    return expected


def test_a_sure_voxel_stands_for_what_is_possible_round_it():
    np.testing.assert_array_equal(beside(evidence(seen())), island())


@pytest.mark.parametrize(
    ("sure", "possible"), [(0.49, 0.3), (0.6, 0.19)], ids=["unsure", "small"]
)
def test_nothing_else_does(sure, possible):
    assert not beside(evidence(seen(sure, possible))).any()


@pytest.mark.parametrize(("least_mm3", "count"), [(36.0, 12), (36.1, 0)])
def test_it_is_as_large_as_any_lesion(least_mm3, count):
    found = beside(evidence(seen()), least_volume_mm3=least_mm3)

    assert found.sum() == count


def test_probabilities_are_held_against_the_threshold():
    assert beside(evidence(seen(0.4, 0.16)), threshold=0.4).sum() == 12
    assert not beside(evidence(seen(0.6, 0.3)), threshold=0.8).any()


def test_what_touches_a_mark_belongs_to_it():
    labels = np.zeros(SHAPE, np.uint8)
    labels[2, 6, 14] = 1  # by a corner

    assert not beside(evidence(seen()), labels).any()


def test_what_lies_beside_a_mark_does_not():
    labels = np.zeros(SHAPE, np.uint8)
    labels[2, 6, 15] = 1

    np.testing.assert_array_equal(beside(evidence(seen()), labels), island())


def test_it_lies_in_what_may_be_cord():
    cord = np.full(SHAPE, 0.2, np.float32)

    assert not beside(evidence(seen(), cord)).any()


def test_and_where_the_cord_can_be():
    reach = np.ones((3, 1, 1), bool)
    reach[1] = False

    assert not beside(evidence(seen(), reach=reach)).any()


def test_nothing_in_nothing_out():
    found = beside(evidence(np.zeros(SHAPE, np.float32)))

    assert found.shape == SHAPE
    assert not found.any()
