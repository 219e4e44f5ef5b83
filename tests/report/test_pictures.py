import io
import re

import numpy as np
import pytest
from PIL import Image
from report_cases import case_of

from spinaldx.records import Diagnosis, WeightsInfo
from spinaldx.report import read_case, write_case
from spinaldx.report.painter import Box, Style, heat_colours
from spinaldx.report.panels import CasePictures, blend, strip_slices
from spinaldx.report.pictures import FigureFormat, write_figures
from spinaldx.report.raster import Raster
from spinaldx.report.rebuild import SourceImages, load_case
from spinaldx.report.vector import Vector

BURN_IN = "SIMULATION-TRAINED WEIGHTS - NOT CLINICALLY VALID"
ALL = {
    "key_image",
    "gradcam",
    "lesion_slices",
    "ranges",
    "probabilities",
    "decisions",
    "slice_scores",
}


def pictures_of(folder, **changes):
    write_case(case_of(**changes), folder)
    return CasePictures(load_case(folder, read_case(folder), SourceImages(())))


def luminance(colours):
    return colours @ (0.2126, 0.7152, 0.0722)


class TestHeatColours:
    def test_grow_brighter_all_the_way(self):
        shades = luminance(heat_colours(np.linspace(0, 1, 101, dtype=np.float32)))

        assert (np.diff(shades) > 0.002).all()

    def test_no_heat_leaves_the_image_alone(self):
        pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
        mixed = blend(pixels, np.zeros((3, 4), np.float32))

        assert np.array_equal(mixed, np.stack([pixels] * 3, axis=-1))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Both kinds of figures of one study, made by simulation-trained weights."""
    folder = tmp_path_factory.mktemp("drawn")
    pictures = pictures_of(folder)
    for figure_format in FigureFormat:
        write_figures(pictures, folder, figure_format)
    return pictures, folder / "figures"


class TestWriteFigures:
    def test_writes_every_figure(self, drawn):
        _, folder = drawn
        for kind in FigureFormat:
            assert {path.stem for path in folder.glob(f"*.{kind.value}")} == ALL

    def test_svg_keeps_letters_and_says_simulation(self, drawn):
        _, folder = drawn
        for path in folder.glob("*.svg"):
            assert BURN_IN in path.read_text(), path.name

    def test_svg_has_no_time_and_is_the_same_twice(self, drawn, tmp_path):
        pictures, folder = drawn
        write_figures(pictures, tmp_path, FigureFormat.SVG)
        for path in folder.glob("*.svg"):
            content = path.read_bytes()

            assert (tmp_path / "figures" / path.name).read_bytes() == content
            assert not re.search(rb"20\d\d-\d\d-\d\d", content)

    def test_print_has_300_dots_an_inch(self, drawn):
        _, folder = drawn
        with Image.open(folder / "key_image.png") as picture:
            assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)

    def test_no_lesion_has_an_image_and_nothing_to_plot(self, tmp_path):
        pictures = pictures_of(tmp_path, diagnosis=Diagnosis.NO_LESION)
        write_figures(pictures, tmp_path, FigureFormat.PNG)

        assert {p.name for p in (tmp_path / "figures").iterdir()} == {"key_image.png"}

    def test_patient_weights_burn_nothing_in(self, tmp_path):
        weights = WeightsInfo("clinic", "1", "patients", "")

        assert pictures_of(tmp_path, weights=weights).burn_in == ""


class TestCasePictures:
    def test_the_key_slice_has_most_lesion_of_all_series(self, tmp_path):
        result = case_of(series=("a", "b"), lesion_slices=5)
        result.series[1].mask.labels[7, 40:60, 20:40] = 1
        write_case(result, tmp_path)
        pictures = CasePictures(
            load_case(tmp_path, read_case(tmp_path), SourceImages(()))
        )
        key = pictures.key_slice()

        assert (key.series, key.source_index) == ("b", 7)
        assert str(key) == "b, slice 8"

    def test_of_equal_slices_the_middle_one_is_key(self, tmp_path):
        pictures = pictures_of(tmp_path, lesion_slices=13)
        areas = {pictures.rank(name)[0] for name in pictures.lesion_slices()}

        assert len(areas) == 1
        assert pictures.key_slice().source_index == 6

    def test_the_strip_shows_40_slices_with_most_lesion_in_order(self, tmp_path):
        spec = {"shape": (50, 40, 32), "spacing_mm": (1.0, 1.0, 1.0)}
        shown = strip_slices(pictures_of(tmp_path, lesion_slices=50, **spec))
        indices = [name.source_index for name in shown]

        assert len(indices) == 40
        assert indices == sorted(indices)


@pytest.mark.parametrize("painter", [Raster(100, 60, 72), Vector(100, 60)])
def test_painters_put_things_where_they_are_told(painter):
    painter.rectangle(Box(0, 0, 100, 60), fill=(1, 1, 1))
    painter.rectangle(Box(10, 10, 20, 20), fill=(1, 0, 0), stroke=(0, 0, 0))
    painter.image(np.zeros((4, 4), np.uint8), Box(60, 10, 20, 20))
    painter.segments(np.array([[(0, 50), (100, 50)]]), (0, 0, 1), width=2, dashed=True)
    painter.dot(50, 30, 5, (0, 1, 0))
    painter.text(80, 58, "end $x^2$", Style(6, anchor="end"))
    if isinstance(painter, Vector):
        assert "end $x^2$" in painter.svg().decode()
        return
    pixels = np.asarray(Image.open(io.BytesIO(painter.png())))

    assert pixels.shape == (60, 100, 3)
    assert pixels[20, 20].tolist() == [255, 0, 0]
    assert pixels[20, 70].tolist() == [0, 0, 0]
    assert pixels[30, 50].tolist() == [0, 255, 0]
    # Dashes and gaps.
    assert pixels[49, :, 0].min() < 150
    assert pixels[49, :, 0].max() == 255
    assert pixels[57, 60:80].min() < 200
