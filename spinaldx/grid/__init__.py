"""Scanner space to the networks' grids and exactly back.

`stack` has the segmentation network's grid, `crops` the classifiers' windows.
Training and inference prepare images with this unit alone.
"""

from spinaldx.grid.crops import (
    CropInputs,
    Crops,
    CropSpec,
    CropWindow,
    lesion_crops,
    maps_to_source,
)
from spinaldx.grid.stack import (
    GridImage,
    GridSpec,
    GridTransform,
    anatomical_axes,
    labels_to_grid,
    linear_weights,
    plan_grid,
    reference_intensity,
    to_grid,
    to_source,
)

__all__ = [
    "CropInputs",
    "CropSpec",
    "CropWindow",
    "Crops",
    "GridImage",
    "GridSpec",
    "GridTransform",
    "anatomical_axes",
    "labels_to_grid",
    "lesion_crops",
    "linear_weights",
    "maps_to_source",
    "plan_grid",
    "reference_intensity",
    "to_grid",
    "to_source",
]
