from dataclasses import FrozenInstanceError, replace
from itertools import permutations

import numpy as np
import pytest
from phantoms import ORDERS, FakeNetworks, fake_bundle, reordered_volume, volume_of
from phantoms import spine_phantom as spine

from spinaldx.cascade import run_case
from spinaldx.errors import GeometryError
from spinaldx.records import (
    Diagnosis,
    Disease,
    Mask,
    Plane,
    QualityFlag,
    StageResult,
    Task,
    Volume,
    WeightsInfo,
    check_affine,
    stages_on_path,
)


def stage(positive, task=Task.TUMOUR_VS_DEMYELINATION, cut_off=0.5):
    return StageResult(task, positive, cut_off, margin=0.05)


class TestTask:
    def test_positive_classes_are_those_of_the_paper(self):
        assert [task.positive for task in Task] == [
            "demyelination",
            "ependymoma",
            "nmosd",
        ]
        assert [task.negative for task in Task] == ["tumour", "astrocytoma", "ms"]

    def test_every_disease_can_be_answered(self):
        assert {disease.value for disease in Disease} <= {d.value for d in Diagnosis}


class TestStageResult:
    @pytest.mark.parametrize(
        ("positive", "answer"), [(0.5, "demyelination"), (0.499, "tumour")]
    )
    def test_the_cut_off_belongs_to_the_positive_class(self, positive, answer):
        assert stage(positive).answer == answer

    @pytest.mark.parametrize(
        ("positive", "near"), [(0.46, True), (0.54, True), (0.44, False), (0.56, False)]
    )
    def test_the_margin(self, positive, near):
        assert stage(positive).is_near_cut_off is near


class TestStagesOnPath:
    @pytest.mark.parametrize(
        ("first", "second"),
        [(0.2, Task.ASTROCYTOMA_VS_EPENDYMOMA), (0.8, Task.MS_VS_NMOSD)],
    )
    def test_the_first_answer_leads_on(self, first, second):
        stages = [stage(0.9, task) for task in reversed(Task)]
        stages[-1] = stage(first)

        path = stages_on_path(stages)

        assert [item.task for item in path] == [Task.TUMOUR_VS_DEMYELINATION, second]

    def test_no_stage_is_no_path(self):
        assert stages_on_path(()) == ()


class TestCheckAffine:
    @pytest.mark.parametrize(
        ("affine", "fault"),
        [
            (np.eye(3), "4x4"),
            (np.full((4, 4), np.nan), "finite"),
            (np.diag((1.0, 1.0, 1.0, 2.0)), "last row"),
            (np.diag((1.0, 0.0, 1.0, 1.0)), "length zero"),
            (np.ones((4, 4)) - np.diag((0, 0, 0, 0.0)), "last row"),
        ],
    )
    def test_names_the_fault(self, affine, fault):
        with pytest.raises(GeometryError, match=fault):
            check_affine(affine)

    def test_flat_axes_are_refused(self):
        affine = np.eye(4)
        affine[:3, 1] = affine[:3, 0]

        with pytest.raises(GeometryError, match="one plane"):
            check_affine(affine)

    def test_tiny_voxels_are_not_flat(self):
        check_affine(np.diag((1e-3, 1e-3, 1e-3, 1.0)))


class TestVolume:
    def test_spacing_and_voxel_size(self):
        volume = volume_of(np.zeros((3, 4, 5)), (3.0, 0.5, 0.8), degrees=(10, 20, 30))

        assert volume.spacing_mm == pytest.approx((3.0, 0.5, 0.8))
        assert volume.voxel_mm3 == pytest.approx(1.2)

    @pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5, 6), (0, 4, 5)])
    def test_only_three_axes(self, shape):
        with pytest.raises(GeometryError, match="3-D"):
            Volume(np.zeros(shape, np.float32), np.eye(4), "t2w")

    @pytest.mark.parametrize("order", ORDERS[::5])
    def test_the_thick_axis_decides_the_plane(self, order):
        volume = volume_of(np.zeros((3, 8, 9)), (3.0, 1.0, 1.0), degrees=(12, -9, 7))
        stored = reordered_volume(volume, *order)

        assert stored.plane is Plane.SAGITTAL
        assert stored.voxels.shape[stored.slice_axis] == 3

    @pytest.mark.parametrize(
        ("spacing_mm", "plane", "axis"),
        [
            ((1.0, 1.0, 3.0), Plane.CORONAL, 2),
            ((1.0, 3.0, 1.0), Plane.AXIAL, 1),
            ((1.0, 1.0, 1.4), Plane.ISOTROPIC, 0),
        ],
    )
    def test_other_planes(self, spacing_mm, plane, axis):
        volume = volume_of(np.zeros((6, 6, 6)), spacing_mm)

        assert (volume.plane, volume.slice_axis) == (plane, axis)

    @pytest.mark.parametrize("axes", list(permutations(range(3))))
    def test_the_axes_of_a_body(self, axes):
        # Along the source axes: right to left across slices of 4 mm, back to front, feet
        # to head, tilted by ten degrees; then in any order.
        tilt = np.radians(10)
        columns = np.zeros((3, 3))
        columns[:, 0] = (4, 0, 0)
        columns[:, 1] = (0, np.cos(tilt), np.sin(tilt))
        columns[:, 2] = (0, -np.sin(tilt), np.cos(tilt))
        affine = np.eye(4)
        affine[:3, :3] = columns[:, axes]
        volume = Volume(np.zeros((3, 4, 5), np.float32), affine, "axes")

        assert volume.slice_axis == axes.index(0)
        assert volume.depth_axis == axes.index(1)
        assert volume.upright_axis == axes.index(2)

    def test_is_frozen(self):
        with pytest.raises(FrozenInstanceError):
            volume_of(np.zeros((3, 4, 5))).name = "other"


class TestMask:
    @pytest.mark.parametrize(
        "labels", [np.zeros((3, 4), np.uint8), np.zeros((3, 4, 5), np.int16)]
    )
    def test_is_three_axes_of_bytes(self, labels):
        with pytest.raises(GeometryError, match="uint8"):
            Mask(labels, np.eye(4))

    def test_needs_a_place(self):
        with pytest.raises(GeometryError, match="4x4"):
            Mask(np.zeros((3, 4, 5), np.uint8), np.eye(3))


class TestCaseResult:
    def test_flags_come_from_study_images_and_results(self):
        flags = [QualityFlag(code, "Doubt.") for code in ("study", "image", "result")]
        image = replace(spine().volume, flags=(flags[1],))
        result = run_case("ada", [image], FakeNetworks(), fake_bundle())
        (series,) = result.series
        series = replace(series, flags=(flags[2],))

        flagged = replace(result, series=(series,), flags=(flags[0],))

        assert flagged.all_flags == tuple(flags)
        assert flagged.lesions == series.lesions


@pytest.mark.parametrize(
    ("kind", "simulated"), [("simulated", True), ("patients", False)]
)
def test_weights_say_whether_they_saw_a_patient(kind, simulated):
    assert WeightsInfo("w", "1", kind, "").is_simulated is simulated
