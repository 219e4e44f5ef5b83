import csv
import math
import re
from pathlib import Path

import pytest
from report_cases import case_of

from spinaldx.records import Disease
from spinaldx.report import read_case, write_case
from spinaldx.report.reference import TABLE_1, Spread, levels_of, measures
from spinaldx.report.results import WriteOptions

DOMAIN = Path(__file__).parents[3] / "shared" / "docs" / "domain.md"


class TestTable1:
    def test_is_the_training_cohort_of_the_paper(self):
        assert TABLE_1[Disease.NMOSD].lesion_count == Spread(1, 1, 2)
        assert TABLE_1[Disease.NMOSD].extension_levels == Spread(2.5, 4, 6)
        assert TABLE_1[Disease.MS].volume_ml_mean == 1.32

    @pytest.mark.skipif(not DOMAIN.exists(), reason="the notes are not here")
    def test_is_what_the_notes_say(self):
        text = re.search(r"```csv\n(cohort,.*?)```", DOMAIN.read_text(), re.DOTALL)[1]
        for row in csv.DictReader(text.splitlines()):
            if row["cohort"] != "train":
                continue
            ranges = TABLE_1[Disease(row["disease"].lower())]
            for name, spread in (
                ("lesion_count", ranges.lesion_count),
                ("extension_vert", ranges.extension_levels),
            ):
                expected = [
                    float(row[f"{name}_{key}"]) for key in ("q1", "median", "q3")
                ]

                assert [spread.low, spread.middle, spread.high] == expected
            assert ranges.volume_ml_mean == float(row["volume_ml_mean"])
            assert ranges.volume_ml_sd == float(row["volume_ml_sd"])

    def test_log_normal_quartiles_of_the_astrocytomas(self):
        # From mean 12.64 and deviation 10.77: mu 2.264, sigma 0.739.
        volume_ml = TABLE_1[Disease.ASTROCYTOMA].volume_ml

        assert volume_ml.middle == pytest.approx(math.exp(2.264), rel=1e-3)
        assert volume_ml.high == pytest.approx(
            math.exp(2.264 + 0.6745 * 0.739), rel=1e-3
        )


class TestMeasures:
    def test_are_those_of_the_row(self, tmp_path):
        write_case(case_of(lesions=2), tmp_path, WriteOptions(report=False))
        case = read_case(tmp_path)
        count, volume, extension = measures(case)

        assert (count.value, count.text) == (2, "2")
        assert volume.value == case.row["lesion_volume_ml"]
        assert extension.value == pytest.approx(case.row["lesion_length_mm"] / 18)

    def test_every_range_lies_on_its_axis(self, tmp_path):
        write_case(case_of(), tmp_path, WriteOptions(report=False))
        for measure in measures(read_case(tmp_path)):
            low, high = measure.axis
            for spread in measure.spreads.values():
                assert low <= spread.low <= spread.middle <= spread.high <= high
            assert all(low <= tick <= high for tick in measure.ticks)


def test_a_level_is_18_mm():
    assert levels_of(54.0) == 3.0
