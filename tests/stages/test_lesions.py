from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import (
    ORDERS,
    centroid_ras,
    cylinder,
    reordered,
    reordered_volume,
    spine_phantom,
    volume_of,
)

from spinaldx.errors import GeometryError, StudyError
from spinaldx.records import Lesion, Mask, MaskOrigin
from spinaldx.stages.lesions import (
    LesionOptions,
    double_flags,
    keep_lesions,
    lesion_flags,
    measure_lesions,
    number_lesions,
)

SHAPE = (5, 64, 32)
ANY_SIZE = LesionOptions(min_volume_mm3=0.0)


def boxes(*corners, shape=SHAPE, value=0.9):
    """Probability map with boxes given as (slices, rows, columns) spans."""
    probability = np.zeros(shape, np.float32)
    for corner in corners:
        probability[tuple(slice(*span) for span in corner)] = value
    return probability


def dots(count):
    """Probability map with so many voxels that do not touch, inside the image."""
    probability = np.zeros(SHAPE, np.float32)
    probability[1:4:2, 1:-1:2, 1:-1:2] = 0.9
    probability[np.cumsum(probability > 0).reshape(SHAPE) > count] = 0
    return probability


def blank(shape=SHAPE, spacing_mm=(3.0, 1.0, 1.0)):
    return volume_of(np.zeros(shape), spacing_mm)


def kept(probability, options=ANY_SIZE, cord=None):
    return keep_lesions(probability, blank(probability.shape), options, cord=cord)


class TestKeepLesions:
    def test_marks_from_the_threshold_on(self):
        probability = boxes(((1, 2), (5, 6), (5, 6)), value=0.5)

        assert kept(probability).labels.sum() == 1
        assert kept(np.nextafter(probability, 0)).labels.sum() == 0

    @pytest.mark.parametrize(("smallest_mm3", "count"), [(36.0, 1), (36.1, 0)])
    def test_leaves_out_what_is_too_small(self, smallest_mm3, count):
        # 1 x 4 x 3 voxels of 3 mm3 are 36 mm3.
        probability = boxes(((1, 2), (5, 9), (5, 8)))

        mask = kept(probability, LesionOptions(min_volume_mm3=smallest_mm3))

        assert mask.labels.max() == count

    def test_corners_join(self):
        mask = kept(boxes(((1, 2), (5, 8), (5, 8)), ((2, 3), (8, 10), (8, 10))))

        assert mask.labels.max() == 1

    def test_numbers_run_from_head_to_foot(self):
        mask = kept(boxes(((3, 4), (40, 43), (5, 8)), ((1, 2), (5, 8), (5, 8))))

        assert mask.labels[1, 6, 6] == 1
        assert mask.labels[3, 41, 6] == 2

    def test_every_order_numbers_the_same(self):
        probability = boxes(
            ((3, 4), (40, 43), (5, 8)),
            ((1, 2), (5, 8), (5, 8)),
            ((1, 2), (5, 8), (20, 23)),
        )
        volume = volume_of(np.zeros(SHAPE), (3.3, 0.8, 0.7), degrees=(8, -12, 5))
        expected = keep_lesions(probability, volume, ANY_SIZE).labels

        for order in ORDERS:
            stored = keep_lesions(
                reordered(probability, *order),
                reordered_volume(volume, *order),
                ANY_SIZE,
            )

            assert np.array_equal(stored.labels, reordered(expected, *order))

    def test_keeps_the_255_largest(self):
        probability = np.zeros((3, 90, 90), np.float32)
        probability[1, ::5, ::5] = 0.9
        probability[1, 81:83, 80] = 0.9

        mask = kept(probability)

        assert len(np.unique(mask.labels)) == 256
        assert mask.labels[1, 82, 80] > 0

    def test_nothing_above_the_threshold_is_an_empty_mask(self):
        mask = kept(boxes())

        assert mask.labels.dtype == np.uint8
        assert not mask.labels.any()
        assert mask.origin is MaskOrigin.NETWORK

    def test_refuses_probabilities_of_another_image(self):
        with pytest.raises(GeometryError, match="does not fit"):
            keep_lesions(boxes(), blank((5, 64, 33)), ANY_SIZE)


CORD = ((1, 4), (2, 62), (12, 20))


class TestCordFilter:
    @pytest.mark.parametrize(
        ("columns", "count"),
        [((14, 18), 1), ((20, 24), 1), ((22, 25), 1), ((23, 26), 0)],
        ids=["inside", "touching", "gap of 2 mm", "gap of 3 mm"],
    )
    def test_keeps_what_lies_on_the_cord(self, columns, count):
        cord = boxes(CORD) > 0
        probability = boxes(((2, 3), (20, 30), columns))

        assert kept(probability, cord=cord).labels.max() == count

    def test_the_neighbouring_slice_touches(self):
        cord = boxes(CORD) > 0

        assert kept(boxes(((4, 5), (20, 30), (14, 18))), cord=cord).labels.any()

    def test_can_be_switched_off(self):
        options = replace(ANY_SIZE, needs_cord=False)
        cord = boxes(CORD) > 0

        assert kept(boxes(((0, 1), (5, 9), (0, 4))), options, cord).labels.any()

    def test_nothing_is_marked_beyond_the_reach_of_the_cord(self):
        volume = blank()
        reach = np.ones((volume.voxels.shape[0], 1, 1), bool)
        reach[3:] = False
        probability = boxes(((1, 5), (20, 30), (14, 18)))

        mask = keep_lesions(
            probability, volume, ANY_SIZE, cord=boxes(CORD) > 0, reach=reach
        )
        free = replace(ANY_SIZE, needs_cord=False)

        assert mask.labels[1:3, 20:30, 14:18].all()
        assert not mask.labels[3:].any()
        assert keep_lesions(probability, volume, free, reach=reach).labels[3:].any()

    def test_an_empty_cord_keeps_nothing(self):
        cord = boxes() > 0

        assert not kept(boxes(((1, 2), (5, 9), (5, 9))), cord=cord).labels.any()

    def test_refuses_a_cord_of_another_image(self):
        with pytest.raises(GeometryError, match="does not fit"):
            kept(boxes(), cord=np.zeros((1, 2, 3), bool))


class TestNumberLesions:
    def test_keeps_every_voxel_and_the_origin(self):
        labels = (boxes(((1, 2), (5, 6), (5, 6)), ((3, 4), (9, 12), (5, 6))) > 0) * 7
        drawn = Mask(labels.astype(np.uint8), blank().affine_ras, MaskOrigin.PERSON)

        mask = number_lesions(drawn, blank())

        assert mask.origin is MaskOrigin.PERSON
        assert np.array_equal(mask.labels > 0, labels > 0)
        assert mask.labels.max() == 2

    def test_does_not_cut_down_what_a_person_drew(self):
        affine = blank().affine_ras
        most, drawn = (
            Mask((dots(count) > 0).astype(np.uint8), affine, MaskOrigin.PERSON)
            for count in (255, 256)
        )

        assert number_lesions(most, blank()).labels.max() == 255
        with pytest.raises(StudyError, match="256 separate lesions") as caught:
            number_lesions(drawn, blank())
        assert caught.value.exit_code == 3

    def test_refuses_a_mask_of_another_image(self):
        drawn = Mask(np.zeros((1, 2, 3), np.uint8), np.eye(4))

        with pytest.raises(GeometryError, match="does not fit"):
            number_lesions(drawn, blank())


def tube(ends_ras, radius_mm, shape, spacing_mm):
    volume = blank(shape, spacing_mm)
    return volume, cylinder(shape, volume.affine_ras, ends_ras, radius_mm)


def as_mask(inside, volume):
    return Mask(inside.astype(np.uint8), volume.affine_ras)


def tilted(length_mm, degrees):
    """Ends of a line through the middle, tilted towards the front."""
    angle = np.radians(degrees)
    half = np.array((0.0, np.sin(angle), np.cos(angle))) * length_mm / 2
    return -half, half


class TestMeasureLesions:
    def test_a_box_by_hand(self):
        spine = spine_phantom(rows=(20, 30), slices=(2, 4), columns=(13, 18))
        volume = spine.volume

        (lesion,) = measure_lesions(
            as_mask(spine.lesion, volume), volume, cord=spine.cord
        )

        # 2 x 10 x 5 voxels of 3 x 1 x 1 mm; the image's centre is at 0, 0, 0.
        assert (lesion.number, lesion.series, lesion.voxel_count) == (1, "t2w", 100)
        assert lesion.volume_mm3 == pytest.approx(300.0)
        assert lesion.length_mm == pytest.approx(10.0, abs=0.01)
        assert lesion.slices == (2, 3)
        assert lesion.centroid_ras_mm == pytest.approx((-1.5, 0.5, 7.0))

    def test_an_empty_mask_has_no_lesions(self):
        assert measure_lesions(as_mask(np.zeros(SHAPE), blank()), blank()) == ()

    def test_each_number_is_one_lesion(self):
        labels = np.zeros(SHAPE, np.uint8)
        labels[1, 5:8, 5] = 1
        labels[1, 20:30, 5] = 3

        lesions = measure_lesions(as_mask(labels, blank()), blank())

        assert [(item.number, item.voxel_count) for item in lesions] == [
            (1, 3),
            (3, 10),
        ]

    @pytest.mark.parametrize("degrees", [0, 20, 45, -45])
    @pytest.mark.parametrize("with_cord", [True, False])
    def test_a_tilted_cylinder_keeps_its_length(self, degrees, with_cord):
        volume, lesion = tube(tilted(40, degrees), 4.0, (5, 160, 160), (3, 0.6, 0.6))
        cord = cylinder(lesion.shape, volume.affine_ras, tilted(90, degrees), 5.0)

        (measured,) = measure_lesions(
            as_mask(lesion, volume), volume, cord=cord if with_cord else None
        )

        assert measured.length_mm == pytest.approx(40.0, abs=1.0)

    @settings(max_examples=15, deadline=None)
    @given(st.floats(-35, 35), st.sampled_from(ORDERS))
    def test_length_does_not_hang_on_the_storage(self, degrees, order):
        volume, lesion = tube(tilted(30, degrees), 4.0, (5, 60, 60), (3, 1.0, 1.0))
        cord = cylinder(lesion.shape, volume.affine_ras, tilted(50, degrees), 5.0)
        stored = reordered_volume(volume, *order)

        (measured,) = measure_lesions(
            as_mask(reordered(lesion, *order), stored),
            stored,
            cord=reordered(cord, *order),
        )

        assert measured.length_mm == pytest.approx(30.0, abs=1.5)
        assert measured.centroid_ras_mm == pytest.approx(
            tuple(centroid_ras(lesion, volume.affine_ras)), abs=1e-6
        )

    def test_a_bend_is_followed(self):
        # A quarter of a circle of radius 60 mm; the lesion covers 30 of its 90
        # degrees and lies off the middle: 60 x pi / 6 = 31.4 mm.
        volume = blank((3, 100, 100), (3.0, 1.0, 1.0))
        _, rows, columns = np.indices(volume.voxels.shape)
        radius = np.hypot(rows - 10, columns - 10)
        angle = np.degrees(np.arctan2(rows - 10, columns - 10))
        cord = (radius > 55) & (radius < 65) & (angle > 5) & (angle < 85)
        lesion = (radius > 57) & (radius < 60) & (angle > 10) & (angle < 40)

        (measured,) = measure_lesions(as_mask(lesion, volume), volume, cord=cord)

        assert measured.length_mm == pytest.approx(31.4, abs=1.6)

    def test_a_round_lesion_is_measured_head_to_foot(self):
        volume = blank()
        lesion = boxes(((1, 4), (20, 26), (10, 15))) > 0

        (measured,) = measure_lesions(as_mask(lesion, volume), volume)

        assert measured.length_mm == pytest.approx(6.0)

    def test_a_lesion_lying_across_is_measured_head_to_foot(self):
        volume = blank()
        lesion = boxes(((2, 3), (20, 23), (5, 25))) > 0

        (measured,) = measure_lesions(as_mask(lesion, volume), volume)

        assert measured.length_mm == pytest.approx(3.0)

    def test_a_single_voxel_is_as_long_as_it_is(self):
        volume = blank(spacing_mm=(3.0, 0.7, 0.7))
        lesion = boxes(((2, 3), (20, 21), (5, 6))) > 0

        (measured,) = measure_lesions(as_mask(lesion, volume), volume)

        assert measured.length_mm == pytest.approx(0.7)

    def test_a_cord_in_one_row_gives_no_line(self):
        lesion = boxes(((2, 3), (20, 21), (5, 9))) > 0

        (measured,) = measure_lesions(as_mask(lesion, blank()), blank(), cord=lesion)

        assert measured.length_mm == pytest.approx(1.0)

    def test_a_cut_cord_bridges_the_lesion(self):
        volume = blank()
        cord = boxes(((1, 4), (2, 8), (12, 20)), ((1, 4), (55, 62), (12, 20))) > 0
        lesion = boxes(((1, 4), (10, 50), (12, 20))) > 0

        (measured,) = measure_lesions(as_mask(lesion, volume), volume, cord=cord)

        assert measured.length_mm == pytest.approx(40.0, abs=0.1)

    def test_a_line_that_runs_across_is_no_cord(self):
        shape = (5, 64, 160)
        pieces = ((1, 4), (10, 32), (0, 8)), ((1, 4), (32, 54), (150, 158))
        lesion = boxes(((2, 3), (29, 35), (70, 75)), shape=shape) > 0

        (measured,) = measure_lesions(
            as_mask(lesion, blank(shape)),
            blank(shape),
            cord=boxes(*pieces, shape=shape) > 0,
        )

        assert measured.length_mm == pytest.approx(6.0)

    def test_refuses_a_mask_of_another_image(self):
        with pytest.raises(GeometryError, match="does not fit"):
            measure_lesions(as_mask(np.zeros((1, 2, 3)), blank()), blank())


def flags(probability, **options):
    return lesion_flags(kept(probability), blank(probability.shape), **options)


class TestLesionFlags:
    def test_a_lesion_inside_raises_none(self):
        assert flags(boxes(((1, 3), (5, 9), (5, 9)))) == ()

    @pytest.mark.parametrize(
        "span", [((0, 1), (5, 9), (5, 9)), ((2, 3), (60, 64), (5, 9))]
    )
    def test_a_lesion_at_the_edge(self, span):
        (flag,) = flags(boxes(span))

        assert flag.code == "lesion_at_edge"
        assert flag.needs_review

    def test_a_single_slice_has_no_edge_across(self):
        assert flags(boxes(((0, 1), (5, 9), (5, 9)), shape=(1, 64, 32))) == ()

    def test_many_lesions(self):
        spans = [((1, 2), (row, row + 1), (5, 6)) for row in range(2, 46, 2)]

        (flag,) = flags(boxes(*spans))

        assert (flag.code, flag.message[:2]) == ("many_lesions", "22")

    @pytest.mark.parametrize(
        ("count", "text"),
        [
            (254, "254 separate lesions were marked; so"),
            (255, "255 or more separate lesions were marked, the 255 largest kept; so"),
            (300, "255 or more separate lesions were marked, the 255 largest kept; so"),
        ],
    )
    def test_more_lesions_than_can_be_numbered(self, count, text):
        (flag,) = flags(dots(count))

        assert flag.message.startswith(text)

    def test_a_person_s_lesions_are_all_numbered(self):
        mask = replace(as_mask(dots(255) > 0, blank()), origin=MaskOrigin.PERSON)
        (flag,) = lesion_flags(number_lesions(mask, blank()), blank())

        assert flag.message.startswith("255 separate")

    @pytest.mark.parametrize(
        ("cord_rows", "lesion_rows", "flagged"),
        [
            ((5, 50), (38, 43), True),
            ((5, 50), (37, 42), False),
            # Beyond the cord, and the lower end itself.
            ((5, 40), (38, 50), True),
            # The cord's upper end.
            ((5, 50), (5, 12), False),
            # There the image ends.
            ((5, 59), (50, 55), False),
            ((5, 58), (50, 55), True),
        ],
    )
    def test_a_lesion_at_the_cord_s_lower_end(self, cord_rows, lesion_rows, flagged):
        lesion = boxes(((1, 3), lesion_rows, (5, 9))) > 0
        cord = boxes(((1, 4), cord_rows, (4, 11))) > 0
        for order, flips in ORDERS:
            volume = reordered_volume(blank(), order, flips)
            found = lesion_flags(
                as_mask(reordered(lesion, order, flips), volume),
                volume,
                cord=reordered(cord, order, flips),
            )

            assert [flag.code for flag in found] == ["lesion_at_cord_end"] * flagged
            assert all(flag.needs_review for flag in found)

    def test_a_person_may_see_one_there(self):
        cord = boxes(((1, 4), (5, 50), (4, 11))) > 0
        lesion = as_mask(boxes(((1, 3), (38, 43), (5, 9))) > 0, blank())
        person = replace(lesion, origin=MaskOrigin.PERSON)
        network = replace(lesion, origin=MaskOrigin.NETWORK)

        assert lesion_flags(person, blank(), cord=cord) == ()
        assert len(lesion_flags(network, blank(), cord=cord)) == 1

    def test_nothing_marked_raises_none(self):
        cord = boxes(((1, 4), (5, 50), (4, 11))) > 0

        assert flags(boxes(), cord=cord) == ()
        assert flags(boxes(((1, 3), (38, 43), (5, 9)))) == ()


def lesion_at(number, series, height_mm):
    return Lesion(number, series, 10, 30.0, 10.0, (3,), (0.0, 0.0, height_mm))


class TestDoubleFlags:
    def test_lesions_of_two_series_in_one_place_are_named(self):
        found = (lesion_at(2, "neck", -218.5), lesion_at(1, "chest", -215.5))

        (flag,) = double_flags(found)
        assert (flag.code, flag.needs_review) == ("lesion_in_two_series", False)
        assert flag.message == (
            "Lesion 2 of neck and lesion 1 of chest lie 3 mm apart: perhaps one lesion, "
            "counted and added twice."
        )

    @pytest.mark.parametrize(
        "found",
        [
            (lesion_at(1, "a", 0.0), lesion_at(2, "a", 3.0)),
            (lesion_at(1, "a", 0.0), lesion_at(1, "b", 30.0)),
            (),
        ],
    )
    def test_others_are_left_alone(self, found):
        assert double_flags(found) == ()
