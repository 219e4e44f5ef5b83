from dataclasses import replace

import nibabel
import numpy as np
import pytest
from evaluation_cases import (
    Case,
    box,
    cohort_of,
    scores_for,
    write_mask,
    write_prediction,
)
from phantoms import affine_of

from spinaldx.evaluation.masks import read_labels, score_masks
from spinaldx.evaluation.overlap import OverlapOptions

OPTIONS = OverlapOptions()
AFFINE = np.diag([2.0, 1.0, 1.0, 1.0])


class World:
    """A truth table and a results folder that grow case by case."""

    def __init__(self, folder):
        self.folder, self.cases = folder, []

    def add(self, name, truth=None, predicted=None, **given):
        case = Case(name, given.pop("diagnosis", "ms"), scores_for(2), **given)
        if truth is not None:
            write_mask(self.folder / f"{name}.nii.gz", truth)
            case.truth["mask"] = f"{name}.nii.gz"
        for series, voxels in (predicted or {}).items():
            write_mask(self.predicted(name, series), voxels)
        self.cases.append(case)
        return case

    def predicted(self, name, series="t2w"):
        return self.folder / "out" / name / series / "lesion_mask.nii.gz"

    def score(self, **options):
        cohort = cohort_of(self.folder, self.cases)
        return score_masks(cohort, OPTIONS, **options)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_one_of_each_needs_no_names(world):
    world.add("a", box(), {"t2w-01": box(start=(2, 5, 6))})
    found = world.score()

    assert found.overlaps[0].overlap.dice == 0.75
    assert found.missing == ()


def test_true_lesions_are_measured(world):
    world.add("a", box() + box(start=(0, 12, 2)), {"t2w": box()})
    lesions = world.score().lesions["a"]

    assert (lesions.lesion_count, lesions.volume_ml, lesions.length_mm) == (
        2,
        0.128,
        8.0,
    )


def test_stations_are_paired_by_name_and_summed(world):
    first = world.add("a", box(), {"lumbar": box(start=(2, 5, 6)), "cervical": box()})
    second = replace(first, truth={})
    write_mask(world.folder / "l.nii.gz", box())
    first.truth |= {"series": "cervical"}
    second.truth |= {"series": "lumbar", "mask": "l.nii.gz"}
    world.cases.append(second)
    found = cohort_and_rows(world)

    assert found.overlaps[0].overlap.common_mm3 == 2 * (32 + 24)


def cohort_and_rows(world):
    cohort = cohort_of(world.folder, world.cases, world.cases[:1])
    return score_masks(cohort, OPTIONS)


def test_stations_without_a_known_name_are_paired_by_their_grid(world):
    first = world.add("a", box(), {"t2w-01": box(shape=(6, 21, 20)), "t2w-02": box()})
    first.truth["series"] = "cervical"
    found = world.score()

    assert found.overlaps[0].overlap.dice == 1.0
    assert found.missing == ("a: series t2w-01 has no true mask, left out.",)


def test_an_image_that_was_not_used_counts_as_empty(world):
    shapes = [(6, 21, 20), (6, 22, 20)]
    world.add("a", box(), {f"s{n}": box(shape) for n, shape in enumerate(shapes)})
    found = world.score()

    assert found.overlaps[0].overlap.dice == 0.0
    assert "a true mask belongs to no series used" in found.missing[0]


def test_other_axis_order_same_patient(world, tmp_path):
    case = world.add("a", None, {"t2w": box()})
    turned = np.flip(box().transpose(2, 0, 1), 1)
    affine = np.zeros((4, 4))
    affine[0, 1], affine[1, 2], affine[2, 0], affine[3, 3] = -2, 1, 1, 1
    affine[0, 3] = 2 * 5
    write_mask(tmp_path / "turned.nii.gz", turned, affine)
    case.truth["mask"] = "turned.nii.gz"
    found = world.score()

    assert found.overlaps[0].overlap.dice == 1.0


def test_oblique_grids_are_recognised(tmp_path):
    affine = affine_of((6, 20, 20), (3.0, 1.0, 1.0), degrees=(4.0, 11.0, -7.0))
    straight = read_labels(write_mask(tmp_path / "a.nii.gz", box(), affine))
    moved = affine.copy()
    moved[:3, 3] += 0.5
    other = read_labels(write_mask(tmp_path / "b.nii.gz", box(), moved))

    assert straight.spacing_mm == pytest.approx((3.0, 1.0, 1.0))
    assert straight.is_on_grid_of(straight)
    assert not straight.is_on_grid_of(other)


class TestProblems:
    def test_other_grid(self, world):
        world.add("a", box((6, 21, 20)), {"t2w": box()})
        found = world.score()

        assert found.overlaps == ()
        assert found.missing == (
            "a: masks not scored: the true mask and the prediction lie on different grids.",
        )

    def test_a_mask_with_voxels_that_are_no_numbers(self, world):
        # It is read as 0: what was drawn there would count as wrongly marked.
        voxels = box().astype(np.float32)
        voxels[2, 5, 5] = np.nan
        world.add("a", box(), {"t2w": box()})
        image = nibabel.Nifti1Image(voxels, AFFINE)
        nibabel.save(image, world.folder / "a.nii.gz")

        found = world.score()

        assert found.overlaps == ()
        assert "a.nii.gz: mask with voxels that are not finite" in found.missing[0]

    def test_missing_and_damaged_masks(self, world):
        world.add("a", box(), {"t2w": box()})
        world.add("b", None, {"t2w": box()}).truth["mask"] = "gone.nii.gz"
        world.add("c", box())
        world.predicted("c").parent.mkdir(parents=True)
        world.predicted("c").write_bytes(b"\x1f\x8b damaged")
        found = world.score()

        assert [item.case for item in found.overlaps] == ["a"]
        assert [text[:18] for text in found.missing] == [
            "b: masks not score", "c: masks not score",
        ]  # fmt: skip

    @pytest.mark.parametrize("origin", ["automatic", "corrected"])
    def test_a_mask_edited_in_the_results_is_no_answer_of_the_program(
        self, world, origin
    ):
        for name in ("a", "b"):
            case = world.add(name, box(), {"t2w": box(start=(2, 5, 6))})
            write_prediction(world.folder / "out", case, origin=origin)
        write_mask(world.predicted("b"), box())

        found = world.score()

        assert [item.case for item in found.overlaps] == ["a"]
        assert found.missing == (
            "b: masks not scored: t2w: lesion_mask.nii.gz was changed after the run.",
        )

    def test_a_mask_put_beside_those_of_the_run_is_not_scored(self, world):
        case = world.add("a", box(), {"t2w": box()})
        write_prediction(world.folder / "out", case)
        write_mask(world.predicted("a", "t2w-2"), box((6, 21, 20)))

        assert "t2w-2: lesion_mask.nii.gz was changed" in world.score().missing[0]

    def test_no_true_masks(self, world):
        world.add("a")

        assert world.score().missing == ("No true masks: segmentation was not scored.",)

    def test_no_predicted_masks(self, world):
        world.add("a", box())
        found = world.score()

        assert (found.overlaps, list(found.lesions)) == ((), ["a"])
        assert found.missing == (
            "No masks in the results: segmentation was not scored.",
        )


class TestWhoCounts:
    def test_a_failed_study_is_an_empty_prediction(self, world):
        world.add("a", box(), {"t2w": box()})
        world.add("f", box(), answer="failed")
        failed = world.score().overlaps[1]

        assert (failed.is_failed, failed.overlap.dice) == (True, 0.0)

    def test_a_healthy_patient_needs_no_mask_file(self, world):
        world.add("a", box(), {"t2w": box()})
        world.add("h", None, {"t2w": box()}, diagnosis="healthy")
        healthy = world.score().overlaps[1]

        assert (healthy.group, healthy.overlap.predicted_mm3) == ("healthy", 64)
        assert (healthy.has_lesion, healthy.overlap.predicted_lesions) == (False, 1)

    def test_progress_counts_patients_with_truth(self, world):
        world.add("a", box(), {"t2w": box()})
        world.add("b")
        calls = []
        world.score(progress=lambda done, total: calls.append((done, total)))

        assert calls == [(1, 1)]
