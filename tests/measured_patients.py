"""Measures simulated patients by their rendered masks alone."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

# Fragments below this are not counted as lesions of their own.
SMALLEST_MM3 = 15.0


@dataclass(frozen=True)
class Measured:
    count: int
    levels: tuple[int, ...]
    volume_ml: float


def level_volumes_ml(station):
    """Lesion volume by vertebral level: each voxel counts for the nearest one."""
    affine = station.volume.affine_ras
    bone = np.argwhere((station.levels > 0) & (station.levels < 100))[::7]
    lesion = np.argwhere(station.lesion > 0)
    if not len(bone) or not len(lesion):
        return {}
    tree = cKDTree(bone @ affine[:3, :3].T)
    _, nearest = tree.query(lesion @ affine[:3, :3].T)
    numbers = station.levels[tuple(bone[nearest].T)]
    each = station.volume.voxel_mm3 / 1000
    return {int(n): float((numbers == n).sum() * each) for n in np.unique(numbers)}


def count_lesions(station):
    pieces, _ = ndimage.label(station.lesion, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())[1:] * station.volume.voxel_mm3
    return int((sizes >= SMALLEST_MM3).sum())


def measure(patient):
    """Count, levels and volume; a level seen twice counts where it is fuller."""
    best = {}
    for station in patient.stations:
        for level, volume in level_volumes_ml(station).items():
            best[level] = max(best.get(level, 0.0), volume)
    return Measured(
        count=max(count_lesions(station) for station in patient.stations),
        levels=tuple(sorted(level for level, ml in best.items() if ml > 0.01)),
        volume_ml=sum(best.values()),
    )
