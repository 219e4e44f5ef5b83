"""The fault catalogue with counts, beside dcm2niix and highdicom alone.

Run: python benchmarks/faults.py [--mutations 1000] [--seed 0 | --fresh]

Prints for every group how many inputs came out right, warned, refused and
forbidden (traceback, silently wrong, slower than 10 s), the slowest input and the
peak of memory; then the series faults given to dcm2niix and to highdicom's volume
builder. Forbidden must be 0; the exit code says so.
"""

import argparse
import resource
import secrets
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import fault_catalogue as catalogue  # noqa: E402 - found through the line above
import highdicom  # noqa: E402
import nibabel  # noqa: E402
import numpy as np  # noqa: E402
import pydicom  # noqa: E402
import study_cases as cases  # noqa: E402

from spinaldx.study.dicom_index import quiet  # noqa: E402

TRUTH, AFFINE = cases.spine_voxels(), cases.spine_affine()
# What the other tools end with when they give an image.
_IMAGES = ("right", "wrong image")
KINDS = (catalogue.RIGHT, catalogue.WARNED, catalogue.REFUSED, catalogue.FORBIDDEN)


class Tally:
    """Counts of one group."""

    def __init__(self, name):
        self.name, self.counts, self.slowest, self.bad = name, Counter(), 0.0, []

    def add(self, label, outcome, *, expected=KINDS):
        kind = outcome.kind if outcome.kind in expected else catalogue.FORBIDDEN
        self.counts[kind] += 1
        self.slowest = max(self.slowest, outcome.seconds)
        if kind == catalogue.FORBIDDEN:
            self.bad.append(f"{label}: {outcome.kind} {outcome.detail[:100]}")

    def show(self):
        cells = "  ".join(f"{self.counts[kind]:6d}" for kind in KINDS)
        total = sum(self.counts.values())
        print(f"{self.name:34s}{total:6d}  {cells}  {self.slowest:8.2f}")
        for line in self.bad:
            print(f"    {line}")


def in_folder(work):
    with tempfile.TemporaryDirectory() as name, quiet():
        return work(Path(name) / "study")


def run_faults(name, faults):
    tally = Tally(name)
    for fault in faults:

        def work(folder, fault=fault):
            fault.build(folder)
            return catalogue.outcome_of(folder, TRUTH, AFFINE)

        tally.add(fault.name, in_folder(work), expected=fault.outcomes)
    return tally


def run_syntaxes():
    tally = Tally("C transfer syntaxes")
    for name, uid, expected, error in catalogue.SYNTAXES:

        def work(folder, uid=uid):
            catalogue.write_syntax(folder, uid)
            return catalogue.outcome_of(folder)

        outcome = in_folder(work)
        found = [np.transpose(v.voxels, (2, 1, 0))[::-1] for v in outcome.volumes]
        is_right = all(np.abs(voxels - TRUTH).max() <= error for voxels in found)
        tally.add(name, outcome, expected=(expected,) if is_right else ())
    return tally


def run_orientations():
    tally = Tally("E orientations")
    for way in catalogue.orientations():

        def work(folder, way=way):
            affine = catalogue.write_orientation(folder / "t2w.nii", *way)
            return catalogue.outcome_of(folder, TRUTH, affine)

        expected = (catalogue.RIGHT,)
        tally.add(str(way), in_folder(work), expected=expected)
    return tally


def run_mutations(name, make, seeds):
    tally = Tally(name)
    for seed in seeds:

        def work(folder, seed=seed):
            make(folder, seed)
            return catalogue.outcome_of(folder, TRUTH, AFFINE)

        tally.add(f"seed {seed}", in_folder(work))
    return tally


def dcm2niix_outcome(folder):
    """What a user of dcm2niix gets: its exit code, and whether a volume is right."""
    with tempfile.TemporaryDirectory() as out:
        command = ["dcm2niix", "-z", "n", "-o", out, "-f", "%s_%z", str(folder)]
        try:
            code = subprocess.run(
                command, capture_output=True, timeout=30, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return "hangs"
        return _judged(sorted(Path(out).glob("*.nii")), code)


def _judged(paths, code):
    images = []
    for path in paths:
        image = nibabel.load(path)
        if len(image.shape) == 3:
            images.append((np.asarray(image.dataobj, np.float32), image.affine))
    if code:
        return "refuses"
    return _right_or_wrong(images)


def highdicom_outcome(folder):
    """What highdicom's volume builder makes of all files of the folder."""
    try:
        datasets = [
            pydicom.dcmread(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        volume = highdicom.get_volume_from_series(datasets)
    except Exception:  # noqa: BLE001 - every refusal counts alike here
        return "refuses"
    affine = np.diag([-1, -1, 1, 1]) @ volume.affine
    return _right_or_wrong([(np.asarray(volume.array, np.float32), affine)])


def _right_or_wrong(images):
    class Found:
        """A volume for `catalogue.difference`."""

        def __init__(self, voxels, affine):
            self.voxels, self.affine_ras = voxels, affine

    if not images:
        return "no image"
    wrong = [catalogue.difference(Found(*item), TRUTH, AFFINE) for item in images]
    return _IMAGES[0] if not all(wrong) else _IMAGES[1]


def compare(faults):
    """Give the series faults to all three, faults and controls apart."""
    counts = {name: Counter() for name in ("spinaldx", "dcm2niix", "highdicom")}
    print(
        "\nseries fault                               spinaldx   dcm2niix             highdicom"
    )
    for fault in faults:
        with tempfile.TemporaryDirectory() as name, quiet():
            folder = Path(name) / "study"
            fault.build(folder)
            others = (dcm2niix_outcome(folder), highdicom_outcome(folder))
            if catalogue.RIGHT not in fault.outcomes:
                # Any image without a word is wrong where something is amiss.
                others = tuple("image, no error" if o in _IMAGES else o for o in others)
            row = (catalogue.outcome_of(folder, TRUTH, AFFINE).kind, *others)
        print(f"{fault.name:43s}{row[0]:11s}{row[1]:21s}{row[2]}")
        for tool, outcome in zip(counts, row, strict=True):
            counts[tool][outcome] += 1
    for tool, tally in counts.items():
        print(f"{tool}: {dict(tally)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="draw a new first seed")
    chosen = parser.parse_args()
    first = secrets.randbelow(1 << 31) if chosen.fresh else chosen.seed
    seeds = range(first, first + chosen.mutations)
    print(f"first seed {first}")
    head = "  ".join(f"{kind[:6]:>6s}" for kind in KINDS)
    print(f"{'group':34s}{'n':>6s}  {head}  {'slowest s':>9s}")
    tallies = []
    for make in (
        lambda: run_faults("A series", catalogue.SERIES_FAULTS),
        lambda: run_faults("B DICOM bytes", catalogue.BYTE_FAULTS),
        lambda: run_mutations("B DICOM, mutated", catalogue.mutated_dicom, seeds),
        run_syntaxes,
        lambda: run_faults("D NIfTI", catalogue.NIFTI_FAULTS),
        lambda: run_mutations("D NIfTI, mutated", catalogue.mutated_nifti, seeds),
        run_orientations,
    ):
        tallies.append(make())
        tallies[-1].show()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"peak memory {peak:.2f} GB, of a decoding process {child:.2f} GB")
    compare(catalogue.SERIES_FAULTS)
    sys.exit(int(any(tally.counts[catalogue.FORBIDDEN] for tally in tallies)))


if __name__ == "__main__":
    main()
