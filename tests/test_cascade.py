from dataclasses import replace

import numpy as np
import pytest
from phantoms import (
    ORDERS,
    FakeNetworks,
    fake_bundle,
    reordered,
    reordered_volume,
    spine_phantom,
)

import spinaldx
from spinaldx import cascade
from spinaldx.cascade import CascadeOptions, run_case
from spinaldx.errors import GeometryError, NoUsableSeriesError
from spinaldx.models import MultiResUNetSpec
from spinaldx.records import Diagnosis, Mask, MaskOrigin, Task

DISEASED = spine_phantom()
HEALTHY = spine_phantom(rows=None, name="thoracic")


def run(*volumes, networks=None, bundle=None, options=None, masks=None):
    return run_case(
        "study-a",
        volumes,
        networks or FakeNetworks(),
        bundle or fake_bundle(),
        options,
        masks,
    )


def drawn(inside):
    labels = inside.astype(np.uint8)
    return Mask(labels, DISEASED.volume.affine_ras, MaskOrigin.PERSON)


def codes(result):
    return [flag.code for flag in result.all_flags]


def leave_out(monkeypatch, count):
    """Let the rules for marks say that they left some out."""
    real = cascade.mark_lesions
    monkeypatch.setattr(
        cascade, "mark_lesions", lambda *given: replace(real(*given), left_out=count)
    )


class TestRunCase:
    def test_from_the_image_to_the_answer(self):
        result = run(DISEASED.volume)

        (series,) = result.series
        assert result.prediction.diagnosis is Diagnosis.NMOSD
        assert np.array_equal(series.mask.labels > 0, DISEASED.lesion)
        assert series.lesions[0].length_mm == pytest.approx(10.0, abs=0.1)
        assert [heatmap.target for heatmap in series.heatmaps] == [
            "demyelination",
            "nmosd",
        ]
        assert result.all_flags == ()

    def test_the_classifiers_are_told_how_bright_the_lesion_is(self, monkeypatch):
        told = []
        networks = FakeNetworks()
        classify = networks.classify

        def watched(task, crops):
            told.append(crops[:, -1])
            return classify(task, crops)

        monkeypatch.setattr(networks, "classify", watched)
        channels = ("t2w", "lesion", "cord", "contrast")
        crop = replace(fake_bundle().crop, channels=channels)
        result = run(DISEASED.volume, networks=networks, bundle=fake_bundle(crop=crop))

        (series,) = result.series
        voxels, lesion = DISEASED.volume.voxels, series.mask.labels > 0
        cord = DISEASED.cord & ~DISEASED.lesion
        ratio = np.median(voxels[lesion]) / np.median(voxels[cord])
        assert len(told) == len(Task)
        for numbers in told:
            assert numbers == pytest.approx(np.log(ratio), abs=0.02)
        assert set(series.told_numbers) == {"contrast"}
        assert np.log(series.told_numbers["contrast"]) == pytest.approx(told[0].max())

    @pytest.mark.parametrize(
        ("status", "found"),
        [("promoted", []), ("not_promoted", ["weights_not_promoted"])],
    )
    def test_weights_that_were_not_promoted_are_flagged(self, status, found):
        bundle = fake_bundle(metrics={"status": status})

        result = run(DISEASED.volume, HEALTHY.volume, bundle=bundle)

        assert [flag.code for flag in result.flags if flag.needs_review] == found

    def test_a_healthy_study_has_no_lesion(self):
        result = run(HEALTHY.volume)

        assert result.prediction.diagnosis is Diagnosis.NO_LESION
        assert result.series[0].heatmaps == ()
        assert not result.series[0].mask.labels.any()

    def test_slices_of_all_series_count(self):
        second = spine_phantom(slices=(1, 2), name="thoracic").volume
        third = replace(HEALTHY.volume, name="lumbar")

        result = run(DISEASED.volume, second, third)

        scores = result.prediction.slice_scores
        assert [(score.series, score.slice_index) for score in scores] == [
            ("t2w", 2),
            ("t2w", 3),
            ("thoracic", 1),
        ]
        assert [len(series.heatmaps) for series in result.series] == [2, 2, 0]

    @pytest.mark.parametrize("order", ORDERS[::9])
    def test_storage_changes_nothing(self, order):
        expected = run(DISEASED.volume)

        result = run(reordered_volume(DISEASED.volume, *order))

        mask = reordered(expected.series[0].mask.labels, *order)
        assert np.array_equal(result.series[0].mask.labels, mask)
        assert result.prediction.probabilities == expected.prediction.probabilities
        lesion, other = result.series[0].lesions[0], expected.series[0].lesions[0]
        assert lesion.centroid_ras_mm == pytest.approx(other.centroid_ras_mm)
        assert lesion.length_mm == pytest.approx(other.length_mm)

    def test_provenance_says_how(self):
        options = CascadeOptions(needs_cord=False)

        found = run(DISEASED.volume, options=options).provenance

        assert found.program_version == spinaldx.__version__
        assert (found.engine, found.device, found.precision) == ("fake", "cpu", "fp32")
        assert found.weights.name == "fake"
        assert found.options == {"needs_cord": False, "keep_probabilities": False}

    def test_probabilities_are_carried_on_request(self):
        keep = CascadeOptions(keep_probabilities=True)

        assert run(DISEASED.volume).series[0].lesion_probability is None
        found = run(DISEASED.volume, options=keep).series[0].lesion_probability
        assert found.max() == pytest.approx(0.9)

    def test_the_bundle_s_size_filter_holds(self):
        part = replace(fake_bundle().segmentation, min_lesion_mm3=301.0)
        bundle = fake_bundle(segmentation=part)

        assert run(DISEASED.volume, bundle=bundle).prediction.diagnosis == "no_lesion"

    def test_a_study_without_images_is_refused(self):
        with pytest.raises(NoUsableSeriesError, match="study-a") as caught:
            run()
        assert caught.value.exit_code == 3

    def test_two_series_of_one_name_are_refused(self):
        with pytest.raises(GeometryError, match="same name"):
            run(DISEASED.volume, DISEASED.volume)


class TestFlags:
    def test_a_lesion_that_two_series_show(self):
        again = replace(DISEASED.volume, name="again")
        codes_alone, codes_both = (
            codes(run(DISEASED.volume)),
            codes(run(DISEASED.volume, again)),
        )

        assert "lesion_in_two_series" not in codes_alone
        assert codes_both.count("lesion_in_two_series") == 1

    def test_a_missing_cord(self):
        class Cordless(FakeNetworks):
            def segment(self, slices):
                found = super().segment(slices)
                found[:, 1] = 0
                return found

        result = run(DISEASED.volume, networks=Cordless())

        assert result.prediction.diagnosis is Diagnosis.NO_LESION
        assert codes(result) == ["cord_not_found"]

    @pytest.mark.parametrize(
        ("count", "text"), [(0, None), (1, "1 mark was"), (3, "3 marks were")]
    )
    def test_marks_left_out_are_counted(self, monkeypatch, count, text):
        leave_out(monkeypatch, count)
        flags = run(DISEASED.volume).all_flags

        assert [flag.code for flag in flags] == ["marks_left_out"] * bool(count)
        assert not any(flag.needs_review for flag in flags)
        assert all(flag.message.startswith(text) for flag in flags)

    @pytest.mark.parametrize(("count", "asked"), [(0, []), (2, ["all_marks_left_out"])])
    def test_where_nothing_was_kept_somebody_should_look(
        self, monkeypatch, count, asked
    ):
        leave_out(monkeypatch, count)
        flags = run(HEALTHY.volume).all_flags

        assert [flag.code for flag in flags if flag.needs_review] == asked

    def test_a_lesion_at_the_edge(self):
        reaching = spine_phantom(rows=(55, 64)).volume

        assert codes(run(reaching)) == ["lesion_at_edge"]


class TestPersonMasks:
    def test_a_person_s_mask_replaces_the_network_s(self):
        inside = np.zeros(DISEASED.lesion.shape, bool)
        inside[1, 40:44, 14:17] = True

        result = run(DISEASED.volume, masks={"t2w": drawn(inside)})

        (series,) = result.series
        assert np.array_equal(series.mask.labels > 0, inside)
        assert series.mask.origin is MaskOrigin.PERSON
        assert series.lesion_probability is None
        assert codes(result) == ["person_mask"]
        assert not result.all_flags[0].needs_review
        assert [score.slice_index for score in result.prediction.slice_scores] == [1]

    def test_it_is_not_filtered_by_size_or_cord(self):
        inside = np.zeros(DISEASED.lesion.shape, bool)
        inside[1, 40, 2] = True

        result = run(DISEASED.volume, masks={"t2w": drawn(inside)})

        assert result.series[0].mask.labels.sum() == 1

    def test_an_empty_one_means_no_lesion(self):
        networks = FakeNetworks()
        empty = drawn(np.zeros(DISEASED.lesion.shape, bool))

        result = run(DISEASED.volume, networks=networks, masks={"t2w": empty})

        assert result.prediction.diagnosis is Diagnosis.NO_LESION
        assert networks.slices_seen == []

    def test_without_a_cord_output_the_network_is_not_run(self):
        networks = FakeNetworks()
        part = replace(
            fake_bundle().segmentation, network=MultiResUNetSpec(outputs=("lesion",))
        )
        bundle = fake_bundle(segmentation=part)

        run(
            DISEASED.volume,
            networks=networks,
            bundle=bundle,
            masks={"t2w": drawn(DISEASED.lesion)},
        )

        assert networks.slices_seen == []

    def test_the_others_are_still_segmented(self):
        other = spine_phantom(name="thoracic").volume
        empty = drawn(np.zeros(DISEASED.lesion.shape, bool))

        result = run(DISEASED.volume, other, masks={"t2w": empty})

        origins = [series.mask.origin for series in result.series]
        assert origins == [MaskOrigin.PERSON, MaskOrigin.NETWORK]
        assert result.prediction.diagnosis is Diagnosis.NMOSD

    def test_the_network_s_own_mask_gives_the_same_answer(self):
        expected = run(DISEASED.volume)

        result = run(DISEASED.volume, masks={"t2w": drawn(DISEASED.lesion)})

        assert result.prediction == expected.prediction
        assert result.series[0].lesions == expected.series[0].lesions

    def test_a_mask_of_no_series_is_refused(self):
        with pytest.raises(GeometryError, match="no such series") as caught:
            run(DISEASED.volume, masks={"lumbar": drawn(DISEASED.lesion)})
        assert "t2w" in caught.value.hint

    def test_a_mask_of_another_grid_is_refused(self):
        mask = Mask(np.zeros((1, 2, 3), np.uint8), np.eye(4), MaskOrigin.PERSON)

        with pytest.raises(GeometryError, match="does not fit"):
            run(DISEASED.volume, masks={"t2w": mask})


def test_all_three_classifiers_run():
    asked = []

    class Noting(FakeNetworks):
        def classify(self, task, crops):
            asked.append(task)
            return super().classify(task, crops)

    run(DISEASED.volume, networks=Noting())

    assert asked == list(Task)
