import gzip
import hashlib
import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from phantoms import ORDERS, reordered, reordered_volume
from report_cases import case_of

from spinaldx.errors import DeviceMemoryError, OutputError
from spinaldx.records import Diagnosis, Mask, SeriesResult
from spinaldx.report import WriteOptions, read_case, write_case, write_failure

NO_PDF = WriteOptions(report=False)


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def turned(result, order, flips):
    """Store the only series of a result in another axis order."""
    (item,) = result.series
    volume = reordered_volume(item.volume, order, flips)
    labels = reordered(item.mask.labels, order, flips)
    mask = Mask(labels, volume.affine_ras, item.mask.origin)
    heatmaps = tuple(
        replace(h, values=reordered(h.values, order, flips)) for h in item.heatmaps
    )
    series = SeriesResult(volume, mask, item.lesions, heatmaps)
    return replace(result, series=(series,))


class TestWriteCase:
    def test_writes_what_the_design_lists(self, tmp_path):
        write_case(case_of(series=("a", "b")), tmp_path / "s")

        assert set(files_of(tmp_path)) == {
            "s/prediction.json",
            "s/report.pdf",
            "s/figures/key_image.png",
            "s/figures/gradcam.png",
            "s/figures/lesion_slices.png",
            *(
                f"s/{name}/{file}.nii.gz"
                for name in "ab"
                for file in (
                    "t2w",
                    "lesion_mask",
                    "heatmap",
                    "heatmap_tumour_vs_demyelination",
                )
            ),
        }

    def test_no_lesion_has_an_empty_mask_and_a_picture(self, tmp_path):
        write_case(case_of(diagnosis=Diagnosis.NO_LESION), tmp_path)
        mask = nibabel.load(tmp_path / "t2w" / "lesion_mask.nii.gz")

        assert not np.asanyarray(mask.dataobj).any()
        assert set(files_of(tmp_path)) == {
            "prediction.json",
            "report.pdf",
            "figures/key_image.png",
            "t2w/t2w.nii.gz",
            "t2w/lesion_mask.nii.gz",
        }

    @pytest.mark.parametrize(("order", "flips"), ORDERS[::7])
    def test_the_mask_lies_on_the_grid_of_the_source(self, tmp_path, order, flips):
        result = turned(case_of(degrees=(8.0, -5.0, 11.0)), order, flips)
        write_case(result, tmp_path, NO_PDF)
        mask = nibabel.load(tmp_path / "t2w" / "lesion_mask.nii.gz")
        (item,) = result.series

        assert mask.get_data_dtype() == np.uint8
        assert np.array_equal(np.asanyarray(mask.dataobj), item.mask.labels)
        assert np.abs(mask.affine - item.volume.affine_ras).max() < 1e-4

    def test_the_image_is_kept_for_dicom_and_bit_for_bit(self, tmp_path):
        result = case_of()
        write_case(result, tmp_path, NO_PDF)
        image = nibabel.load(tmp_path / "t2w" / "t2w.nii.gz")

        assert np.array_equal(image.get_fdata(), result.series[0].volume.voxels)

    def test_a_nifti_image_is_not_copied(self, tmp_path):
        write_case(case_of(source_format="nifti"), tmp_path, NO_PDF)

        assert not (tmp_path / "t2w" / "t2w.nii.gz").exists()
        assert read_case(tmp_path).series[0].source_name == "t2w.nii.gz"

    def test_probabilities_are_kept_on_request(self, tmp_path):
        result = case_of()
        write_case(result, tmp_path, WriteOptions(report=False, probabilities=True))
        kept = nibabel.load(tmp_path / "t2w" / "lesion_probability.nii.gz")

        assert np.array_equal(
            np.asanyarray(kept.dataobj), result.series[0].lesion_probability
        )

    def test_a_persons_mask_has_no_probabilities_to_keep(self, tmp_path):
        result = case_of()
        bare = replace(result.series[0], lesion_probability=None)
        options = WriteOptions(report=False, probabilities=True)
        write_case(replace(result, series=(bare,)), tmp_path, options)

        assert not (tmp_path / "t2w" / "lesion_probability.nii.gz").exists()

    def test_heatmaps_are_those_of_the_first_and_the_last_decision(self, tmp_path):
        result = case_of(diagnosis=Diagnosis.EPENDYMOMA)
        write_case(result, tmp_path, NO_PDF)
        for file, heatmap in zip(
            ("heatmap_tumour_vs_demyelination.nii.gz", "heatmap.nii.gz"),
            result.series[0].heatmaps,
            strict=True,
        ):
            read = np.asanyarray(nibabel.load(tmp_path / "t2w" / file).dataobj)

            assert np.array_equal(read, heatmap.values, equal_nan=True)

    def test_hashes_are_those_of_the_files(self, tmp_path):
        write_case(case_of(), tmp_path, NO_PDF)
        mask = (tmp_path / "t2w" / "lesion_mask.nii.gz").read_bytes()

        stored = read_case(tmp_path).series[0]
        assert stored.mask_sha256 == hashlib.sha256(mask).hexdigest()

    def test_shares_of_the_heat_sum_to_one(self, tmp_path):
        write_case(case_of(cell_mm=4.0), tmp_path, NO_PDF)
        for heatmap in read_case(tmp_path).series[0].heatmaps:
            assert set(heatmap.shares) == {"lesion", "ring", "elsewhere"}
            assert sum(heatmap.shares.values()) == pytest.approx(1, abs=2e-6)

    def test_same_result_same_bytes(self, tmp_path):
        for name in ("a", "b"):
            write_case(case_of(series=("x", "y")), tmp_path / name)

        assert files_of(tmp_path / "a") == files_of(tmp_path / "b")

    def test_no_time_and_no_path_in_the_json(self, tmp_path):
        write_case(case_of(), tmp_path, NO_PDF)
        text = (tmp_path / "prediction.json").read_text()

        assert str(tmp_path) not in text
        assert "NaN" not in text
        assert "2026" not in text

    def test_an_unwritable_place_is_a_named_error(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError):
            write_case(case_of(), tmp_path / "file", NO_PDF)

    def test_a_gzip_header_names_no_file_and_no_time(self, tmp_path):
        write_case(case_of(), tmp_path, NO_PDF)
        for path in tmp_path.rglob("*.nii.gz"):
            assert path.read_bytes()[3:8] == bytes(5)
            gzip.decompress(path.read_bytes())


def test_write_failure_holds_the_resume_key(tmp_path):
    error = DeviceMemoryError("Out of memory.", hint="Take cpu.")
    write_failure("a", error, tmp_path, resume_key="k")
    record = json.loads((tmp_path / "failure.json").read_text())

    assert (record["resume_key"], record["error"]) == ("k", "DeviceMemoryError")
    assert record["study"] == "a"
