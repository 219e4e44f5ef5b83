"""Where from side to side the cord lies: an ellipse across it, row by row.

A sagittal stack shows the cord from front to back well and from side to side hardly:
three or four slices go through it. An ellipse as thick as the cord, fitted to its
thickness in all slices nearby, says how far it reaches. Pure numpy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A slice shows the mean over its thickness: so many places in it are looked at.
_PLACES = np.array((-1.0, 0.0, 1.0)) / 3

# Middles are tried this far apart: a quarter of a slice, or a millimetre.
_STEP_SLICES = 0.25
_STEP_MM = 1.0


@dataclass(frozen=True, slots=True)
class SectionOptions:
    """Which ellipses are tried, and what speaks against them.

    Attributes:
        thickness_mm: Bounds of the thickness from front to back, tried every
            millimetre.
        widths: Half widths relative to the thickness. Normal cords measure 8.8 by
            12.4 mm at C2 and 8.7 by 14.0 mm at C4 (AJNR 1990); a round one has 0.5.
        usual_width: The half width that nothing speaks against.
        width_cost: Cost of a relative half width one away from the usual, in mm of
            misfit.
        least_half_width_mm: No cord is narrower.
        middle_cost: Cost of a middle one mm from the expected one, in mm of misfit,
            to choose between two places that fit nearly alike.
    """

    thickness_mm: tuple[float, float] = (4.0, 20.0)
    widths: tuple[float, ...] = (0.55, 0.65, 0.75, 0.85)
    usual_width: float = 0.7
    width_cost: float = 10.0
    least_half_width_mm: float = 3.5
    middle_cost: float = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class CrossSections:
    """Ellipses across the cord.

    Attributes:
        middle_mm: From the first slice's centre, (R,).
        half_width_mm: (R,).
    """

    middle_mm: Floats
    half_width_mm: Floats

    def at(self, rows: NDArray[np.intp], every: NDArray[np.intp]) -> "CrossSections":
        """Interpolate sections of rising rows to every row, ends held."""
        middle = np.interp(every, rows, self.middle_mm)
        return CrossSections(middle, np.interp(every, rows, self.half_width_mm))


def fit_cross_sections(
    thickness_mm: Floats,
    expected_mm: Floats,
    slice_mm: float,
    options: SectionOptions | None = None,
) -> CrossSections:
    """Fit an ellipse to the cord's thickness in the slices of each row.

    The sum of absolute differences decides: a spindle of fluid beside the cord,
    taken for cord, moves it little.

    Args:
        thickness_mm: From front to back in each slice, (R, S), 0 where none is seen.
        expected_mm: Where the middle is expected, from the first slice's centre, (R,).
        slice_mm: Distance between slices.
        options: What is tried.

    Returns:
        R ellipses; none for no row.
    """
    options = options or SectionOptions()
    middles, half_widths, fitted, cost = _candidates(
        thickness_mm.shape[1], slice_mm, options
    )
    best = np.array(
        [
            np.argmin(
                np.abs(fitted - seen).sum(axis=1)
                + cost
                + options.middle_cost * np.abs(middles - expected)
            )
            for seen, expected in zip(thickness_mm, expected_mm, strict=True)
        ],
        dtype=np.intp,
    )
    return CrossSections(middles[best], half_widths[best])


def _candidates(
    slices: int, slice_mm: float, options: SectionOptions
) -> tuple[Floats, Floats, Floats, Floats]:
    """Middle, half width, thickness in each slice (C, S) and cost of C ellipses."""
    step_mm = max(_STEP_SLICES * slice_mm, _STEP_MM)
    last_mm = (slices - 1) * slice_mm
    # Evenly about the middle of the stack, so that left and right are alike.
    steps = int(last_mm / 2 / step_mm)
    places_mm = last_mm / 2 + np.arange(-steps, steps + 1) * step_mm
    low, high = options.thickness_mm
    thickness, width, middle = (
        grid.ravel()
        for grid in np.meshgrid(
            np.arange(low, high + 0.5), options.widths, places_mm, indexing="ij"
        )
    )
    half_width = np.maximum(width * thickness, options.least_half_width_mm)
    across_mm = (np.arange(slices)[:, None] + _PLACES) * slice_mm
    away = (across_mm - middle[:, None, None]) / half_width[:, None, None]
    share = np.sqrt(np.clip(1 - away**2, 0, None)).mean(axis=2)
    cost = options.width_cost * np.abs(width - options.usual_width)
    return middle, half_width, thickness[:, None] * share, cost
