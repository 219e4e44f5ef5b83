"""Everything that is written for a study: masks, JSON, pictures, PDF.

Names are imported when first used: what draws and writes takes time to import, and
a run needs it last.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spinaldx.report.case import StoredCase, StoredHeatmap, StoredSeries
    from spinaldx.report.prediction_json import COMPLETE, FAILED, json_schema
    from spinaldx.report.results import (
        WriteOptions,
        read_case,
        write_case,
        write_failure,
    )
    from spinaldx.report.table import update_studies_csv

_HOMES = {
    "COMPLETE": "prediction_json",
    "FAILED": "prediction_json",
    "StoredCase": "case",
    "StoredHeatmap": "case",
    "StoredSeries": "case",
    "WriteOptions": "results",
    "json_schema": "prediction_json",
    "read_case": "results",
    "update_studies_csv": "table",
    "write_case": "results",
    "write_failure": "results",
}

__all__ = [
    "COMPLETE",
    "FAILED",
    "StoredCase",
    "StoredHeatmap",
    "StoredSeries",
    "WriteOptions",
    "json_schema",
    "read_case",
    "update_studies_csv",
    "write_case",
    "write_failure",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
