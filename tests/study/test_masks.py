import itertools

import numpy as np
import pytest
import study_cases as cases

from spinaldx.errors import GeometryError, UnreadableFileError
from spinaldx.records import MaskOrigin
from spinaldx.study import find_studies, load_study, read_mask


@pytest.fixture
def volume(tmp_path):
    return load_study(find_studies([cases.write_nifti(tmp_path / "t2w.nii")])[0])[0]


class TestReadMask:
    def test_a_persons_mask(self, tmp_path, volume):
        labels = np.zeros(cases.SHAPE, np.int16)
        labels[5, 40:50, 44:48] = 3

        mask = read_mask(cases.write_nifti(tmp_path / "mask.nii.gz", labels), volume)

        assert (int(mask.labels.sum()), mask.origin) == (40, MaskOrigin.PERSON)

    def test_an_empty_one_is_fine(self, tmp_path, volume):
        labels = np.zeros(cases.SHAPE, np.int16)

        mask = read_mask(cases.write_nifti(tmp_path / "mask.nii.gz", labels), volume)

        assert not mask.labels.any()

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_voxels_that_are_no_numbers_are_refused(self, tmp_path, volume, value):
        # They would count as outside.
        labels = np.zeros(cases.SHAPE, np.float32)
        labels[5, 40:50, 45] = value
        path = tmp_path / "mask.nii"
        cases.write_nifti(path, labels, dtype="<f4", datatype=16, bitpix=32)

        with pytest.raises(UnreadableFileError, match=r"mask\.nii: .* not finite"):
            read_mask(path, volume)

    def test_a_suffix_in_capitals(self, tmp_path, volume):
        labels = np.zeros(cases.SHAPE, np.int16)
        labels[5, 40, 44] = 1
        path = cases.write_nifti(tmp_path / "mask.nii.gz", labels)

        mask = read_mask(path.rename(tmp_path / "MASK.NII.GZ"), volume)

        assert mask.labels.sum() == 1

    @pytest.mark.parametrize("flips", [*itertools.product((False, True), repeat=3)])
    @pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
    def test_one_stored_in_another_order_is_turned(
        self, tmp_path, volume, order, flips
    ):
        labels = np.zeros(cases.SHAPE, np.int16)
        labels[5, 40:50, 44] = 1
        labels[6, 40, 44:47] = 1
        turned, affine = labels.transpose(order), cases.spine_affine()[:, [*order, 3]]
        for axis in np.flatnonzero(flips):
            turned = np.flip(turned, axis)
            affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
            affine[:3, axis] *= -1
        path = cases.write_nifti(tmp_path / "m.nii", turned, affine=affine)

        mask = read_mask(path, volume)

        assert np.array_equal(mask.labels, labels)
        assert np.array_equal(mask.affine_ras, volume.affine_ras)

    def test_a_mirrored_one_is_not_turned_back(self, tmp_path, volume):
        labels = np.zeros(cases.SHAPE, np.int16)
        labels[5, 40:50, 44] = 1
        affine = cases.spine_affine()
        affine[:3, 0] *= -1
        path = cases.write_nifti(tmp_path / "m.nii", labels, affine=affine)

        with pytest.raises(GeometryError, match="mm off"):
            read_mask(path, volume)

    def test_what_no_cord_can_hold_is_refused(self, tmp_path, volume):
        # As a probability map of which nothing is quite 0.
        background = np.full(cases.SHAPE, 0.05, np.float32)
        path = tmp_path / "m.nii"
        cases.write_nifti(path, background, dtype="<f4", datatype=16, bitpix=32)

        with pytest.raises(UnreadableFileError, match="ml, more than any spinal cord"):
            read_mask(path, volume)

    def test_the_image_itself_is_refused(self, tmp_path, volume):
        path = cases.write_nifti(tmp_path / "m.nii")

        with pytest.raises(UnreadableFileError, match="the mask is the image itself"):
            read_mask(path, volume)

    def test_another_size_is_refused(self, tmp_path, volume):
        path = cases.write_nifti(tmp_path / "m.nii", np.zeros((11, 96, 79), np.int16))

        with pytest.raises(GeometryError, match="does not fit t2w"):
            read_mask(path, volume)

    def test_another_place_is_refused(self, tmp_path, volume):
        affine = cases.spine_affine()
        affine[1, 3] += 1.0
        path = cases.write_nifti(tmp_path / "m.nii", affine=affine)

        with pytest.raises(GeometryError, match=r"1\.0 mm off"):
            read_mask(path, volume)
