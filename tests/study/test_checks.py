import numpy as np
import phantoms
import pytest
import study_cases as cases

from spinaldx.errors import UnsuitableImageError
from spinaldx.records import Volume
from spinaldx.study.checks import check_image, find_fluid_column


def spine(voxels=None, affine=None):
    voxels = cases.spine_voxels() if voxels is None else voxels
    affine = cases.spine_affine() if affine is None else affine
    return Volume(voxels.astype(np.float32), affine, "t2w")


class TestFluidColumn:
    def test_contrast_is_measured_in_medians_of_the_body(self):
        column = find_fluid_column(spine())

        # Fluid 900 over marrow and muscle of 200 to 260, median about 210.
        assert 2.8 < column.contrast < 3.8
        assert column.share == 1.0

    def test_does_not_depend_on_scale_or_storage(self):
        first = find_fluid_column(spine())
        other = phantoms.reordered_volume(spine(), (2, 0, 1), (True, False, True))
        scaled = spine(cases.spine_voxels() * 7)

        assert find_fluid_column(other) == first
        assert find_fluid_column(scaled).contrast == pytest.approx(first.contrast)

    @pytest.mark.parametrize("value", [0, -5])
    def test_an_image_without_body_has_none(self, value):
        column = find_fluid_column(spine(np.full(cases.SHAPE, value)))

        assert (column.contrast, column.share) == (0.0, 0.0)

    def test_a_body_thinner_than_its_skin_has_none(self):
        voxels = np.zeros(cases.SHAPE)
        voxels[:, :, 30:44] = 100

        assert find_fluid_column(spine(voxels)).contrast == 0.0


class TestCheckImage:
    def test_a_spine_is_fine(self):
        assert check_image(spine()) == ()

    def test_faint_fluid_is_flagged(self):
        voxels = cases.spine_voxels().astype(float)
        voxels[voxels > 600] *= 0.53

        assert [flag.code for flag in check_image(spine(voxels))] == ["spine_doubtful"]

    def test_fluid_that_outshines_everything_is_flagged_not_refused(self):
        voxels = cases.spine_voxels().astype(float)
        voxels[voxels > 600] *= 8

        flags = check_image(spine(voxels))

        assert [flag.code for flag in flags] == ["spine_doubtful"]
        assert "anything but fluid" in flags[0].message

    def test_fluid_in_a_part_of_the_height_is_flagged(self):
        voxels = cases.spine_voxels()
        voxels[:, 40:, 38:52] = 200

        assert [flag.code for flag in check_image(spine(voxels))] == ["spine_doubtful"]

    @pytest.mark.parametrize(
        ("shape", "reason"),
        [((2, 96, 80), "left to right"), ((11, 96, 25), "front to back")],
    )
    def test_small_fields_of_view_are_refused(self, shape, reason):
        voxels = np.random.default_rng(0).uniform(0, 900, shape)

        with pytest.raises(UnsuitableImageError, match=reason):
            check_image(spine(voxels))

    def test_probability_maps_are_refused(self):
        voxels = np.zeros(cases.SHAPE)
        voxels[5, 40:44, 40:60] = np.random.default_rng(0).uniform(0, 1, (4, 20))

        with pytest.raises(UnsuitableImageError, match="empty nearly everywhere"):
            check_image(spine(voxels))
