"""Real files of others in `../shared/data`: the right volume, or refused by name."""

import shutil
import subprocess
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest

from spinaldx.errors import SpinalDxError, UnsuitableImageError
from spinaldx.records import Volume
from spinaldx.study import find_studies, load_study, scan_study
from spinaldx.study.archive import ImageFile
from spinaldx.study.checks import check_image
from spinaldx.study.dicom_index import quiet
from spinaldx.study.dicom_series import find_stacks
from spinaldx.study.dicom_volume import read_voxels
from spinaldx.study.nifti import read_image

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
AWKWARD = DATA / "dicom_awkward"

pytestmark = pytest.mark.skipif(
    not DATA.exists(), reason="the real images are not on this machine"
)

# Series whose slices make a volume; the pixels of most are noise.
GOOD = {
    "anatomical/001": "anatomical/001_ground_truth",
    "anatomical/001_implicit": "anatomical/001_implicit_ground_truth",
    **{
        f"{name}/001": f"{name}/001_ground_truth"
        for name in [
            "generic/anatomical",
            "generic/compressed",
            "generic/compressed_j2k",
            "generic/compressed_jpeg",
            "generic/compressed_jpegls",
            "generic/compressed_rle",
            "hitachi/anatomical",
            "hyperfine/anatomical",
            "philips_enhanced/anatomical",
            "siemens_multiframe/anatomical",
            "failing/slicecount",
        ]
    },
    "generic/anatomical/001_implicit": "generic/anatomical/001_implicit_ground_truth",
    "generic/anatomical/002_non_isotropic": (
        "generic/anatomical/002_non_isotropic_ground_truth"
    ),
    "hitachi/anatomical/001_implicit": "hitachi/anatomical/001_implicit_ground_truth",
    "philips_enhanced/anatomical/001_implicit": (
        "philips_enhanced/anatomical/001_implicit_ground_truth"
    ),
}
FAULTY = {
    "failing/gantrytilting/001": "gantry tilt",
    "failing/sliceincrement/001": "missing in the middle",
    "failing/sliceincrement/002": "missing in the middle",
    "generic/rgb/001": "colour",
}


def stack_of(folder):
    (source,) = find_studies([folder])
    (stack,) = find_stacks(source.dicom)
    return stack


def canonical(voxels, affine):
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(voxels, affine))
    return np.asarray(image.dataobj), image.affine


def assert_same(one, two):
    (found, affine), (expected, like) = canonical(*one), canonical(*two)
    assert found.shape == expected.shape
    np.testing.assert_allclose(affine, like, atol=1e-3)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", GOOD)
class TestGoodSeries:
    def test_equals_the_nifti_beside_it(self, name):
        stack = stack_of(AWKWARD / name)
        image = nibabel.load(AWKWARD / f"{GOOD[name]}.nii.gz")
        expected = np.asarray(image.dataobj, np.float32).reshape(image.shape[:3])

        voxels, _, _ = read_voxels(stack.slices)

        assert_same((voxels, stack.affine_ras), (expected, image.affine))

    def test_equals_dcm2niix(self, name, tmp_path):
        if shutil.which("dcm2niix") is None:
            pytest.skip("dcm2niix is not installed")
        stack = stack_of(AWKWARD / name)
        # Of Philips the standard's rescale slope, not the private scale.
        scale = "n" if "philips" in name else "y"
        options = ["-p", scale, "-z", "n", "-f", "x", "-o", str(tmp_path)]
        subprocess.run(
            ["dcm2niix", *options, str(AWKWARD / name)], check=True, capture_output=True
        )
        image = nibabel.load(next(tmp_path.glob("*.nii")))

        voxels, _, _ = read_voxels(stack.slices)

        expected = np.asarray(image.dataobj, np.float32).reshape(image.shape[:3])
        assert_same((voxels, stack.affine_ras), (expected, image.affine))

    def test_equals_highdicom(self, name):
        stack = stack_of(AWKWARD / name)
        if len({item.file for item in stack.slices}) == 1:
            pytest.skip("highdicom's series builder takes single frames")
        datasets = [pydicom.dcmread(item.file.path) for item in stack.slices]
        for dataset in datasets:
            # Cut out when the files were made anonymous; highdicom asks for it.
            dataset.FrameOfReferenceUID = "2.25.1"
        with quiet():
            volume = highdicom.get_volume_from_series(datasets)

        voxels, _, _ = read_voxels(stack.slices)

        affine = np.diag([-1, -1, 1, 1]) @ volume.affine
        expected = np.asarray(volume.array, np.float32)
        assert_same((voxels, stack.affine_ras), (expected, affine))


class TestNamedEnds:
    @pytest.mark.parametrize("name", FAULTY)
    def test_faulty_series_say_why(self, name):
        assert FAULTY[name] in stack_of(AWKWARD / name).fault

    @pytest.mark.parametrize("number", range(1, 10))
    def test_mosaics_are_refused_in_every_syntax(self, number):
        folder = DATA / "dicom_transfer_syntaxes" / "In" / f"{number}.dcm"

        with pytest.raises(SpinalDxError, match="mosaic"):
            load_study(find_studies([folder])[0])

    @pytest.mark.parametrize(
        ("name", "word"),
        [
            ("real_t2w/ms_axial", "axial"),
            ("dicom_classic/sagittal_t1_ge", "T1w timing"),
            ("out_of_domain/ct_torso_dicom", "CT"),
            ("out_of_domain/t1w.nii.gz", "T1"),
            ("out_of_domain/sub-9604_run-1_T2starw.nii.gz", "axial"),
            ("out_of_domain/sub-9669_run-1_T2starw.nii.gz", "axial"),
            ("out_of_domain/t1w_seg-manual.nii.gz", "T1"),
        ],
    )
    def test_other_images_do_not_pass(self, name, word):
        with pytest.raises(SpinalDxError, match=word):
            load_study(find_studies([DATA / name])[0])

    @pytest.mark.parametrize(
        "name", ["errsm_11", "errsm_18", "errsm_20", "fake_lesion"]
    )
    def test_real_t2w_spines_pass_without_a_doubt(self, name):
        (volume,) = load_study(find_studies([DATA / "real_t2w" / name])[0])

        assert volume.flags == ()

    def test_no_awkward_folder_ends_otherwise(self):
        for source in find_studies([AWKWARD]):
            try:
                volumes = load_study(source)
            except SpinalDxError:
                continue
            assert any(volume.flags for volume in volumes), source.name


def passes(volume):
    try:
        return not check_image(volume)
    except UnsuitableImageError:
        return False


class TestByImageAlone:
    """What the image checks say when nothing else is known."""

    def test_a_t1w_cord_does_not_pass(self):
        image = read_image(ImageFile(DATA / "out_of_domain" / "t1w.nii.gz"))

        assert not passes(Volume(image.voxels, image.header.affine_ras, "x"))

    def test_a_t1w_head_does_not_pass(self):
        stack = stack_of(DATA / "dicom_classic" / "sagittal_t1_ge")
        voxels, _, _ = read_voxels(stack.slices)

        assert not passes(Volume(voxels, stack.affine_ras, "x"))

    def test_nifti_files_equal_nibabel(self):
        for path in sorted((DATA / "real_t2w").rglob("*.nii.gz")):
            ours, theirs = read_image(ImageFile(path)), nibabel.load(path)

            np.testing.assert_array_equal(
                ours.voxels, theirs.get_fdata(dtype=np.float32)
            )
            np.testing.assert_allclose(ours.header.affine_ras, theirs.affine, atol=1e-6)

    def test_scan_names_what_was_seen(self):
        scan = scan_study(find_studies([DATA / "real_t2w" / "errsm_11"])[0])

        assert [item.name for item in scan.candidates] == ["t2"]
