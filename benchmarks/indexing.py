"""Time to index 5,000 DICOM files: headers only, one process.

Run: python benchmarks/indexing.py [--files 5000]
Side by side: what pydicom alone takes to parse the same headers.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import pydicom  # noqa: E402 - found through the line above
import study_cases as cases  # noqa: E402

from spinaldx.study import find_studies  # noqa: E402

FILES_A_STUDY = 250
REPEATS = 3


def write_tree(folder, n_files):
    """Write studies of 250 files each under names without extension."""
    pixels = cases.spine_voxels()[5]
    for study in range(n_files // FILES_A_STUDY):
        slices = [
            cases.dicom_slice(pixels, index, study=study + 1)
            for index in range(FILES_A_STUDY)
        ]
        cases.save(slices, folder / f"patient{study:03d}")


def median_seconds(work):
    """Median wall time of three runs."""
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    n_files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tree(folder, n_files)
        paths = [path for path in folder.rglob("*") if path.is_file()]

        def with_pydicom():
            for path in paths:
                pydicom.dcmread(path, stop_before_pixels=True)

        ours = median_seconds(lambda: find_studies([folder]))
        theirs = median_seconds(with_pydicom)
    print(f"files                         {len(paths)}")
    print(
        f"spinaldx find_studies         {ours:.2f} s  {ours / len(paths) * 1e3:.2f} ms a file"
    )
    print(
        f"pydicom dcmread, no pixels    {theirs:.2f} s  {theirs / len(paths) * 1e3:.2f} ms a file"
    )


if __name__ == "__main__":
    main()
