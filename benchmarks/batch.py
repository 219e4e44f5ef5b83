"""Ten studies in one call of ``spinaldx predict`` against ten calls.

One round is one call for all studies, then one call each; medians over rounds.
Processor seconds are those of the program's processes. The results of both ways
must have the same bytes.

    python benchmarks/batch.py image.nii.gz --rounds 3
"""

import argparse
import hashlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np

from spinaldx.cli.options import DEFAULT_WEIGHTS


def write_studies(image, folder, count):
    """Write copies of an image that differ in one voxel, one folder each."""
    source = nibabel.load(image)
    voxels = np.asarray(source.dataobj, dtype=np.float32)
    for number in range(count):
        study = folder / f"study-{number:02d}"
        study.mkdir()
        changed = voxels.copy()
        changed.flat[0] += number + 1
        copy = nibabel.Nifti1Image(changed, source.affine)
        nibabel.save(copy, study / "t2.nii.gz")
    return sorted(folder.iterdir())


def predict(inputs, out, options):
    command = [sys.executable, "-m", "spinaldx", "predict", *map(str, inputs)]
    subprocess.run(
        [*command, "-o", str(out), "-q", *options],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def measured(work):
    """Return wall and processor seconds of child processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    work()
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, processor


def digests(out):
    files = [path for path in out.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.parent.name != "runs"
    }


def one_round(studies, folder, options):
    together, alone = folder / "together", folder / "alone"
    in_one = measured(lambda: predict(studies, together, options))

    def one_by_one():
        for study in studies:
            predict([study], alone, options)

    in_ten = measured(one_by_one)
    return in_one, in_ten, digests(together) == digests(alone)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path, help="a sagittal T2w NIfTI file")
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS)
    parser.add_argument("--studies", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-report", action="store_true")
    given = parser.parse_args()
    options = ["--weights", given.weights]
    options += ["--no-report"] if given.no_report else []
    rounds = []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "in").mkdir()
        studies = write_studies(given.image, folder / "in", given.studies)
        for number in range(given.rounds):
            place = folder / str(number)
            rounds.append(one_round(studies, place, options))
    print(f"{given.studies} studies, medians of {given.rounds} rounds")
    print(f"{'':12}{'wall s':>9}{'processor s':>13}{'wall s a study':>16}")
    for place, name in enumerate(("one call", "single calls")):
        wall, processor = (
            statistics.median(found[place][part] for found in rounds) for part in (0, 1)
        )
        each = wall / given.studies
        print(f"{name:12}{wall:9.2f}{processor:13.2f}{each:16.2f}")
    print("same bytes:", "yes" if all(found[2] for found in rounds) else "NO")


if __name__ == "__main__":
    main()
