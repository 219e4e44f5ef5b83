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
