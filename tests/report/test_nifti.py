import gzip

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import ORDERS, affine_of, reordered_volume, volume_of

from spinaldx.errors import GeometryError, OutputError
from spinaldx.report.nifti import compact, nifti_bytes, read_own_nifti, write_nifti
from spinaldx.study.archive import ImageFile
from spinaldx.study.nifti import read_image

VOXELS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def shear(affine):
    """Tilt the second axis towards the first."""
    sheared = affine.copy()
    sheared[:3, 1] += 0.3 * sheared[:3, 0]
    return sheared


class TestWriteNifti:
    @pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
    def test_nibabel_reads_back_voxels_and_type(self, tmp_path, dtype):
        voxels = VOXELS.astype(dtype)
        write_nifti(tmp_path / "a.nii.gz", voxels, affine_of(voxels.shape, (3, 1, 2)))
        image = nibabel.load(tmp_path / "a.nii.gz")

        assert image.get_data_dtype() == np.dtype(dtype)
        assert np.array_equal(np.asanyarray(image.dataobj), voxels)

    @pytest.mark.parametrize(("order", "flips"), ORDERS)
    def test_sform_and_qform_are_the_affine(self, tmp_path, order, flips):
        volume = volume_of(VOXELS, (3.3, 0.7, 0.8), degrees=(12.0, -20.0, 7.0))
        turned = reordered_volume(volume, order, flips)
        write_nifti(tmp_path / "a.nii.gz", turned.voxels, turned.affine_ras)
        header = nibabel.load(tmp_path / "a.nii.gz").header

        assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
        assert np.abs(header.get_sform() - turned.affine_ras).max() < 1e-5
        assert np.abs(header.get_qform() - turned.affine_ras).max() < 1e-4

    @given(st.tuples(*[st.floats(-180, 180)] * 3))
    @settings(max_examples=40, deadline=None)
    def test_every_rotation_is_kept(self, degrees):
        affine = affine_of(VOXELS.shape, (3.0, 1.0, 1.0), degrees=degrees)
        header = gzip.decompress(nifti_bytes(VOXELS, affine))[:348]
        found = nibabel.Nifti1Header(header).get_qform()

        # Single precision leaves a quaternion's real part uncertain near half turns.
        assert np.abs(found - affine).max() < 3e-3

    def test_a_sheared_grid_has_no_qform(self, tmp_path):
        affine = shear(affine_of(VOXELS.shape, (3.0, 1.0, 1.0)))
        write_nifti(tmp_path / "a.nii.gz", VOXELS, affine)
        header = nibabel.load(tmp_path / "a.nii.gz").header

        assert int(header["qform_code"]) == 0
        assert np.allclose(header.get_sform(), affine)

    def test_our_own_reader_takes_it_without_a_flag(self, tmp_path):
        affine = affine_of(VOXELS.shape, (3.0, 1.0, 1.0), degrees=(0, 9, 4))
        write_nifti(tmp_path / "a.nii.gz", VOXELS, affine)
        image = read_image(ImageFile(tmp_path / "a.nii.gz"))

        assert image.flags == ()
        assert np.array_equal(image.voxels, VOXELS)

    def test_same_array_same_bytes_without_name_or_time(self):
        affine = affine_of(VOXELS.shape, (3.0, 1.0, 1.0))
        content = nifti_bytes(VOXELS, affine)

        assert content == nifti_bytes(np.asfortranarray(VOXELS), affine)
        assert content[3] == 0
        assert content[4:8] == bytes(4)

    @pytest.mark.parametrize("voxels", [VOXELS[0], VOXELS.astype(np.float64)])
    def test_refuses_what_it_cannot_hold(self, voxels):
        with pytest.raises(GeometryError, match="Cannot write"):
            nifti_bytes(voxels, np.eye(4))

    def test_refuses_a_flat_affine(self):
        with pytest.raises(GeometryError):
            nifti_bytes(VOXELS, np.diag([1.0, 1.0, 0.0, 1.0]))


class TestCompact:
    @pytest.mark.parametrize(
        ("values", "dtype"),
        [([0, 900], "int16"), ([-5, 70000], "int32"), ([0, 0.5], "float32")],
    )
    def test_takes_the_smallest_type_that_loses_nothing(self, values, dtype):
        voxels = np.array(values, dtype=np.float32).reshape(1, 1, 2)

        assert compact(voxels).dtype == dtype
        assert np.array_equal(compact(voxels), voxels)

    def test_leaves_what_no_integer_holds(self):
        voxels = np.full((1, 1, 1), 1e12, dtype=np.float32)

        assert compact(voxels) is voxels


class TestReadOwnNifti:
    def test_keeps_nan(self, tmp_path):
        voxels = np.where(VOXELS > 3, VOXELS, np.nan).astype(np.float32)
        write_nifti(tmp_path / "a.nii.gz", voxels, np.eye(4))
        read = read_own_nifti(tmp_path / "a.nii.gz", (2, 3, 4))

        assert np.array_equal(read, voxels, equal_nan=True)

    def test_refuses_another_shape(self, tmp_path):
        write_nifti(tmp_path / "a.nii.gz", VOXELS, np.eye(4))
        with pytest.raises(OutputError, match="has shape"):
            read_own_nifti(tmp_path / "a.nii.gz", (4, 3, 2))

    @pytest.mark.parametrize(
        "content", [None, b"", b"\x1f\x8b rest", gzip.compress(b"x")]
    )
    def test_refuses_what_is_missing_or_damaged(self, tmp_path, content):
        if content is not None:
            (tmp_path / "a.nii.gz").write_bytes(content)
        with pytest.raises(OutputError, match="Cannot read"):
            read_own_nifti(tmp_path / "a.nii.gz", (2, 3, 4))
