"""Everything that is written for a study: masks, JSON, pictures, PDF."""

from spinaldx.report.case import StoredCase, StoredHeatmap, StoredSeries
from spinaldx.report.prediction_json import COMPLETE, FAILED, json_schema
from spinaldx.report.results import (
    WriteOptions,
    read_case,
    write_case,
    write_failure,
)
from spinaldx.report.table import update_studies_csv

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
