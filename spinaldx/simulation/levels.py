"""Numbers and names of vertebrae and discs in the simulated truth.

Vertebrae are counted from the head: C1 is 1, T1 is 8, L1 is 20, S1 is 25. A disc
has the number of the vertebra above it plus 100: C2/C3 is 102, L5/S1 is 124.
"""

from collections.abc import Mapping
from types import MappingProxyType

FIRST_THORACIC = 8
FIRST_LUMBAR = 20
SACRUM = 25
DISC_OFFSET = 100

VERTEBRAE: tuple[str, ...] = (
    *(f"C{n}" for n in range(1, 8)),
    *(f"T{n}" for n in range(1, 13)),
    *(f"L{n}" for n in range(1, 6)),
    "S1",
)

_DISCS = {
    DISC_OFFSET + n: f"{VERTEBRAE[n - 1]}/{VERTEBRAE[n]}" for n in range(2, SACRUM)
}

LEVEL_NAMES: Mapping[int, str] = MappingProxyType(
    dict(enumerate(VERTEBRAE, start=1)) | _DISCS
)
