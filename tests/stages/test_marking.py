from dataclasses import replace

import numpy as np
import pytest

from spinaldx.errors import GeometryError
from spinaldx.grid import CropSpec
from spinaldx.records import Volume
from spinaldx.stages import marking as marking_module
from spinaldx.stages.lesions import LesionOptions
from spinaldx.stages.marking import crop_inputs, find_cord, mark_lesions
from spinaldx.stages.segmentation import Segmentation

# Nine sagittal slices of 3 mm, 33 columns and 64 rows of 1 mm.
SHAPE = (9, 33, 64)
AFFINE = np.diag([3.0, 1.0, 1.0, 1.0])
VOLUME = Volume(np.zeros(SHAPE, np.float32), AFFINE, "marked")


def boxes(*corners):
    probability = np.zeros(SHAPE, np.float32)
    for corner in corners:
        probability[tuple(slice(*ends) for ends in corner)] = 0.9
    return probability


CORD = ((3, 5), (12, 19), (2, 62))
LESION = ((3, 4), (13, 18), (20, 30))
LONG = ((3, 4), (13, 18), (12, 47))
FLUID = ((7, 9), (12, 19), (2, 62))


class TestMarkLesions:
    def test_a_lesion_in_the_cord_and_not_the_fluid_beside_it(self):
        found = Segmentation(boxes(LESION, FLUID), boxes(CORD, FLUID))
        marking = mark_lesions(found, VOLUME, LesionOptions())

        np.testing.assert_array_equal(marking.mask.labels, boxes(LESION) > 0)
        np.testing.assert_array_equal(marking.cord.voxels, boxes(CORD) > 0)
        # The fluid never was on the cord.
        assert marking.left_out == 0

    def test_a_cord_that_is_known_is_not_looked_for(self, monkeypatch):
        found = Segmentation(boxes(LESION, FLUID), boxes(CORD, FLUID))
        expected = mark_lesions(found, VOLUME, LesionOptions())
        monkeypatch.setattr(marking_module, "find_cord", None)

        marking = mark_lesions(found, VOLUME, LesionOptions(), cord=expected.cord)

        assert marking.cord is expected.cord
        np.testing.assert_array_equal(marking.mask.labels, expected.mask.labels)

    def test_the_cord_is_that_of_find_cord(self):
        found = Segmentation(boxes(LESION, FLUID), boxes(CORD, FLUID))
        marking = mark_lesions(found, VOLUME, LesionOptions())

        np.testing.assert_array_equal(
            marking.cord.voxels, find_cord(found, VOLUME).voxels
        )

    def test_without_a_cord_output_lesions_are_kept_anywhere(self):
        found = Segmentation(boxes(LESION, FLUID), None)
        marking = mark_lesions(found, VOLUME, LesionOptions())

        assert marking.cord is None
        assert marking.mask.labels.max() == 2

    def test_nothing_in_nothing_out(self):
        marking = mark_lesions(Segmentation(boxes(), boxes()), VOLUME, LesionOptions())

        assert not marking.mask.labels.any()
        assert not marking.cord.voxels.any()

    def test_other_shapes_are_refused(self):
        small = np.ones((2, 2, 2), np.float32)
        found = Segmentation(small, small)
        with pytest.raises(GeometryError):
            mark_lesions(found, VOLUME, LesionOptions())


class TestFaintMarks:
    """Cord at 100 in fluid of 300, a mark of a given brightness in it."""

    def marked(self, ratio, *, thick=False, **options):
        cord = boxes(CORD)
        voxels = np.full(SHAPE, 300.0, np.float32)
        if thick:
            cord[3:5, 10:21, 20:30] = 0.9
        voxels[cord > 0] = 100.0
        voxels[boxes(LESION) > 0] = 100.0 * ratio
        scan = Volume(voxels, VOLUME.affine_ras, "faint")
        found = Segmentation(boxes(LESION), cord)
        return mark_lesions(found, scan, LesionOptions(**options)).mask

    @pytest.mark.parametrize(
        ("ratio", "kept"), [(1.0, 0), (1.1, 0), (1.2, 0), (1.3, 1), (3, 1)]
    )
    def test_what_is_hardly_brighter_than_the_cord_is_no_lesion(self, ratio, kept):
        assert self.marked(ratio).labels.max() == kept

    def test_but_for_one_that_swells_the_cord(self):
        # 11 columns and 7.
        assert self.marked(1.0, thick=True).labels.max() == 1

    def test_or_when_nobody_asks(self):
        assert self.marked(1.0, min_contrast=0.0).labels.max() == 1
        assert self.marked(1.0, needs_cord=False).labels.max() == 1

    def test_the_others_are_numbered_again(self):
        cord = boxes(CORD)
        second = ((3, 4), (13, 18), (40, 50))
        voxels = np.full(SHAPE, 100.0, np.float32)
        voxels[boxes(LESION) > 0] = 150.0
        scan = Volume(voxels, VOLUME.affine_ras, "two")
        found = Segmentation(boxes(LESION, second), cord)
        marking = mark_lesions(found, scan, LesionOptions())

        np.testing.assert_array_equal(marking.mask.labels, boxes(LESION) > 0)
        assert marking.left_out == 1


class TestShadedCord:
    """A coil makes the cord's lower end 3.3 times as bright as its upper one."""

    SHADE = np.exp(-0.02 * np.arange(SHAPE[2]))

    def marked(self, *lesions, ratio=1.5, mark=None):
        cord = boxes(CORD)
        voxels = np.full(SHAPE, 300.0, np.float32)
        voxels[cord > 0] = 100.0
        voxels[boxes(*lesions) > 0] = 100.0 * ratio
        scan = Volume((voxels * self.SHADE).astype(np.float32), VOLUME.affine_ras, "s")
        found = Segmentation(boxes(*(mark or lesions)), cord)
        return mark_lesions(found, scan, LesionOptions())

    # Rows 40 to 60 are less than half as bright as rows 0 to 20.
    FILLING = ((3, 5), (12, 19), (34, 54))

    def test_a_lesion_at_the_dim_end_is_brighter_than_its_cord(self):
        assert self.marked(self.FILLING).mask.labels.max() == 1

    def test_and_what_is_no_brighter_is_still_left_out(self):
        marking = self.marked(self.FILLING, ratio=1.1)

        assert not marking.mask.labels.any()
        assert marking.left_out == 1

    def test_of_a_mark_that_runs_on_the_lesion_is_kept(self):
        lesion = ((3, 4), (13, 18), (34, 50))
        running_on = ((3, 4), (13, 18), (12, 50))
        marking = self.marked(lesion, mark=[running_on])
        rows = np.flatnonzero(marking.mask.labels.any(axis=(0, 1)))

        assert rows[0] == pytest.approx(34, abs=1)
        assert rows[-1] == 49
        assert marking.left_out == 0

    def test_a_cord_full_of_lesion_is_not_cut_whatever_its_units(self):
        # Intensities about 1, so that raw ones would pass for contrasts.
        cord = boxes(CORD)
        shade = np.where(np.arange(SHAPE[2]) < 40, 1.0, 2.0)
        scan = Volume(
            (np.ones(SHAPE) * shade).astype(np.float32), VOLUME.affine_ras, "full"
        )
        marking = mark_lesions(Segmentation(cord, cord), scan, LesionOptions())

        np.testing.assert_array_equal(marking.mask.labels > 0, cord > 0)

    @pytest.mark.parametrize(("ratio", "kept"), [(1.27, 0), (1.4, 1)])
    def test_what_is_cut_from_a_mark_must_be_clearer(self, ratio, kept):
        lesion = ((3, 4), (13, 18), (34, 50))
        running_on = ((3, 4), (13, 18), (12, 50))

        assert self.marked(lesion, ratio=ratio).mask.labels.max() == 1
        cut = self.marked(lesion, ratio=ratio, mark=[running_on])
        assert cut.mask.labels.max() == kept


class TestLateralMarks:
    """A cord five slices wide; marks in slices that graze it are fluid, too often."""

    def labels(self, *lesions, **options):
        sides = ((1, 3), (13, 18), (2, 62)), ((6, 8), (13, 18), (2, 62))
        cord = boxes(((3, 6), (11, 20), (2, 62)), *sides)
        found = Segmentation(boxes(*lesions), cord)
        return mark_lesions(found, VOLUME, LesionOptions(**options)).mask.labels

    def test_what_lies_at_the_side_alone_is_left_out(self):
        side, middle = ((2, 3), (13, 18), (10, 20)), ((4, 5), (13, 18), (40, 50))

        labels = self.labels(side, middle, most_lateral=0.7)
        np.testing.assert_array_equal(labels, boxes(middle) > 0)

    def test_a_lesion_of_the_middle_keeps_its_sides(self):
        wide = ((2, 6), (13, 18), (10, 20))

        np.testing.assert_array_equal(self.labels(wide), boxes(wide) > 0)

    def test_or_when_nobody_asks(self):
        side = ((2, 3), (13, 18), (10, 20))

        assert self.labels(side, most_lateral=9.0).any()
        assert self.labels(side, needs_cord=False).any()


class TestMarksBesideTheCord:
    """Fluid below the cord that was taken for cord by little."""

    LESION, SAC = ((3, 5), (13, 18), (40, 50)), ((3, 5), (13, 18), (5, 15))

    def mark(self, cord_probability, surest=1.0, sac=SAC, **options):
        cord = np.where(boxes(CORD) > 0, surest, 0).astype(np.float32)
        cord[tuple(slice(*ends) for ends in sac)] = cord_probability
        found = Segmentation(boxes(self.LESION, sac), cord)
        return mark_lesions(found, VOLUME, LesionOptions(**options))

    def test_what_the_network_hardly_holds_for_cord_is_left_out_and_counted(self):
        marking = self.mark(0.8)

        np.testing.assert_array_equal(marking.mask.labels, boxes(self.LESION) > 0)
        assert marking.left_out == 1

    def test_and_where_the_sac_is_most_of_what_was_taken_for_cord(self):
        marking = self.mark(0.8, sac=((3, 5), (12, 19), (2, 36)))

        np.testing.assert_array_equal(marking.mask.labels, boxes(self.LESION) > 0)

    @pytest.mark.parametrize(
        ("cord_probability", "options"),
        [(0.86, {}), (0.8, {"least_cord": 0.79}), (0.6, {"surest": 0.7})],
    )
    def test_else_it_stays(self, cord_probability, options):
        marking = self.mark(cord_probability, **options)

        expected = boxes(self.LESION, self.SAC) > 0
        np.testing.assert_array_equal(marking.mask.labels > 0, expected)
        assert marking.left_out == 0


class TestExtent:
    """A lesion of 200 in a cord of 100; the network is sure of its middle alone."""

    def marked(self, **options):
        cord, lesion = boxes(CORD), boxes(LONG)
        longer = ((3, 4), (13, 18), (8, 52))
        lesion[(lesion == 0) & (boxes(longer) > 0)] = 0.2
        voxels = np.full(SHAPE, 300.0, np.float32)
        voxels[cord > 0] = 100.0
        voxels[boxes(longer) > 0] = 200.0
        scan = Volume(voxels, VOLUME.affine_ras, "grown")
        found = Segmentation(lesion, cord)
        return mark_lesions(found, scan, LesionOptions(**options)).mask, longer

    def test_a_lesion_reaches_as_far_as_it_is_bright(self):
        mask, longer = self.marked()

        np.testing.assert_array_equal(mask.labels, boxes(longer) > 0)

    def test_unless_it_is_not_wanted(self):
        mask, _ = self.marked(grows=False)

        np.testing.assert_array_equal(mask.labels, boxes(LONG) > 0)

    def test_an_end_that_has_faded_more_than_half_way_is_cut_off(self):
        # 200 in a cord of 100; the network marks on where it has faded to 130.
        cord = boxes(CORD)
        faded, bright = ((3, 4), (13, 18), (12, 22)), ((3, 4), (13, 18), (22, 47))
        voxels = np.full(SHAPE, 300.0, np.float32)
        voxels[cord > 0] = 100.0
        voxels[boxes(faded) > 0] = 130.0
        voxels[boxes(bright) > 0] = 200.0
        scan = Volume(voxels, VOLUME.affine_ras, "faded")
        found = Segmentation(boxes(LONG), cord)
        rows = [
            np.flatnonzero(
                mark_lesions(found, scan, LesionOptions(grows=grows)).mask.labels.any(
                    axis=(0, 1)
                )
            )[0]
            for grows in (True, False)
        ]

        # 525 mm3: large enough. The median of 4 mm is bright from a row before.
        assert rows[0] == pytest.approx(22, abs=2)
        assert rows[1] == 12

    def test_the_next_slice_that_shows_a_part_of_it_is_taken_away(self):
        # 200 in a cord of 100, a part of it in the next slice: 130, and marked too.
        cord = boxes(CORD)
        bright, partly = LONG, ((4, 5), (13, 18), (20, 40))
        voxels = np.full(SHAPE, 300.0, np.float32)
        voxels[cord > 0] = 100.0
        voxels[boxes(bright) > 0] = 200.0
        voxels[boxes(partly) > 0] = 130.0
        scan = Volume(voxels, VOLUME.affine_ras, "partly")
        found = Segmentation(np.maximum(boxes(bright), boxes(partly)), cord)
        mask, whole = (
            mark_lesions(found, scan, LesionOptions(grows=grows)).mask.labels > 0
            for grows in (True, False)
        )

        assert whole[4].any()
        np.testing.assert_array_equal(mask, boxes(bright) > 0)


class TestIslands:
    """Three sure voxels, 9 mm3, in 150 mm3 that the network holds possible."""

    SURE = ((3, 4), (15, 16), (24, 27))

    def marking(self, ratio=1.5, *, shade=0.0, island=LESION, share=1.0, **options):
        lesion = np.maximum(boxes(island) / 3, boxes(self.SURE))
        cord, voxels = boxes(CORD), np.full(SHAPE, 300.0, np.float32)
        voxels[cord > 0] = 100.0
        voxels[boxes(island) > 0] = 100.0 * ratio
        voxels *= np.exp(shade * np.arange(SHAPE[2])).astype(np.float32)
        cord[boxes(island) > 0] *= share
        scan = Volume(voxels, VOLUME.affine_ras, "island")
        return mark_lesions(Segmentation(lesion, cord), scan, LesionOptions(**options))

    def test_what_is_clearly_brighter_is_marked(self):
        marking = self.marking()

        np.testing.assert_array_equal(marking.mask.labels, boxes(LESION) > 0)
        assert marking.left_out == 0

    @pytest.mark.parametrize(("ratio", "count"), [(1.34, 0), (1.36, 1)])
    def test_what_is_not_is_left(self, ratio, count):
        assert self.marking(ratio).mask.labels.max() == count

    def test_or_when_nobody_asks(self):
        assert not self.marking(clear_contrast=0.0).mask.labels.any()

    def test_what_only_a_coil_makes_brighter_is_left(self):
        # The cord's upper end is brighter, and so is the part of it held possible.
        upper = ((3, 4), (13, 18), (20, 60))
        assert self.marking(1.2, shade=0.03, island=upper).mask.labels.max() == 0
        assert self.marking(1.5, shade=0.03, island=upper).mask.labels.max() == 1

    @pytest.mark.parametrize(("share", "count"), [(0.92, 0), (0.94, 1)])
    def test_what_the_network_hardly_holds_for_cord_is_left(self, share, count):
        assert self.marking(share=share).mask.labels.max() == count

    def test_what_grazes_the_cord_is_left(self):
        # Slices 2 to 5 show the cord; 3 lies a quarter of its half width from the middle,
        # 5 three quarters.
        aside = [((place, place + 1), *LESION[1:]) for place in (3, 5)]
        cord = boxes(((2, 6), *CORD[1:]))
        voxels = np.where(cord > 0, 100.0, 300.0).astype(np.float32)
        found = []
        for island in aside:
            seed = (island[0], *self.SURE[1:])
            lesion = np.maximum(boxes(island) / 3, boxes(seed))
            scan = Volume(
                np.where(lesion > 0, 150.0, voxels).astype(np.float32),
                VOLUME.affine_ras,
                "grazing",
            )
            marking = mark_lesions(Segmentation(lesion, cord), scan, LesionOptions())
            found.append(int(marking.mask.labels.max()))

        assert found == [1, 0]

    def test_the_other_lesions_stay_and_all_are_numbered(self):
        other = ((3, 4), (13, 18), (45, 55))
        lesion = np.maximum(boxes(LESION) / 3, boxes(self.SURE, other))
        cord = boxes(CORD)
        voxels = np.where(cord > 0, 100.0, 300.0).astype(np.float32)
        # The other one is too faint for an island, and bright enough for a mark.
        voxels[boxes(LESION) > 0], voxels[boxes(other) > 0] = 150.0, 130.0
        scan = Volume(voxels, VOLUME.affine_ras, "two")
        marking = mark_lesions(Segmentation(lesion, cord), scan, LesionOptions())

        expected = 2 * (boxes(LESION) > 0) + (boxes(other) > 0)
        np.testing.assert_array_equal(marking.mask.labels, expected)

    def test_marks_that_fill_the_numbers_stay_alone(self):
        # 255 marks of 6 mm3 and, below them, what is possible and no brighter than the
        # cord: it would be the last lesion, and put out the smallest mark.
        shape = (9, 33, 300)
        cord, sure, possible = (np.zeros(shape, np.float32) for _ in range(3))
        cord[3:5, 12:19, 2:290] = 1.0
        sure[3, 13:18:2, 20:275] = 1.0
        sure[..., 22::3] = 0.0
        possible[3, 13:18, 5:12] = 1.0
        lesion = np.maximum(0.9 * sure, 0.3 * possible)
        lesion[3, 15, 8] = 0.9
        scan = Volume(
            np.where(cord > 0, 100.0, 300.0).astype(np.float32), AFFINE, "all"
        )
        options = LesionOptions(min_volume_mm3=6.0, min_contrast=0.0, grows=False)
        marking = mark_lesions(Segmentation(lesion, cord), scan, options)

        assert marking.mask.labels.max() == 255
        np.testing.assert_array_equal(marking.mask.labels > 0, sure > 0)

    def test_a_mark_left_out_comes_back_with_what_is_round_it(self):
        # 8 rows as bright as the cord are sure, the 27 round them bright and possible.
        dark, whole = ((3, 4), (13, 18), (20, 28)), ((3, 4), (13, 18), (20, 55))
        lesion = np.maximum(boxes(whole) / 3, boxes(dark))
        cord = boxes(CORD)
        voxels = np.where(cord > 0, 100.0, 300.0).astype(np.float32)
        voxels[boxes(whole) > 0], voxels[boxes(dark) > 0] = 150.0, 100.0
        scan = Volume(voxels, VOLUME.affine_ras, "back")
        found = Segmentation(lesion, cord)
        without = mark_lesions(found, scan, LesionOptions(clear_contrast=0.0))
        marking = mark_lesions(found, scan, LesionOptions())

        assert (without.mask.labels.max(), without.left_out) == (0, 1)
        assert (marking.mask.labels.max(), marking.left_out) == (1, 0)


TOLD = CropSpec(channels=("t2w", "contrast", "eccentricity", "cord_share"))


class TestCropInputs:
    def test_the_contrast_is_that_of_lesion_to_cord(self):
        voxels = 1.0 + 0.7 * (boxes(LESION) > 0)
        volume = replace(VOLUME, voxels=voxels.astype(np.float32))
        found = Segmentation(boxes(LESION), boxes(CORD))
        labels = (boxes(LESION) > 0).astype(np.uint8)

        inputs = crop_inputs(volume, labels, found, find_cord(found, volume), TOLD)

        assert inputs.contrast == pytest.approx(1.7, rel=1e-3)
        assert inputs.cord is found.cord_probability
        assert inputs.lesion is labels

    def test_eccentricity_and_share_are_those_of_the_lesion_in_the_cord(self):
        found = Segmentation(boxes(LESION), boxes(CORD))
        cord = find_cord(found, VOLUME)
        # Of the cord's columns 12 to 18 the last two: 2.5 behind the middle.
        back = (boxes(((3, 5), (17, 19), (20, 30))) > 0).astype(np.uint8)

        inputs = crop_inputs(VOLUME, back, found, cord, TOLD)

        assert inputs.eccentricity == pytest.approx(2.5 / 3.5, rel=0.02)
        assert inputs.cord_share == pytest.approx(2 / 7)

    def test_without_a_cord_they_are_unknown(self):
        labels = (boxes(LESION) > 0).astype(np.uint8)

        inputs = crop_inputs(VOLUME, labels, None, None, TOLD)

        assert inputs.contrast is None
        assert inputs.eccentricity is None
        assert inputs.cord_share is None

    def test_nor_are_they_worked_out_where_no_channel_shows_them(self, monkeypatch):
        monkeypatch.setattr(marking_module, "lesion_brightness", None)
        monkeypatch.setattr(marking_module, "lesion_eccentricity", None)
        monkeypatch.setattr(marking_module, "lesion_cord_share", None)
        found = Segmentation(boxes(LESION), boxes(CORD))
        labels = (boxes(LESION) > 0).astype(np.uint8)
        cord = find_cord(found, VOLUME)

        inputs = crop_inputs(VOLUME, labels, found, cord, CropSpec())

        assert inputs.contrast is None


class TestFluid:
    """A lesion of 150 in a cord of 100, and marked fluid of 300 in a grazing slice.

    Slices of 2 mm: the outer one lies 4 mm from the cord's middle.
    """

    CORD = ((3, 6), (12, 19), (2, 62))
    INNER, OUTER = ((3, 6), (13, 18), (20, 40)), ((6, 7), (13, 18), (20, 40))

    def marked(self, outer, **options):
        cord, lesion = boxes(self.CORD), boxes(self.INNER, self.OUTER)
        voxels = np.full(SHAPE, 300.0, np.float32)
        voxels[cord > 0] = 100.0
        voxels[boxes(self.INNER) > 0] = 150.0
        voxels[boxes(self.OUTER) > 0] = outer
        scan = Volume(voxels, np.diag([2.0, 1.0, 1.0, 1.0]), "fluid")
        found = Segmentation(lesion, cord)
        return mark_lesions(found, scan, LesionOptions(**options)).mask.labels > 0

    def test_what_is_brighter_than_the_lesion_is_taken_away(self):
        np.testing.assert_array_equal(self.marked(300.0), boxes(self.INNER) > 0)

    def test_what_is_as_bright_stays(self):
        expected = boxes(self.INNER, self.OUTER) > 0

        np.testing.assert_array_equal(self.marked(150.0), expected)

    def test_or_when_nobody_asks(self):
        assert self.marked(300.0, grows=False)[6].any()

    def test_what_lies_far_from_the_cord_changes_nothing(self):
        cord = boxes(self.CORD)
        lesion = boxes(self.INNER, self.OUTER, ((3, 6), (13, 18), (50, 56)))
        rng = np.random.default_rng(0)
        voxels = np.where(cord > 0, 100.0, 300.0) + rng.uniform(0, 5, SHAPE)
        voxels[lesion > 0] += 60.0
        found = []
        for pad in (0, 25):
            affine = np.diag([2.0, 1.0, 1.0, 1.0])
            affine[:3, 3] = -pad * np.diag(affine)[:3]
            arrays = [np.pad(one, pad) for one in (lesion, cord)]
            scan = Volume(np.pad(voxels, pad).astype(np.float32), affine, "wide")
            marking = mark_lesions(Segmentation(*arrays), scan, LesionOptions())
            inner = (slice(pad, -pad or None),) * 3
            found.append(marking.mask.labels[inner])
            assert (marking.mask.labels > 0).sum() == (found[-1] > 0).sum()
            assert marking.mask.labels.shape == scan.voxels.shape
            np.testing.assert_array_equal(marking.mask.affine_ras, affine)

        assert found[0].max() == 2
        np.testing.assert_array_equal(found[1], found[0])
