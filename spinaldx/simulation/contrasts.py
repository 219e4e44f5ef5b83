"""The other series of a study, derived from a simulated T2w station.

A scanner sends more than sagittal T2w. These images only have to look the part to
a program that sorts series and to a person who leafs through a study: they are
computed from the T2w voxels and the cord mask, not simulated by themselves, and
what lies outside the station's few slices is black.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinaldx.records import Affine, Float32Array, Volume
from spinaldx.simulation.patient import SimulatedStation

# Around the cord lies its fluid, which T1 turns dark; further away the bright voxels
# are fat, which stays bright on T1 and is nulled by STIR.
_FLUID_REACH_MM = 7.0
_AXIAL_SLICES = 16
_AXIAL_SLICE_MM = 4.4
_LOCALIZER_SLICES = 3
_LOCALIZER_GAP_MM = 24.0


def t1_sagittal(station: SimulatedStation, pixel_mm: float) -> Volume:
    """Derive a sagittal T1w series: fluid dark, cord brighter, fat bright.

    Args:
        station: The T2w station; its slices are kept.
        pixel_mm: Edge of a pixel of the result.

    Returns:
        Intensities from 0 to about 1, on a grid centred on the station's.
    """
    near = _near_cord(station)
    t2 = _relative(station.volume)
    # Smoothed, so that noise in the air does not pass for tissue.
    smooth = ndimage.gaussian_filter(t2, 1.0)
    tissue = np.clip((smooth - 0.02) / 0.08, 0.0, 1.0)
    fluid_dark = (0.75 - 0.6 * np.clip(t2, 0.0, 1.1)) * tissue
    compressed = 0.25 * tissue + 0.6 * np.clip(t2, 0.0, 1.2) ** 0.8
    return _coarser(
        station.volume, near * fluid_dark + (1 - near) * compressed, pixel_mm
    )


def stir_sagittal(station: SimulatedStation, pixel_mm: float) -> Volume:
    """Derive a sagittal STIR series: as T2w, with the fat dark.

    Args:
        station: The T2w station; its slices are kept.
        pixel_mm: Edge of a pixel of the result.

    Returns:
        Intensities from 0 to about 1, on a grid centred on the station's.
    """
    near = _near_cord(station)
    t2 = _relative(station.volume)
    fat_dark = t2 / (1.0 + (t2 / 0.45) ** 2)
    return _coarser(station.volume, near * t2 + (1 - near) * fat_dark, pixel_mm)


def t2_axial(station: SimulatedStation, size: int, pixel_mm: float) -> Volume:
    """Cut an axial T2w block, centred on the lesions or else on the cord.

    Args:
        station: The sagittal T2w station.
        size: Rows and columns.
        pixel_mm: Edge of a pixel.

    Returns:
        16 slices at 4.4 mm; black where the station has no slices.
    """
    labels = station.lesion if station.lesion.any() else station.cord
    spacing = (pixel_mm, pixel_mm, _AXIAL_SLICE_MM)
    shape = (size, size, _AXIAL_SLICES)
    centre = _centre_ras(labels, station.volume.affine_ras)
    return _resampled(station.volume, _grid(centre, shape, spacing), shape)


def localizer(
    station: SimulatedStation, size: int, pixel_mm: float
) -> tuple[Volume, ...]:
    """Cut the three planes of a localizer, three slices each.

    Args:
        station: The sagittal T2w station that the planes are cut from.
        size: Rows and columns.
        pixel_mm: Edge of a pixel.

    Returns:
        Sagittal, coronal and axial slices with little contrast.
    """
    source = station.volume
    flat = np.clip(_relative(source), 0.0, 1.2) ** 0.6
    blurred = _blurred(flat.astype(np.float32), source.spacing_mm, pixel_mm)
    soft = Volume(blurred, source.affine_ras, source.name)
    centre = _centre_ras(np.ones_like(station.cord), source.affine_ras)
    stacks = []
    for normal in range(3):
        shape, spacing = [size] * 3, [pixel_mm] * 3
        shape[normal], spacing[normal] = _LOCALIZER_SLICES, _LOCALIZER_GAP_MM
        grid = _grid(centre, tuple(shape), tuple(spacing))
        stacks.append(_resampled(soft, grid, tuple(shape)))
    return tuple(stacks)


def _relative(volume: Volume) -> Float32Array:
    scale = max(float(np.percentile(volume.voxels, 99.5)), 1e-6)
    return np.asarray(np.maximum(volume.voxels, 0.0) / scale, dtype=np.float32)


def _near_cord(station: SimulatedStation) -> Float32Array:
    """1 in the cord and its fluid, 0 further away, soft between."""
    if not station.cord.any():
        return np.zeros(station.cord.shape, dtype=np.float32)
    distance_mm = ndimage.distance_transform_edt(
        station.cord == 0, sampling=station.volume.spacing_mm
    )
    soft = (_FLUID_REACH_MM + 1.0 - np.asarray(distance_mm)) / 2.0
    return np.clip(soft, 0.0, 1.0).astype(np.float32)


def _coarser(source: Volume, voxels: Float32Array, pixel_mm: float) -> Volume:
    """Lay an image on a grid with the same slices and larger pixels."""
    slice_axis = source.slice_axis
    edges_mm = np.asarray(source.spacing_mm)
    factor = np.maximum(pixel_mm / edges_mm, 1.0)
    factor[slice_axis] = 1.0
    shape = tuple(np.maximum(np.round(source.voxels.shape / factor), 1).astype(int))
    affine = source.affine_ras.copy()
    affine[:3, :3] = affine[:3, :3] * factor
    first = (np.asarray(source.voxels.shape) - 1 - (np.asarray(shape) - 1) * factor) / 2
    affine[:3, 3] = (source.affine_ras @ np.append(first, 1.0))[:3]
    blurred = _blurred(voxels, source.spacing_mm, pixel_mm, keep=slice_axis)
    return _resampled(Volume(blurred, source.affine_ras, source.name), affine, shape)


def _blurred(
    voxels: Float32Array,
    spacing_mm: tuple[float, float, float],
    pixel_mm: float,
    keep: int | None = None,
) -> Float32Array:
    """Smooth before going to larger pixels, so that noise is averaged."""
    ratio = pixel_mm / np.asarray(spacing_mm)
    sigma = 0.4 * np.sqrt(np.maximum(ratio**2 - 1.0, 0.0))
    if keep is not None:
        sigma[keep] = 0.0
    return np.asarray(ndimage.gaussian_filter(voxels, sigma), dtype=np.float32)


def _centre_ras(labels: NDArray[np.uint8], affine_ras: Affine) -> Affine:
    inside = np.argwhere(labels) if labels.any() else np.argwhere(labels == 0)
    centre = np.append((inside.min(axis=0) + inside.max(axis=0)) / 2, 1.0)
    return np.asarray((affine_ras @ centre)[:3], dtype=np.float64)


def _grid(
    centre_ras: Affine, shape: tuple[int, ...], spacing_mm: tuple[float, ...]
) -> Affine:
    """Affine of an upright RAS grid around a point."""
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = centre_ras - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def _resampled(source: Volume, affine: Affine, shape: tuple[int, ...]) -> Volume:
    to_source = np.linalg.inv(source.affine_ras) @ affine
    voxels = ndimage.affine_transform(
        source.voxels,
        to_source[:3, :3],
        offset=to_source[:3, 3],
        output_shape=shape,
        order=1,
        mode="grid-constant",
        output=np.float32,
    )
    return Volume(np.asarray(voxels, dtype=np.float32), affine, source.name)
