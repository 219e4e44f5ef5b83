"""A simulated patient made by hand: two small stations with known voxels."""

import numpy as np

from spinaldx.records import Disease, Volume
from spinaldx.simulation.patient import SimulatedPatient, SimulatedStation


def station(region, height_mm):
    """9 oblique slices of 40x56 voxels, 0.9x0.8x3.3 mm; fluid 900, cord 500."""
    turn = np.deg2rad(7.0)
    rotation = np.array(
        [
            [np.cos(turn), -np.sin(turn), 0.0],
            [np.sin(turn), np.cos(turn), 0.0],
            [0.0, 0.0, 1.0],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([3.3, 0.9, 0.8])
    affine[:3, 3] = (-12.0, -20.0, height_mm)
    rng = np.random.default_rng(7)
    voxels = rng.uniform(80, 180, (9, 40, 56)).astype(np.float32)
    voxels[2:7, 14:26] += 720
    cord = np.zeros(voxels.shape, np.uint8)
    cord[3:6, 17:23] = 1
    voxels[cord == 1] -= 400
    lesion = np.zeros_like(cord)
    lesion[4, 18:22, 20:32] = 1
    voxels[lesion == 1] += 250
    levels = np.zeros_like(cord)
    levels[3:6, 28:38, 10:20] = 3
    image = Volume(voxels, affine, region)
    return SimulatedStation(image, lesion, cord, levels, region)


def handmade_patient():
    stations = (station("cervical", 40.0), station("thoracic", -10.0))
    return SimulatedPatient("sim-0001", Disease.MS, 34, "F", "cervical", stations)
