import pytest

from spinaldx.study.masks import is_mask_name, may_be_mask_name
from spinaldx.study.vocabulary import (
    Topic,
    look_like_patients,
    patient_part,
    station_of,
    topics_of,
)


class TestTopics:
    @pytest.mark.parametrize(
        "text",
        [
            "T2 TSE SAG",
            "t2_tse_sag_p2_320",
            "Sag T2 FRFSE C-Spine",
            "T2w_TSE sagittal HWS",
            "T2 SAGITTAL RACHIS CERVICAL",
            "T2 TSE SAGITAL COLUMNA",
            "SAG T2 colonna",
            "t2 sagital coluna",
            "矢状 T2加权 颈椎",
            "頸椎 矢状断 T2強調",
        ],
    )
    def test_a_sagittal_t2w_series_is_known_in_eight_languages(self, text):
        topics = topics_of(text)

        assert {Topic.T2, Topic.SAGITTAL} <= topics
        assert not topics & {Topic.T1, Topic.LOCALIZER, Topic.AXIAL, Topic.DIFFUSION}

    @pytest.mark.parametrize(
        ("text", "topic"),
        [
            ("STIR sag", Topic.SUPPRESSED),
            ("t2_tirm_sag", Topic.SUPPRESSED),
            ("T2 fettgesättigt", Topic.SUPPRESSED),
            ("Übersicht", Topic.LOCALIZER),
            ("3-plane loc", Topic.LOCALIZER),
            ("repérage", Topic.LOCALIZER),
            ("localizador", Topic.LOCALIZER),
            ("定位像", Topic.LOCALIZER),
            ("T1 nach KM", Topic.CONTRAST),
            ("T2* GRE", Topic.GRADIENT),
            ("ep2d_diff", Topic.DIFFUSION),
            ("Knie T2", Topic.ELSEWHERE),
            ("T2 axial", Topic.AXIAL),
            ("t2_tra", Topic.AXIAL),
            ("HASTE myelo", Topic.MYELOGRAPHY),
            ("t2_space_composed", Topic.COMPOSED),
        ],
    )
    def test_other_series_are_told_apart(self, text, topic):
        assert topic in topics_of(text)

    @pytest.mark.parametrize(
        ("text", "station"),
        [
            ("t2 tse sag C", "cervical"),
            ("HWS sag T2", "cervical"),
            ("sag T2 BWS", "thoracic"),
            ("T2 columna dorsal", "thoracic"),
            ("rachis lombaire T2", "lumbar"),
            ("腰椎 T2", "lumbar"),
            ("T2 whole spine", "whole"),
            ("T2 cervical thoracic", ""),
            ("T2", ""),
        ],
    )
    def test_stations(self, text, station):
        assert station_of(text) == station


class TestFileNames:
    @pytest.mark.parametrize(
        ("one", "two", "same"),
        [
            ("sub-01_acq-cerv_run-2_T2w", "sub-01_T1w", True),
            ("p7_cervical_t2", "p7_lumbar_t2", True),
            ("case1", "case2", False),
            ("errsm_11_t2", "errsm_18_t2", False),
            ("C_01_T2w", "T_01_T2w", False),
            ("1_11_cervical_T2w", "11_1_lumbar_T2w", False),
            ("part_07_T2w", "part_08_T2w", False),
            ("rec_smith_cervical", "rec_jones_lumbar", False),
            ("sub-01_T2w", "sub-01_ses-2_acq-sag_T2w", False),
            ("p7_part_1_t2", "p7_part_2_t2", True),
        ],
    )
    def test_patients_are_told_apart(self, one, two, same):
        assert (patient_part(one) == patient_part(two)) is same

    @pytest.mark.parametrize(
        "stems",
        [
            "smith_T2w jones_T2w",
            "smith_T2w jones_spine_T2w",
            "smith_cervical_T2w jones_lumbar_T2w",
            "smith jones",
            "Smith_Anna_T2w Jones_Ben_T2w Smith_Anna_T1w",
            "sub-01_T2w sub-02_T2w",
            "patient7_t2_sag patient8_t2_sag",
            "p1_cervical_T2w p2_lumbar_T2w",
            "sub-control01_T2w sub-ms01_T2w",
        ],
    )
    def test_several_patients_are_suspected(self, stems):
        assert look_like_patients(stems.split())

    @pytest.mark.parametrize(
        "stems",
        [
            "",
            "smith_T2w",
            "sub-01_T1w sub-01_T2w",
            "sub-01_acq-cervical_T2w sub-01_acq-thoracic_run-2_T2w",
            "sub-01_ses-1_T2w sub-1_ses-2_T2w",
            "cervical thoracic lumbar",
            "HWS_t2_sag BWS_t2_sag LWS_t2_sag",
            "smith_cervical_T2w smith_thoracic_T2w smith_T1w",
            "smith_anna_T2w anna_smith_T2w",
            "left_T2w right_T2w",
            "smith_left_T2w smith_right_T2w",
            "neutral_T2w flexion_T2w extension_T2w",
            "upper_T2w lower_T2w",
            "baseline_T2w followup_T2w",
            "scanA scanB",
            "img1 img2 img3",
            "矢状_T2 颈椎_T2",
            "t2_tse_sag_p2 t2_tse_sag_p3",
            "t2w t2w_denoised t2w_resampled",
            "raw_T2w cropped_T2w",
            "t2_tse_sag_5 t2_tse_sag_7",
            "301_t2_tse_sag 401_t2_tse_sag",
            "smith_t2_tse_sag_20230101121314_5 smith_t2_tse_sag_20230101121314_7a",
            "myelo_sag t2_sag localizer flair",
            "t2w t1w stir dwi",
            "T2w T2w_ax T2star pd",
            "errsm_11_t2 errsm_11_t1 errsm_11_t2s",
        ],
    )
    def test_files_of_one_patient_are_not(self, stems):
        assert not look_like_patients(stems.split())

    @pytest.mark.parametrize(
        "name",
        [
            "t2_manual_segmentation.nii.gz",
            "t2_lesion_seg.nii.gz",
            "sub-1_desc-lesion_dseg.nii",
            "lesion_mask.nii.gz",
            "heatmap.nii.gz",
            "lesion_probability.nii.gz",
        ],
    )
    def test_masks_are_known_by_name(self, name):
        assert is_mask_name(name)

    def test_images_may_speak_of_lesions(self):
        assert not is_mask_name("t2_fake_lesion.nii.gz")
        assert may_be_mask_name("t2_fake_lesion.nii.gz")
        assert not may_be_mask_name("t2w.nii.gz")
