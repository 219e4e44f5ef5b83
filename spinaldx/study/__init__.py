"""Folders to studies, series and volumes: the only place that reads images.

Names are imported when first used, so that the command line starts fast and a run
on NIfTI files never imports the DICOM libraries.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spinaldx.study.archive import ImageFile
    from spinaldx.study.cases import HEALTHY, read_cases
    from spinaldx.study.choose import (
        load_series,
        load_study,
        nothing_chosen,
        scan_study,
    )
    from spinaldx.study.masks import read_mask
    from spinaldx.study.series import (
        CaseRow,
        SeriesCandidate,
        StudyScan,
        StudySource,
        Verdict,
    )
    from spinaldx.study.sources import CODE_NOTE, find_studies

_HOMES = {
    "CODE_NOTE": "sources",
    "HEALTHY": "cases",
    "CaseRow": "series",
    "ImageFile": "archive",
    "SeriesCandidate": "series",
    "StudyScan": "series",
    "StudySource": "series",
    "Verdict": "series",
    "find_studies": "sources",
    "load_series": "choose",
    "load_study": "choose",
    "nothing_chosen": "choose",
    "read_cases": "cases",
    "read_mask": "masks",
    "scan_study": "choose",
}

__all__ = [
    "CODE_NOTE",
    "HEALTHY",
    "CaseRow",
    "ImageFile",
    "SeriesCandidate",
    "StudyScan",
    "StudySource",
    "Verdict",
    "find_studies",
    "load_series",
    "load_study",
    "nothing_chosen",
    "read_cases",
    "read_mask",
    "scan_study",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
