"""How three makers of scanners fill in the tags of a spine study.

Written from the habits one meets in practice: names of series, image types, codes
of sequences, numbering, file names. The values identify no real machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np


class Role(StrEnum):
    """What a series of a study is."""

    LOCALIZER = "localizer"
    T2_SAGITTAL = "t2_sagittal"
    T1_SAGITTAL = "t1_sagittal"
    STIR_SAGITTAL = "stir_sagittal"
    T2_AXIAL = "t2_axial"


@dataclass(frozen=True, slots=True)
class Protocol:
    """The acquisition tags of one series.

    Attributes:
        description: Text of SeriesDescription; ``{region}`` is filled in.
        sequence: ScanningSequence.
        variant: SequenceVariant.
        options: ScanOptions.
        name: SequenceName, empty where the maker leaves it out.
        image_type: ImageType.
        repetition_ms: TR.
        echo_ms: TE.
        train: EchoTrainLength.
        flip_degrees: FlipAngle.
        inversion_ms: TI, or None.
    """

    description: str
    sequence: tuple[str, ...]
    variant: tuple[str, ...]
    options: tuple[str, ...]
    name: str
    image_type: tuple[str, ...]
    repetition_ms: float
    echo_ms: float
    train: int
    flip_degrees: float
    inversion_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Vendor:
    """One maker's habits.

    Attributes:
        name: Short, for the ``site`` column.
        manufacturer: As in the Manufacturer tag.
        field_tesla: Magnetic field strength.
        series_step: Series are numbered step*n + offset, n from 1.
        series_offset: See above.
        regions: What the maker's users write for a region.
        body_parts: BodyPartExamined by region; empty leaves it out.
        protocols: By role.
    """

    name: str
    manufacturer: str
    field_tesla: float
    series_step: int
    series_offset: int
    regions: Mapping[str, str]
    body_parts: Mapping[str, str]
    protocols: Mapping[Role, Protocol]


_SIEMENS_TYPE = ("ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D")
_SIEMENS_TSE = ("SK", "SP", "OSP")
_GE_TYPE = ("ORIGINAL", "PRIMARY", "OTHER")
_GE_FSE = ("FAST_GEMS", "NPW", "TRF_GEMS", "FILTERED_GEMS")
_PHILIPS_SE = ("ORIGINAL", "PRIMARY", "M_SE", "M", "SE")

SIEMENS = Vendor(
    name="siemens",
    manufacturer="SIEMENS",
    field_tesla=1.5,
    series_step=1,
    series_offset=0,
    regions=MappingProxyType({"cervical": "HWS", "thoracic": "BWS", "lumbar": "LWS"}),
    body_parts=MappingProxyType(
        {"cervical": "CSPINE", "thoracic": "TSPINE", "lumbar": "LSPINE"}
    ),
    protocols=MappingProxyType(
        {
            Role.LOCALIZER: Protocol(
                "localizer", ("GR",), _SIEMENS_TSE, ("PFP",), "*fl2d1",
                _SIEMENS_TYPE, 8.6, 4.0, 1, 20.0,
            ),
            Role.T2_SAGITTAL: Protocol(
                "t2_tse_sag_{region}", ("SE",), _SIEMENS_TSE, ("SAT1",), "*tse2d1_17",
                _SIEMENS_TYPE, 3500.0, 98.0, 17, 150.0,
            ),
            Role.T1_SAGITTAL: Protocol(
                "t1_tse_sag_{region}", ("SE",), _SIEMENS_TSE, ("SAT1",), "*tse2d1_3",
                _SIEMENS_TYPE, 620.0, 9.8, 3, 150.0,
            ),
            Role.STIR_SAGITTAL: Protocol(
                "t2_tirm_sag_{region}", ("SE", "IR"), ("SK", "SP", "MP", "OSP"),
                ("SAT1",), "*tir2d1_13", _SIEMENS_TYPE, 4200.0, 56.0, 13, 150.0, 160.0,
            ),
            Role.T2_AXIAL: Protocol(
                "t2_tse_tra_{region}", ("SE",), _SIEMENS_TSE, ("SAT1",), "*tse2d1_15",
                _SIEMENS_TYPE, 4100.0, 102.0, 15, 150.0,
            ),
        }
    ),
)  # fmt: skip

GE = Vendor(
    name="ge",
    manufacturer="GE MEDICAL SYSTEMS",
    field_tesla=1.5,
    series_step=1,
    series_offset=0,
    regions=MappingProxyType(
        {"cervical": "C-SPINE", "thoracic": "T-SPINE", "lumbar": "L-SPINE"}
    ),
    # GE consoles take the body part from the protocol; many sites leave SPINE.
    body_parts=MappingProxyType(
        {"cervical": "SPINE", "thoracic": "SPINE", "lumbar": "SPINE"}
    ),
    protocols=MappingProxyType(
        {
            Role.LOCALIZER: Protocol(
                "3-Plane Loc", ("GR",), ("SS",), ("FAST_GEMS",), "",
                _GE_TYPE, 5.4, 1.6, 1, 30.0,
            ),
            Role.T2_SAGITTAL: Protocol(
                "Sag T2 FRFSE {region}", ("SE",), ("SK",), _GE_FSE, "",
                _GE_TYPE, 3117.0, 102.5, 20, 90.0,
            ),
            Role.T1_SAGITTAL: Protocol(
                "Sag T1 FSE {region}", ("SE",), ("SK",), _GE_FSE, "",
                _GE_TYPE, 580.0, 11.2, 3, 90.0,
            ),
            Role.STIR_SAGITTAL: Protocol(
                "Sag STIR {region}", ("SE", "IR"), ("SK",), _GE_FSE, "",
                _GE_TYPE, 4500.0, 45.2, 12, 90.0, 150.0,
            ),
            Role.T2_AXIAL: Protocol(
                "Ax T2 FRFSE {region}", ("SE",), ("SK",), _GE_FSE, "",
                _GE_TYPE, 3600.0, 105.1, 18, 90.0,
            ),
        }
    ),
)  # fmt: skip

PHILIPS = Vendor(
    name="philips",
    manufacturer="Philips Medical Systems",
    field_tesla=3.0,
    series_step=100,
    series_offset=1,
    regions=MappingProxyType({"cervical": "CSP", "thoracic": "TSP", "lumbar": "LSP"}),
    # Left out, as by many Philips sites.
    body_parts=MappingProxyType({}),
    protocols=MappingProxyType(
        {
            Role.LOCALIZER: Protocol(
                "Survey", ("GR",), ("SS",), ("OTHER",), "",
                ("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"), 11.0, 4.6, 1, 15.0,
            ),
            Role.T2_SAGITTAL: Protocol(
                "T2W_TSE_SAG {region}", ("SE",), ("SK",), ("FC",), "",
                _PHILIPS_SE, 2850.0, 120.0, 24, 90.0,
            ),
            Role.T1_SAGITTAL: Protocol(
                "T1W_TSE_SAG {region}", ("SE",), ("SK",), ("OTHER",), "",
                _PHILIPS_SE, 480.0, 8.0, 5, 90.0,
            ),
            Role.STIR_SAGITTAL: Protocol(
                "STIR_LongTE_SAG {region}", ("IR",), ("SK",), ("FC",), "",
                ("ORIGINAL", "PRIMARY", "M_IR", "M", "IR"),
                3900.0, 80.0, 17, 90.0, 200.0,
            ),
            Role.T2_AXIAL: Protocol(
                "T2W_TSE_TRA {region}", ("SE",), ("SK",), ("FC",), "",
                _PHILIPS_SE, 3300.0, 110.0, 21, 90.0,
            ),
        }
    ),
)  # fmt: skip

VENDORS: tuple[Vendor, ...] = (SIEMENS, GE, PHILIPS)


def vendor_of(case_seed: np.random.SeedSequence) -> Vendor:
    """Choose the maker of a patient's scanner, the same for every file format.

    Args:
        case_seed: The patient's seed; it is not advanced.
    """
    pick = np.random.default_rng([*case_seed.generate_state(4).tolist(), 1])
    return VENDORS[int(pick.integers(len(VENDORS)))]


def file_names(
    vendor: Vendor, uids: list[str], rng: np.random.Generator
) -> tuple[str, ...]:
    """Name a study's files as its exporter would: none ends in ``.dcm``.

    Args:
        vendor: Its habits.
        uids: SOPInstanceUID of every file, in the order of acquisition.
        rng: Draws the order of the files.

    Returns:
        One unique name a file; the alphabet says nothing about the order.
    """
    order = rng.permutation(len(uids)).tolist()
    if vendor.name == "siemens":
        return tuple(f"MR.{uid}" for uid in uids)
    if vendor.name == "ge":
        return tuple(f"i{1000 + 7 * place}.MRDC.{place + 1}" for place in order)
    return tuple(f"IM_{place:04X}" for place in order)
