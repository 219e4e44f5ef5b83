"""Brightness of tissues on T2w images, relative to normal cord.

Around the priors of the project's domain notes (section 6b) for most patients, far
from them for a share: a network must not learn one scanner's contrast.
"""

from dataclasses import dataclass, fields

import numpy as np

# Share of the patients whose tissues lie far from the priors.
FAR_SHARE = 0.35


@dataclass(frozen=True, slots=True)
class Tissues:
    """Brightness of each tissue; the cord is 1.

    Attributes:
        csf: Cerebrospinal fluid.
        marrow: Vertebral marrow.
        disc: Hydrated discs.
        dry_disc: Worn discs.
        fat: Epidural and subcutaneous fat.
        muscle: Muscle without its fat.
        ligament: Ligaments, cortical bone, dura.
        vessel: Vessels with flow.
        brain: Brainstem.
        cerebellum: Cerebellum.
        organ: Solid organs, tongue, glands.
        fluid: Other fluids.
        grey: Grey matter of the cord.
        roots: Nerve roots.
    """

    csf: float = 3.2
    marrow: float = 0.9
    disc: float = 1.1
    dry_disc: float = 0.4
    fat: float = 1.9
    muscle: float = 0.45
    ligament: float = 0.12
    vessel: float = 0.15
    brain: float = 1.0
    cerebellum: float = 1.15
    organ: float = 0.8
    fluid: float = 2.2
    grey: float = 1.08
    roots: float = 0.95


_SPREAD_NEAR = 0.17
_SPREAD_FAR = 0.5

# CSF must stay this much brighter than cord, or the image is not T2w.
_LEAST_CSF = 1.35
_MOST_CSF = 6.5


def draw_tissues(rng: np.random.Generator) -> Tissues:
    """Draw the tissues of one patient's examination."""
    is_far = rng.random() < FAR_SHARE
    spread = _SPREAD_FAR if is_far else _SPREAD_NEAR
    drawn: dict[str, float] = {}
    for field in fields(Tissues):
        of_field = {
            "grey": 0.05,
            "brain": 0.06,
            "cerebellum": 0.12,
            "roots": 0.15,
            "csf": 0.3,
        }
        if not is_far:
            of_field |= {"marrow": 0.35, "disc": 0.35, "fat": 0.25}
        width = of_field.get(field.name, spread)
        middle = float(getattr(Tissues(), field.name))
        drawn[field.name] = middle * float(np.exp(rng.normal(0, width)))
    drawn["csf"] = float(np.clip(drawn["csf"], _LEAST_CSF, _MOST_CSF))
    drawn["grey"] = 1 + float(np.clip(abs(rng.normal(0.05, 0.1)), 0, 0.4))
    if rng.random() < 0.12:
        # Fat suppression: Dixon water images and T2w with spectral saturation.
        drawn["fat"] *= rng.uniform(0.08, 0.4)
        drawn["marrow"] *= rng.uniform(0.25, 0.6)
    if rng.random() < 0.3:
        # Long echo times and 3-D sequences: everything but fluid is dark.
        dim = rng.uniform(0.3, 0.7)
        for name in ("marrow", "muscle", "organ", "disc"):
            drawn[name] *= dim
        drawn["csf"] = min(drawn["csf"] * rng.uniform(1.0, 1.6), _MOST_CSF)
    return Tissues(**drawn)
