import shutil

import numpy as np
import pytest
from training_cases import draw_patient, read_table, write_cohort, write_table

from spinaldx.errors import OutputError, TableError
from spinaldx.report.nifti import write_nifti
from spinaldx.training.lint import lint_table
from spinaldx.training.options import Stage
from spinaldx.training.preparation import inspect_row


@pytest.fixture
def table(tmp_path):
    return write_cohort(tmp_path, healthy=1)


def change(table, number, **cells):
    """Change cells of a row, counted as in the table from 2."""
    rows = read_table(table)
    for row in rows:
        row.update({column: row.get(column, "") for column in cells})
    rows[number - 2].update(cells)
    write_table(table, rows)


def faults_of(table, stage=Stage.ALL):
    return lint_table(table, stage, inspect_row).faults


def test_a_good_table_has_no_faults(table):
    lint = lint_table(table, Stage.ALL, inspect_row)

    assert lint.faults == ()
    assert len(lint.patients) == 17
    lint.raise_faults(table)


def test_all_faults_at_once_in_the_order_of_rows(table):
    folder = table.parent
    volume, _, _ = draw_patient("ms", 1)
    empty = np.zeros(volume.voxels.shape, np.uint8)
    write_nifti(folder / "empty_mask.nii.gz", empty, volume.affine_ras)
    write_nifti(folder / "other_mask.nii.gz", empty[:, :60], volume.affine_ras)
    change(table, 2, t2w="gone.nii.gz")
    change(table, 3, mask="other_mask.nii.gz")
    change(table, 4, mask="empty_mask.nii.gz")
    change(table, 5, diagnosis="glioma")
    change(table, 7, t2w="p04_t2w.nii.gz", mask="p04_mask.nii.gz")
    change(table, 8, mask="")

    faults = faults_of(table)

    rows = [fault.partition(":")[0] for fault in faults[:6]]
    assert rows == [
        "row 2, column 't2w'",
        "row 3, column 'mask'",
        "row 4, column 'mask'",
        "row 5, column 'diagnosis'",
        "row 7, column 't2w'",
        "row 8, column 'mask'",
    ]
    assert "same image as row 5" in faults[4]
    assert "no lesion" in faults[2]


def test_faults_are_raised_together_with_exit_code_3(table):
    change(table, 2, t2w="gone.nii.gz")
    change(table, 3, mask="gone.nii.gz")

    with pytest.raises(TableError, match=r"2 faults: row 2.*row 3") as raised:
        lint_table(table, Stage.ALL, inspect_row).raise_faults(table)

    assert raised.value.exit_code == 3


def test_an_axial_image_is_a_fault(table):
    volume, _, _ = draw_patient("ms", 1)
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    turned = np.transpose(volume.voxels, (1, 2, 0))
    write_nifti(table.parent / "axial.nii.gz", turned, affine)
    change(table, 2, t2w="axial.nii.gz", mask="", diagnosis="healthy", cord="")

    assert "row 2, column 't2w': axial: axial slices" in faults_of(table)[0]


def test_voxels_that_are_no_numbers_are_a_fault(table):
    volume, _, _ = draw_patient("astrocytoma", 1)
    volume.voxels[0, 0, :3] = np.nan
    write_nifti(table.parent / "nan.nii.gz", volume.voxels, volume.affine_ras)
    change(table, 2, t2w="nan.nii.gz")

    assert faults_of(table) == ("row 2, column 't2w': some voxels are not numbers",)


def test_a_twin_is_found_however_it_is_packed(table):
    volume, _, _ = draw_patient("astrocytoma", 5)
    write_nifti(table.parent / "twin.nii", volume.voxels, volume.affine_ras)
    change(table, 2, t2w="twin.nii", mask="p05_mask.nii.gz", cord="p05_cord.nii.gz")

    assert faults_of(table) == ("row 6, column 't2w': the same image as row 2",)


def test_a_lesion_in_a_healthy_case_is_a_fault(table):
    change(table, 18, mask="p01_mask.nii.gz")

    assert faults_of(table) == ("row 18, column 'mask': a lesion in a healthy case",)


def test_a_cord_of_another_grid_names_its_column(table):
    empty = np.zeros((5, 64, 60), np.uint8)
    write_nifti(table.parent / "bad_cord.nii.gz", empty, np.eye(4))
    change(table, 2, cord="bad_cord.nii.gz")

    assert faults_of(table)[0].startswith("row 2, column 'cord'")


def test_a_patient_in_two_splits_is_a_fault(table):
    rows = read_table(table)
    for number, row in enumerate(rows):
        row.update(split="validation" if number % 4 == 0 else "train", series="a")
    again = {**rows[1], "series": "b", "split": "validation"}
    volume, _, _ = draw_patient("ependymoma", 99)
    write_nifti(table.parent / "new.nii.gz", volume.voxels, volume.affine_ras)
    write_table(table, [*rows, {**again, "t2w": "new.nii.gz"}])

    faults = faults_of(table, Stage.SEGMENTATION)

    assert "row 19, column 'split': not as in row 3 of this case" in faults


def test_splits_are_for_all_or_none(table):
    change(table, 2, split="train")

    faults = faults_of(table)

    assert "row 3, column 'split': empty, but other rows have one" in faults
    assert "column 'split': no patient in validation" in faults


def test_what_is_validated_must_be_learned(table):
    rows = read_table(table)
    for row in rows:
        row["split"] = "validation" if row["diagnosis"] == "ms" else "train"
    write_table(table, rows)

    assert "column 'split': no ms in train" in faults_of(table)


def test_too_few_patients_of_a_disease(tmp_path):
    table = write_cohort(tmp_path, patients=3)

    faults = faults_of(table)

    assert len(faults) == 4
    assert "3 patients with astrocytoma, at least 4 are needed" in faults[0]
    assert faults_of(table, Stage.SEGMENTATION) == ()


def test_too_few_patients_with_a_lesion(tmp_path):
    rows = read_table(write_cohort(tmp_path, patients=1))
    table = write_table(tmp_path / "cases.csv", rows[3:])

    (fault,) = faults_of(table, Stage.SEGMENTATION)

    assert "1 patients with a lesion" in fault


def test_a_full_disk_is_no_fault_of_the_table(table):
    def fail(_row):
        message = "disk full"
        raise OutputError(message)

    with pytest.raises(OutputError):
        lint_table(table, Stage.ALL, fail)


def test_progress_is_told(table):
    told = []
    lint_table(table, Stage.ALL, inspect_row, lambda *at: told.append(at))

    assert told[-1] == (17, 17)


def test_no_table_at_all(tmp_path):
    with pytest.raises(TableError):
        lint_table(tmp_path / "none.csv", Stage.ALL, inspect_row)


def test_names_of_files_do_not_matter(table):
    shutil.move(table.parent / "p01_t2w.nii.gz", table.parent / "mask_of_p1.nii.gz")
    change(table, 2, t2w="mask_of_p1.nii.gz")

    assert faults_of(table) == ()


def test_healthy_patients_alone_validate_nothing(table):
    rows = read_table(table)
    for row in rows:
        row["split"] = "validation" if row["diagnosis"] == "healthy" else "train"
    rows.append({**rows[-1], "case": "h2", "split": "train"})
    write_table(table, rows)

    faults = faults_of(table, Stage.SEGMENTATION)

    assert "column 'split': no patient with a lesion in validation" in faults


def test_one_patient_of_each_disease_cannot_be_held_out(tmp_path):
    faults = faults_of(write_cohort(tmp_path, patients=1), Stage.SEGMENTATION)

    assert faults == (
        "column 'diagnosis': no disease has two patients, so none can be held out",
    )


def test_masks_that_are_no_lesion_masks(table):
    change(table, 2, mask="p01_t2w.nii.gz")
    change(table, 3, mask="p02_cord.nii.gz")

    faults = faults_of(table)

    assert faults == (
        "row 2, column 'mask': p01_t2w.nii.gz: the mask is the image itself",
        "row 3, column 'mask': p02_cord.nii.gz: the lesion mask is the cord mask",
    )
