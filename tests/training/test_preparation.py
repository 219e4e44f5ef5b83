from dataclasses import replace

import pytest
import study_cases as cases
from training_cases import read_table, write_cohort, write_table

from spinaldx.errors import GeometryError
from spinaldx.grid import GridSpec
from spinaldx.study import CaseRow
from spinaldx.study.cases import check_cases
from spinaldx.training import preparation
from spinaldx.training.cache import SeriesCache
from spinaldx.training.preparation import CachingReader


@pytest.fixture
def table(tmp_path):
    """Eighteen rows, of which the second names a broken image and the third none."""
    path = write_cohort(tmp_path)
    rows = read_table(path)
    (tmp_path / rows[1]["t2w"]).write_bytes(b"broken")
    rows[2]["t2w"] = "nowhere.nii.gz"
    return write_table(path, rows)


def test_many_rows_are_stored_side_by_side(table, tmp_path, monkeypatch):
    rows, _ = check_cases(table)
    cache = SeriesCache(tmp_path / "cache")
    reader = CachingReader(cache, GridSpec())
    steps = []

    assert reader.prepare(rows, 2, lambda *step: steps.append(step))

    assert steps == [(done, 18) for done in range(1, 19)]
    monkeypatch.setattr(cache, "store", None)  # all that can be read is there
    facts = [reader.inspect(row) for row in (rows[0], *rows[3:])]
    assert len({one.voxels_sha256 for one in facts}) == 16
    with pytest.raises(GeometryError, match="p02_t2w"):
        reader.inspect(rows[1])


@pytest.mark.parametrize(("rows", "workers"), [(18, 1), (3, 4)])
def test_few_rows_and_one_worker_are_not_worth_it(
    table, tmp_path, monkeypatch, rows, workers
):
    monkeypatch.setattr(preparation, "side_by_side", None)
    reader = CachingReader(SeriesCache(tmp_path / "cache"), GridSpec())

    assert not reader.prepare(check_cases(table)[0][:rows], workers, print)

    assert not (tmp_path / "cache").exists()


def test_stations_of_one_folder_are_stored_apart(tmp_path):
    for number in (1, 2):
        voxels = cases.spine_voxels(seed=number)
        cases.save(
            cases.dicom_series(voxels, series=number), tmp_path / "dcm" / str(number)
        )
    reader = CachingReader(SeriesCache(tmp_path / "cache"), GridSpec())

    first, second = (
        reader.inspect(
            CaseRow("a", tmp_path / "dcm", series=str(number), number=number)
        )
        for number in (1, 2)
    )

    assert first.voxels_sha256 != second.voxels_sha256


def test_a_mask_moved_to_another_column_is_read_again(table, tmp_path):
    cache = SeriesCache(tmp_path / "cache")
    row = check_cases(table)[0][0]
    wrong = replace(row, mask=row.cord, cord=None)
    right = replace(row, mask=None, cord=row.cord)

    first, second = (
        CachingReader(cache, GridSpec()).inspect(item) for item in (wrong, right)
    )

    assert first.lesion_voxels > 0
    assert second.lesion_voxels == 0
