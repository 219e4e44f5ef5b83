"""Charts agree with the pictures and the answer beside them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from report_cases import case_of

from spinaldx.records import Task
from spinaldx.report import charts, panels
from spinaldx.report.case import ReportCase, SeriesArrays
from spinaldx.report.painter import Box
from spinaldx.report.panels import CasePictures, SliceName
from spinaldx.report.results import read_case, write_case

FIRST = next(iter(Task))


class Listener:
    """A painter that keeps the texts."""

    def __init__(self):
        self.texts = []

    def text(self, x, y, text, style):
        self.texts.append(text)


def stored_of(folder, **changes):
    write_case(case_of(**changes), folder)
    return read_case(folder)


def mirrored(case):
    """The same with every slice axis the other way round in the patient."""
    turned = []
    for series in case.series:
        affine = series.affine_ras.copy()
        axis = int(np.argmax(np.abs(affine[0, :3])))
        affine[:3, 3] += affine[:3, axis] * (series.shape[axis] - 1)
        affine[:3, axis] *= -1
        turned.append(replace(series, affine_ras=affine))
    return replace(case, series=tuple(turned))


def test_dots_run_as_the_pictures_do(tmp_path):
    case = stored_of(tmp_path)
    names = [score.slice_index for score in charts._in_order(case)]
    other = [score.slice_index for score in charts._in_order(mirrored(case))]

    assert len(set(names)) > 1
    assert sorted(names, reverse=names[0] > names[-1]) == names
    assert other == names[::-1]


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_dots_and_thumbnails_have_one_order(tmp_path, is_mirrored):
    case = stored_of(tmp_path)
    case = mirrored(case) if is_mirrored else case
    arrays = {}
    for item in case_of().series:
        (series,) = [one for one in case.series if one.name == item.volume.name]
        volume = replace(item.volume, affine_ras=series.affine_ras)
        arrays[series.name] = SeriesArrays(volume, item.mask.labels, {})
    pictures = CasePictures(ReportCase(case, arrays))

    shown = [(one.series, one.source_index) for one in pictures.lesion_slices()]
    dots = [(one.series, one.slice_index) for one in charts._in_order(case)]

    assert [one for one in shown if one in dots] == dots


class TestCutOff:
    @pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
    def test_a_mean_lies_above_the_line_where_the_score_is_above_the_cut_off(
        self, tmp_path, temperature
    ):
        stage = stored_of(tmp_path).prediction.stages[0]
        for mean in (0.2, 0.45, 0.65, 0.9):
            logit = math.log(mean / (1 - mean)) / temperature
            score = 1 / (1 + math.exp(-logit))
            for cut_off in (0.3, 0.6):
                changed = replace(stage, positive_probability=score, cut_off=cut_off)
                line = charts._cut_off_of_means(changed, mean)
                assert (mean > line) == (score > cut_off)

    def test_no_line_where_it_cannot_be_told(self, tmp_path):
        stage = stored_of(tmp_path).prediction.stages[0]
        near = replace(stage, positive_probability=0.5, cut_off=0.4)

        assert charts._cut_off_of_means(near, 0.5) is None
        assert charts._cut_off_of_means(replace(near, cut_off=0.5), 0.5) == 0.5


@pytest.mark.parametrize("width", [8.0, 20.0, 40.0, 200.0])
def test_the_number_of_a_slice_is_never_cut(tmp_path, width):
    class Two:
        stacks = (1, 2)

    listener = Listener()
    name = SliceName("thoracic_t2w_tse_sag", 0, 108)
    panels._draw_label(listener, Box(0, 0, width, 10), name, Two())

    (text,) = listener.texts
    assert text.rpartition(" · ")[2] == "109"
    assert (width < 100) == (text != "thoracic_t2w_tse_sag · 109")
