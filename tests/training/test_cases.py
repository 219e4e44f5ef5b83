import numpy as np
import pytest
from study_cases import write_pair
from training_cases import read_table

from spinaldx.errors import AmbiguousSeriesError, GeometryError, UnreadableFileError
from spinaldx.report.nifti import write_nifti
from spinaldx.study import CaseRow, StudySource, read_cases
from spinaldx.training import cases
from spinaldx.training.cases import group_patients, read_series, series_files


@pytest.fixture
def row(cohort):
    return read_cases(cohort)[0]


class TestGroupPatients:
    def test_joins_the_stations_of_a_case(self):
        rows = [CaseRow("a", diagnosis="ms"), CaseRow("b"), CaseRow("a", series="2")]

        first, second = group_patients(rows)

        assert (first.name, len(first.rows), first.diagnosis) == ("a", 2, "ms")
        assert second.name == "b"

    def test_healthy_is_a_diagnosis(self):
        (patient,) = group_patients([CaseRow("a", diagnosis="healthy")])

        assert patient.is_healthy


class TestReadSeries:
    def test_reads_image_lesion_and_cord(self, row):
        series = read_series(row)

        assert series.volume.voxels.shape == (5, 64, 64)
        assert series.lesion.sum() == 2 * 24 * 8
        assert series.cord.sum() == 3 * 60 * 8

    def test_no_mask_is_an_empty_one(self, row):
        series = read_series(CaseRow("a", t2w=row.t2w))

        assert not series.lesion.any()
        assert series.cord is None

    def test_no_image_is_refused(self):
        with pytest.raises(UnreadableFileError, match="no image"):
            read_series(CaseRow("a"))

    def test_mask_of_another_grid_is_refused(self, row, tmp_path):
        mask = tmp_path / "m_mask.nii.gz"
        write_nifti(mask, np.zeros((5, 64, 63), np.uint8), np.diag([3.0, 1, 1, 1]))

        with pytest.raises(GeometryError, match=r"m_mask\.nii\.gz"):
            read_series(CaseRow("a", t2w=row.t2w, mask=mask))

    def test_a_folder_of_several_studies_is_refused(self, cohort):
        with pytest.raises(AmbiguousSeriesError, match="studies, not one"):
            read_series(CaseRow("a", t2w=cohort.parent))

    @pytest.mark.parametrize("count", [1, 2])
    def test_one_series_of_a_study_is_read(self, row, monkeypatch, tmp_path, count):
        volume = read_series(row).volume
        monkeypatch.setattr(cases, "find_studies", lambda _: (StudySource("s"),))
        monkeypatch.setattr(cases, "load_study", lambda *_, **__: (volume,) * count)
        if count == 1:
            assert read_series(CaseRow("a", t2w=tmp_path)).volume is volume
        else:
            with pytest.raises(AmbiguousSeriesError, match="several series fit"):
                read_series(CaseRow("a", t2w=tmp_path))


def test_series_files_are_all_that_a_row_is_made_from(cohort, row):
    record = read_table(cohort)[0]
    folder = CaseRow("a", t2w=cohort.parent)

    files = {role: path.name for role, path in series_files(row)}

    assert files == {f"{column}/": record[column] for column in ("t2w", "mask", "cord")}
    assert (f"t2w/{cohort.name}", cohort) in series_files(folder)


def test_the_voxels_of_a_pair_are_among_the_files(tmp_path):
    header = write_pair(tmp_path)

    files = series_files(CaseRow("a", t2w=header))

    assert files == (("t2w/", header), ("t2w/", header.with_suffix(".img")))
