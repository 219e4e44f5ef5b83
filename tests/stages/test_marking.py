import numpy as np
import pytest

from spinaldx.errors import GeometryError
from spinaldx.records import Volume
from spinaldx.stages.lesions import LesionOptions
from spinaldx.stages.marking import find_cord, mark_lesions
from spinaldx.stages.segmentation import Segmentation

# Nine sagittal slices of 3 mm, 33 columns and 64 rows of 1 mm.
SHAPE = (9, 33, 64)
VOLUME = Volume(np.zeros(SHAPE, np.float32), np.diag([3.0, 1.0, 1.0, 1.0]), "marked")


def boxes(*corners):
    probability = np.zeros(SHAPE, np.float32)
    for corner in corners:
        probability[tuple(slice(*ends) for ends in corner)] = 0.9
    return probability


CORD = ((3, 5), (12, 19), (2, 62))
LESION = ((3, 4), (13, 18), (20, 30))
FLUID = ((7, 9), (12, 19), (2, 62))


class TestMarkLesions:
    def test_a_lesion_in_the_cord_and_not_the_fluid_beside_it(self):
        found = Segmentation(boxes(LESION, FLUID), boxes(CORD, FLUID))
        marking = mark_lesions(found, VOLUME, LesionOptions())

        np.testing.assert_array_equal(marking.mask.labels, boxes(LESION) > 0)
        np.testing.assert_array_equal(marking.cord.voxels, boxes(CORD) > 0)

    def test_the_cord_is_that_of_find_cord(self):
        found = Segmentation(boxes(LESION, FLUID), boxes(CORD, FLUID))
        marking = mark_lesions(found, VOLUME, LesionOptions())

        np.testing.assert_array_equal(
            marking.cord.voxels, find_cord(found, VOLUME).voxels
        )

    def test_without_a_cord_output_lesions_are_kept_anywhere(self):
        found = Segmentation(boxes(LESION, FLUID), None)
        marking = mark_lesions(found, VOLUME, LesionOptions())

        assert marking.cord is None
        assert marking.mask.labels.max() == 2

    def test_nothing_in_nothing_out(self):
        marking = mark_lesions(Segmentation(boxes(), boxes()), VOLUME, LesionOptions())

        assert not marking.mask.labels.any()
        assert not marking.cord.voxels.any()

    def test_other_shapes_are_refused(self):
        small = np.ones((2, 2, 2), np.float32)
        found = Segmentation(small, small)
        with pytest.raises(GeometryError):
            mark_lesions(found, VOLUME, LesionOptions())
