"""What it costs to write one study: files, pictures, PDF, by kind of study.

Processor seconds of one core, so that a busy machine does not matter; wall seconds
beside them. The PDF is held to 1.5 s and 1.5 MB. Imports are timed in processes of
their own, and the alternatives of `docs/decisions/0008-drawing-reports.md` too.

    python benchmarks/report.py --rounds 5
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from report_cases import case_of  # noqa: E402 - found through the line above

from spinaldx.records import CaseResult, Diagnosis  # noqa: E402
from spinaldx.report import WriteOptions, read_case, write_case  # noqa: E402
from spinaldx.report.document import pdf_bytes  # noqa: E402
from spinaldx.report.panels import CasePictures  # noqa: E402
from spinaldx.report.pictures import (  # noqa: E402
    FigureFormat,
    write_figures,
    write_pictures,
)
from spinaldx.report.rebuild import SourceImages, load_case  # noqa: E402

KINDS = {
    "typical, 13 of 384x216": {
        "shape": (13, 384, 216),
        "spacing_mm": (3.3, 0.65, 0.65),
        "lesions": 2,
        "lesion_slices": 5,
    },
    "no lesion": {
        "shape": (13, 384, 216),
        "spacing_mm": (3.3, 0.65, 0.65),
        "diagnosis": Diagnosis.NO_LESION,
    },
    "12 lesions": {
        "shape": (15, 384, 256),
        "spacing_mm": (3.3, 0.7, 0.7),
        "lesions": 12,
        "lesion_slices": 5,
    },
    "40 lesion slices": {
        "shape": (60, 256, 160),
        "spacing_mm": (1.0, 1.0, 1.0),
        "lesions": 2,
        "lesion_slices": 40,
    },
    "three stations": {
        "shape": (13, 320, 320),
        "spacing_mm": (3.3, 0.9, 0.9),
        "series": ("t2w-01", "t2w-02", "t2w-03"),
        "lesion_slices": 5,
    },
    "15 of 512x512": {
        "shape": (15, 512, 512),
        "spacing_mm": (3.3, 0.5, 0.5),
        "lesion_slices": 7,
    },
}
IMPORTS = ("spinaldx.report", "reportlab.pdfgen.canvas", "matplotlib.figure", "nibabel")


def timed(rounds: int, work: Callable[[], object]) -> tuple[float, float]:
    """Median processor and wall seconds of a piece of work, after one run to warm up."""
    work()
    found = []
    for _ in range(rounds):
        processor, wall = time.process_time(), time.perf_counter()
        work()
        found.append((time.process_time() - processor, time.perf_counter() - wall))
    processor, wall = (statistics.median(column) for column in zip(*found, strict=True))
    return processor, wall


def measure(result: CaseResult, rounds: int, folder: Path) -> list[str]:
    """Time each part of one study."""
    bare = WriteOptions(report=False)
    files = timed(rounds, lambda: write_case(result, folder, bare))
    case = load_case(folder, read_case(folder), SourceImages(()))
    pdf = timed(rounds, lambda: pdf_bytes(CasePictures(case)))
    pictures = timed(rounds, lambda: write_pictures(CasePictures(case), folder))
    size = len(pdf_bytes(CasePictures(case)))
    cells = [
        f"{processor:.2f} ({wall:.2f})" for processor, wall in (files, pdf, pictures)
    ]
    return [*cells, f"{size / 1e6:.2f} MB"]


def import_seconds(module: str, rounds: int) -> float:
    """Median processor seconds that an import takes, beyond numpy."""
    code = (
        "import numpy, time; t = time.process_time(); "
        f"import {module}; print(time.process_time() - t)"
    )
    command = [sys.executable, "-c", code]
    runs = [
        subprocess.run(command, capture_output=True, check=True) for _ in range(rounds)
    ]
    return statistics.median(float(run.stdout) for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print("processor seconds (wall seconds), medians\n")
    print("| study | files | PDF | pictures | PDF size |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind, changes in KINDS.items():
            cells = measure(case_of(**changes), rounds, Path(folder) / "study")
            print(f"| {kind} | {' | '.join(cells)} |")
        result = case_of(**KINDS["typical, 13 of 384x216"])
        write_case(result, Path(folder) / "a", WriteOptions(report=False))
        case = load_case(
            Path(folder) / "a", read_case(Path(folder) / "a"), SourceImages(())
        )
        pictures = CasePictures(case)
        svg = timed(1, lambda: write_figures(pictures, Path(folder), FigureFormat.SVG))
        print(f"\nseven figures by matplotlib (SVG): {svg[0]:.2f} s")
    for module in IMPORTS:
        print(f"import {module}: {import_seconds(module, rounds):.2f} s")


if __name__ == "__main__":
    main()
