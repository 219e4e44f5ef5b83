import pytest

from spinaldx.evaluation.estimates import Bootstrap
from spinaldx.evaluation.overlap import Overlap
from spinaldx.evaluation.segmentation import (
    PatientOverlap,
    dice_by_group,
    empty_truth_table,
    patient_table,
    segmentation_table,
)

DRAW = Bootstrap(500)


def overlap(
    truth=1000.0, predicted=1000.0, common=500.0, lesions=(1, 1, 1, 1), hd95=3.0
):
    return Overlap(truth, predicted, common, 5, 10, hd95, *lesions)


def cells(table, row=0):
    names = [column.key for column in table.columns]
    return dict(zip(names, table.rows[row], strict=True))


PATIENTS = (
    PatientOverlap("a", "ms", overlap(common=500)),
    PatientOverlap("b", "ms", overlap(common=1000, lesions=(3, 2, 4, 2), hd95=5.0)),
    PatientOverlap(
        "c", "nmosd", overlap(2000, 0, 0, (1, 0, 0, 0), None), is_failed=True
    ),
    PatientOverlap("d", "healthy", overlap(0, 0, 0, (0, 0, 0, 0), None)),
    PatientOverlap("e", "healthy", overlap(0, 250, 0, (0, 0, 2, 0), None)),
)


class TestWithLesion:
    found = cells(segmentation_table(PATIENTS, DRAW))

    def test_a_failed_study_counts_with_dice_0(self):
        assert (self.found["patients"], self.found["failed"]) == (3, 1)
        assert self.found["dice_mean"].value == pytest.approx((0.5 + 1 + 0) / 3)
        assert self.found["dice_median"].value == 0.5

    def test_hd95_says_of_how_many(self):
        assert (self.found["hd95_mm"].value, self.found["hd95_patients"]) == (4.0, 2)

    def test_volume_error_in_ml_and_percent(self):
        assert self.found["volume_error_ml"].value == pytest.approx(-2 / 3)
        assert self.found["absolute_volume_error"].value == pytest.approx(1 / 3)

    def test_lesions_are_pooled(self):
        sensitivity, precision = (
            self.found["lesion_sensitivity"],
            self.found["lesion_precision"],
        )

        assert (sensitivity.count, sensitivity.total) == (3, 5)
        assert (precision.count, precision.total) == (3, 5)
        assert self.found["lesion_f1"].value == pytest.approx(0.6)

    def test_rows_by_disease_in_the_order_of_every_table(self):
        table = segmentation_table(PATIENTS, DRAW)

        assert [row[1] for row in table.rows] == ["all", "MS", "NMOSD"]

    def test_one_patient_has_no_spread(self):
        only = cells(segmentation_table(PATIENTS[:1], DRAW))

        assert (only["dice_mean"].low, only["dice_sd"].value) == (None, None)
        assert only["dice_sd"].reason == "no standard deviation of one patient"

    def test_nothing_found_gives_f1_0_and_no_precision(self):
        table = segmentation_table([PATIENTS[2], PATIENTS[2]], DRAW)
        found = cells(table)

        assert (found["lesion_f1"].value, found["lesion_precision"].value) == (
            0.0,
            None,
        )
        assert found["hd95_mm"].reason == "no patient with two filled masks"


def test_corrected_masks_stand_apart():
    corrected = PatientOverlap("z", "ms", overlap(), is_corrected=True)
    table = segmentation_table([PATIENTS[0], corrected], DRAW)

    of_all = [row[0] for row in table.rows if row[1] == "all"]
    assert of_all == ["automatic", "corrected", "automatic and corrected"]


def test_failed_studies_stand_with_the_only_kind_of_masks():
    corrected = PatientOverlap("z", "ms", overlap(), is_corrected=True)
    failed = PatientOverlap("f", "ms", overlap(), is_failed=True)
    only = segmentation_table([corrected, failed], DRAW)
    both = segmentation_table([corrected, failed, PATIENTS[0]], DRAW)

    assert [row[:4] for row in only.rows if row[1] == "all"] == [
        ("corrected", "all", 2, 1)
    ]
    assert [row[:4] for row in both.rows if row[1] == "all"] == [
        ("automatic", "all", 2, 1),
        ("corrected", "all", 1, 0),
        ("automatic and corrected", "all", 3, 1),
    ]


class TestEmptyTruth:
    def test_correct_empty_calls_are_visible(self):
        found = cells(empty_truth_table(PATIENTS, DRAW))

        assert (found["correct_empty"].count, found["correct_empty"].total) == (1, 2)
        assert found["false_volume_ml"].value == pytest.approx(0.125)
        assert found["false_lesions"] == 2

    def test_a_failed_study_is_no_correct_empty_call(self):
        failed = PatientOverlap("f", "healthy", Overlap(), is_failed=True)
        found = cells(empty_truth_table([failed], DRAW))

        assert (found["correct_empty"].count, found["failed"]) == (0, 1)
        assert found["false_volume_ml"].reason == "no patient that ran"


def test_patients_are_listed_worst_first():
    table = patient_table(PATIENTS)

    assert [row[0] for row in table.rows] == ["c", "e", "a", "b", "d"]
    assert cells(table, 4)["dice"].reason == "both masks are empty"


def test_dice_of_figures_leaves_healthy_patients_out():
    groups = dice_by_group(PATIENTS)

    assert {name: len(values) for name, values in groups.items()} == {
        "all": 3, "MS": 2, "NMOSD": 1,
    }  # fmt: skip
