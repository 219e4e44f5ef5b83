"""Training volumes on disk, on the networks' grid, read slice by slice.

What a step needs is read from memory-mapped files, so memory does not grow with the
number of patients. Entries are named by the bytes they were made from, what each file
is for and which series is meant: a second run over the same table finds them, a changed
mask makes a new one.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinaldx.files import atomic_writer, sha256_of, write_json
from spinaldx.grid import GridSpec, labels_to_grid, to_grid
from spinaldx.records import Float32Array, Volume

# Raise when what is stored for the same input changes.
_FORMAT = 4

# A pixel counts as inside from this share on.
_INSIDE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class LoadedSeries:
    """One training series as read, everything on the volume's grid.

    Attributes:
        volume: The image.
        lesion: Non-zero inside, (I, J, K).
        cord: Non-zero inside, (I, J, K), or None.
    """

    volume: Volume
    lesion: NDArray[np.uint8]
    cord: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """What the lint wants to know about a series.

    Attributes:
        voxels_sha256: Of the intensities and their shape; equal for equal images
            however they are packed.
        lesion_voxels: Voxels of the lesion mask.
        has_non_finite: Whether voxels were NaN or infinite.
    """

    voxels_sha256: str
    lesion_voxels: int
    has_non_finite: bool


def gather_facts(series: LoadedSeries) -> SeriesFacts:
    """Look at a series as the lint needs it."""
    voxels = series.volume.voxels
    digest = hashlib.sha256(repr(voxels.shape).encode())
    digest.update(np.ascontiguousarray(voxels).tobytes())
    return SeriesFacts(
        voxels_sha256=digest.hexdigest(),
        lesion_voxels=int(np.count_nonzero(series.lesion)),
        has_non_finite=any(
            flag.code == "non_finite_voxels" for flag in series.volume.flags
        ),
    )


@dataclass(frozen=True, slots=True)
class CachedSeries:
    """What is known about a cached series without reading its pixels.

    Attributes:
        key: Name of its files.
        shape: (S, H, W) on the grid.
        lesion_slices: Slices with at least one lesion pixel.
        cord_slices: Slices with at least one cord pixel, none without cord masks.
        has_cord: Whether a cord mask is stored.
        pixel_mm3: Volume that one grid pixel stands for.
        facts: Of the source.
    """

    key: str
    shape: tuple[int, int, int]
    lesion_slices: tuple[int, ...]
    cord_slices: tuple[int, ...]
    has_cord: bool
    pixel_mm3: float
    facts: SeriesFacts


def cache_key(files: Iterable[tuple[str, Path]], spec: GridSpec, *, series: str) -> str:
    """Name a series by what it is made from.

    Args:
        files: What each file is for, and the file; its bytes count.
        spec: The grid.
        series: Which series of the files is meant, as the table says.
    """
    contents = [(role, sha256_of(path)) for role, path in files]
    parts = json.dumps([_FORMAT, asdict(spec), series, contents])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


class SeriesCache:
    """A folder of cached series.

    Args:
        folder: Made when the first entry is stored.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> CachedSeries | None:
        """Return what is known about an entry, or None when there is none."""
        path = self._folder / f"{key}.json"
        if not path.exists():
            return None
        value = json.loads(path.read_text(encoding="utf-8"))
        slices, height, width = value.pop("shape")
        lesion_slices = tuple(value.pop("lesion_slices"))
        cord_slices = tuple(value.pop("cord_slices"))
        facts = SeriesFacts(**value.pop("facts"))
        return CachedSeries(
            shape=(slices, height, width),
            lesion_slices=lesion_slices,
            cord_slices=cord_slices,
            facts=facts,
            **value,
        )

    def store(self, key: str, series: LoadedSeries, spec: GridSpec) -> CachedSeries:
        """Bring a series to the grid and keep it.

        Raises:
            OutputError: If the disk is full or cannot be written.
            GeometryError: If image and masks differ in shape.
        """
        image = to_grid(series.volume, spec)
        lesion = labels_to_grid(series.lesion, image.transform)
        arrays: dict[str, NDArray[np.generic]] = {
            "image": image.pixels.astype(np.float16),
            "lesion": _bytes(lesion),
        }
        cord_slices: tuple[int, ...] = ()
        if series.cord is not None:
            cord = labels_to_grid(series.cord, image.transform)
            arrays["cord"] = _bytes(cord)
            cord_slices = _slices_with(cord)
        for name, array in arrays.items():
            self._write(key, name, array)
        stored = CachedSeries(
            key=key,
            shape=image.transform.shape,
            lesion_slices=_slices_with(lesion),
            cord_slices=cord_slices,
            has_cord=series.cord is not None,
            pixel_mm3=spec.pixel_mm**2 * image.transform.spacing_mm[0],
            facts=gather_facts(series),
        )
        # Written last: an entry without it is not found.
        write_json(self._folder / f"{key}.json", asdict(stored))
        return stored

    def store_arrays(self, key: str, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Keep further arrays beside a series, such as crops.

        Raises:
            OutputError: If the disk is full or cannot be written.
        """
        for name, array in arrays.items():
            self._write(key, name, array)

    def has(self, key: str, name: str) -> bool:
        """Whether an array is stored."""
        return self._path(key, name).exists()

    def read(self, key: str, name: str) -> NDArray[np.generic]:
        """Return a stored array without loading it: a read-only memory map."""
        # An empty array cannot be mapped.
        path = self._path(key, name)
        array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array

    def _path(self, key: str, name: str) -> Path:
        return self._folder / f"{key}.{name}.npy"

    def _write(self, key: str, name: str, array: NDArray[np.generic]) -> None:
        with atomic_writer(self._path(key, name)) as stream:
            np.save(stream, array, allow_pickle=False)


def _slices_with(shares: Float32Array) -> tuple[int, ...]:
    inside = (shares >= _INSIDE).any(axis=(1, 2))
    return tuple(np.flatnonzero(inside).tolist())


def _bytes(shares: Float32Array) -> NDArray[np.uint8]:
    return np.asarray(np.rint(shares * 255.0), dtype=np.uint8)
