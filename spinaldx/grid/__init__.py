"""Scanner space to the networks' grids and exactly back.

`stack` has the segmentation network's grid, `neighbours` its channels, `crops` the
classifiers' windows.
Training and inference prepare images with this unit alone.
"""

from spinaldx.grid.crops import (
    CHANNELS,
    NUMBER_CHANNELS,
    CropInputs,
    Crops,
    CropSpec,
    CropWindow,
    contrast_level,
    lesion_crops,
    maps_to_source,
    told_numbers,
    volume_level,
)
from spinaldx.grid.neighbours import neighbour_offsets, with_neighbours
from spinaldx.grid.stack import (
    GridImage,
    GridSpec,
    GridTransform,
    anatomical_axes,
    labels_to_grid,
    linear_weights,
    plan_grid,
    reference_intensity,
    thick_slices,
    to_grid,
    to_source,
)

__all__ = [
    "CHANNELS",
    "NUMBER_CHANNELS",
    "CropInputs",
    "CropSpec",
    "CropWindow",
    "Crops",
    "GridImage",
    "GridSpec",
    "GridTransform",
    "anatomical_axes",
    "contrast_level",
    "labels_to_grid",
    "lesion_crops",
    "linear_weights",
    "maps_to_source",
    "neighbour_offsets",
    "plan_grid",
    "reference_intensity",
    "thick_slices",
    "to_grid",
    "to_source",
    "told_numbers",
    "volume_level",
    "with_neighbours",
]
