import shutil
from dataclasses import replace

import numpy as np
import pytest
from training_cases import draw_patient

from spinaldx.errors import OutputError
from spinaldx.grid import GridSpec, to_grid
from spinaldx.training.cache import (
    LoadedSeries,
    SeriesCache,
    cache_key,
    gather_facts,
)

GRID = GridSpec()


@pytest.fixture
def series():
    return LoadedSeries(*draw_patient("ms", 1))


@pytest.fixture
def cache(tmp_path):
    return SeriesCache(tmp_path / "cache")


class TestCacheKey:
    def test_follows_bytes_and_grid_not_names(self, tmp_path):
        (tmp_path / "a").write_bytes(b"1")
        shutil.copy(tmp_path / "a", tmp_path / "b")
        one, two = ("t2w", tmp_path / "a"), ("t2w", tmp_path / "b")
        key = cache_key([one], GRID, series="")

        assert cache_key([two], GRID, series="") == key
        assert cache_key([one], GridSpec(pixel_mm=2.0), series="") != key
        assert cache_key([one, two], GRID, series="") != key

    def test_follows_what_a_file_is_for_and_the_series(self, tmp_path):
        (tmp_path / "a").write_bytes(b"1")
        key = cache_key([("mask", tmp_path / "a")], GRID, series="")

        assert cache_key([("cord", tmp_path / "a")], GRID, series="") != key
        assert cache_key([("mask", tmp_path / "a")], GRID, series="2") != key


class TestSeriesCache:
    def test_what_is_stored_is_found(self, cache, series):
        stored = cache.store("key", series, GRID)

        assert cache.find("key") == stored
        assert stored.shape == (5, 64, 64)
        assert stored.lesion_slices == (2, 3)
        assert stored.cord_slices == (1, 2, 3)
        assert stored.pixel_mm3 == pytest.approx(3.0)

    def test_without_a_cord_mask_no_slice_shows_cord(self, cache, series):
        stored = cache.store("key", replace(series, cord=None), GRID)

        assert stored.cord_slices == ()

    def test_unknown_is_none(self, cache):
        assert cache.find("key") is None

    def test_pixels_are_those_of_inference(self, cache, series):
        cache.store("key", series, GRID)
        stored = cache.read("key", "image")

        assert np.allclose(stored, to_grid(series.volume, GRID).pixels, atol=2e-3)

    def test_masks_are_shares_in_bytes(self, cache, series):
        cache.store("key", series, GRID)

        assert (cache.read("key", "lesion") == 255 * series.lesion).all()
        assert (cache.read("key", "cord") == 255 * series.cord).all()

    def test_nothing_is_loaded_before_it_is_looked_at(self, cache, series):
        cache.store("key", series, GRID)

        assert isinstance(cache.read("key", "image"), np.memmap)

    def test_empty_arrays_are_read_too(self, cache):
        cache.store_arrays("key", {"crops": np.zeros((0, 3, 4, 4), np.float16)})

        assert cache.has("key", "crops")
        assert cache.read("key", "crops").shape == (0, 3, 4, 4)

    def test_without_cord(self, cache, series):
        stored = cache.store("key", replace(series, cord=None), GRID)

        assert not stored.has_cord
        assert not cache.has("key", "cord")

    def test_full_disk_leaves_no_entry(self, cache, series, monkeypatch):
        def fail(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "save", fail)
        with pytest.raises(OutputError, match="No space left"):
            cache.store("key", series, GRID)

        assert cache.find("key") is None


class TestGatherFacts:
    def test_same_voxels_same_hash(self, series):
        other = replace(series, volume=replace(series.volume, name="other"))

        assert gather_facts(series) == gather_facts(other)

    def test_counts_lesion_voxels(self, series):
        assert gather_facts(series).lesion_voxels == 2 * 8 * 4
