"""A cold `spinaldx predict` of one study, from the shell's point of view.

One study of 13 slices of 384x216, networks at full width with random weights (time
does not depend on their values), and a person's mask on six slices so that the
classifiers have as much to do as on a patient. Measures wall time, processor time and
peak memory of the process with and without report, `spinaldx --help`, and where the
time goes. Rounds are interleaved; medians and minima are printed.

    python benchmarks/process.py [--rounds 5] [--network fast|reference]
                                 [--precision fp32|bf16]

bf16 is what `auto` takes for a bundle that lists it in `fast_precision` (after a
recorded comparison) on a processor with such units.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from spinaldx.grid import CropSpec, GridSpec
from spinaldx.models import Bundle, ClassifierPart, SegmentationPart, write_bundle
from spinaldx.models.specs import DenseNetSpec
from spinaldx.models.torch_networks import build_densenet, build_multiresunet
from spinaldx.records import Disease, Task
from spinaldx.simulation.patient import PatientOptions, simulate_patient
from spinaldx.training.options import PRESETS

SHAPE = (13, 384, 216)
LESION_SLICES = slice(4, 10)

# Where the time goes, told by the process itself; the parent adds the rest.
STAGED = """
import sys, time
start = time.perf_counter(); marks = []
def mark(name):
    global start
    now = time.perf_counter(); marks.append((name, now - start)); start = now
from pathlib import Path
import spinaldx.cli.app, numpy
mark("import command line, numpy")
from spinaldx.models import find_bundle, open_networks
from spinaldx.study import find_studies, load_study, read_mask
from spinaldx.cascade import run_case
image, mask, weights, out = map(Path, sys.argv[1:5])
bundle = find_bundle(str(weights))
mark("import stages, read bundle.json")
volumes = load_study(find_studies([image])[0])
drawn = {volumes[0].name: read_mask(mask, volumes[0])}
mark("find, read and check the image")
networks = open_networks(bundle)
mark("open networks (compiling goes on behind)")
grid = bundle.segmentation.grid
from spinaldx.grid import to_grid
stack = to_grid(volumes[0], grid).pixels
networks.segment(stack[:1, None])
mark("first slice: waiting for the compiler")
networks.segment(stack[:, None])
mark("segmentation again, 13 slices, compiled")
result = run_case("study", volumes, networks, bundle, masks=drawn)
mark("whole cascade, compiled")
from spinaldx.report import WriteOptions, write_case
mark("import report")
write_case(result, out / "bare", WriteOptions(report=False))
mark("write masks and JSON")
write_case(result, out / "full", WriteOptions(report=True))
mark("the same with pictures and PDF")
for name, seconds in marks:
    print(f"  {seconds:7.3f} s  {name}")
"""


@dataclass(frozen=True)
class Run:
    wall_s: float
    processor_s: float
    peak_mb: float


def random_bundle(folder: Path, network: str, precision: str) -> Bundle:
    torch.manual_seed(0)
    preset = PRESETS[network]
    parts = {
        task: ClassifierPart(
            DenseNetSpec(), 0.5, 0.05, 1.0, f"{task.value}.safetensors"
        )
        for task in Task
    }
    bundle = Bundle(
        name="random", version="0", licence="none", intended_use="benchmark",
        training_data="simulated",
        segmentation=SegmentationPart(preset.segmentation, GridSpec(), 0.5, 30.0),
        classifiers=parts, crop=CropSpec(),
        fast_precision=() if precision == "fp32" else (precision,),
    )  # fmt: skip
    networks = {"segmentation": build_multiresunet(preset.segmentation)}
    networks |= {task.value: build_densenet(DenseNetSpec()) for task in Task}
    tensors = {
        name: {key: value.numpy() for key, value in module.state_dict().items()}
        for name, module in networks.items()
    }
    return write_bundle(bundle, tensors, folder)


def fitted(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Cut or repeat edges until the shape fits."""
    for axis, wanted in enumerate(shape):
        start = max((array.shape[axis] - wanted) // 2, 0)
        array = np.take(
            array, range(start, min(start + wanted, array.shape[axis])), axis
        )
        missing = wanted - array.shape[axis]
        pad = [(0, 0)] * array.ndim
        pad[axis] = (missing // 2, missing - missing // 2)
        array = np.pad(array, pad, mode="edge")
    return array


def write_study(folder: Path) -> tuple[Path, Path]:
    options = PatientOptions(disease=Disease.EPENDYMOMA, in_plane_mm=0.8)
    patient = simulate_patient("x", np.random.SeedSequence(11), options)
    volume = patient.stations[0].volume
    order = [volume.slice_axis, *(a for a in range(3) if a != volume.slice_axis)]
    # Rows along the longer in-plane axis.
    if volume.voxels.shape[order[1]] < volume.voxels.shape[order[2]]:
        order[1], order[2] = order[2], order[1]
    voxels = fitted(np.transpose(volume.voxels, order), SHAPE)
    affine = volume.affine_ras[:, [*order, 3]]
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    mask = np.zeros(SHAPE, np.uint8)
    spot = ((rows - 190) / 40) ** 2 + ((columns - 108) / 7) ** 2 < 1
    mask[LESION_SLICES] = spot
    image = folder / "study" / "t2w.nii.gz"
    drawn = folder / "masks" / "study" / "t2w.nii.gz"
    for path, array in ((image, voxels.astype(np.int16)), (drawn, mask)):
        path.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(array, affine), path)
    return image.parent, drawn


def measure(command: list[str]) -> Run:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def report(name: str, runs: list[Run]) -> None:
    wall = [run.wall_s for run in runs]
    print(
        f"{name:<24} wall median {statistics.median(wall):.2f} s, least {min(wall):.2f} s"
        f"; processor {statistics.median(r.processor_s for r in runs):.2f} s"
        f"; peak {max(r.peak_mb for r in runs):.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", choices=sorted(PRESETS), default="fast")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        bundle = random_bundle(
            folder / "bundle", arguments.network, arguments.precision
        )
        study, drawn = write_study(folder)
        program = [sys.executable, "-m", "spinaldx"]
        common = [
            *program, "predict", str(study), "--weights", str(bundle.folder),
            "--masks", str(folder / "masks"), "-q",
        ]  # fmt: skip
        runs: dict[str, list[Run]] = {
            "help": [],
            "with report": [],
            "without report": [],
        }
        for number in range(arguments.rounds):
            out = folder / f"out-{number}"
            runs["help"].append(measure([*program, "--help"]))
            runs["with report"].append(measure([*common, "-o", str(out / "a")]))
            bare = [*common, "-o", str(out / "b"), "--no-report"]
            runs["without report"].append(measure(bare))
        for name, found in runs.items():
            report(name, found)
        print("one process, step by step:", flush=True)
        words = [str(study), str(drawn), str(bundle.folder), str(folder / "staged")]
        subprocess.run([sys.executable, "-c", STAGED, *words], check=True)


if __name__ == "__main__":
    main()
