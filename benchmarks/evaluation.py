"""Time and memory of `evaluate`, against what issue 6 asks for.

Two made-up cohorts: 10,000 patients with every column and no masks (asked: under a
minute and 1 GB), and 500 patients with a pair of masks of 15 slices of 384x384 each
(asked: under two minutes on two cores). Nothing in them means anything.

    python benchmarks/evaluation.py [--patients 10000] [--pairs 500]
"""

import argparse
import csv
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from spinaldx.records import Disease
from spinaldx.report.nifti import write_nifti
from spinaldx.report.prediction_json import COLUMNS

DISEASES = tuple(disease.value for disease in Disease)
AFFINE = np.diag([3.3, 0.6, 0.6, 1.0])
SHAPE = (15, 384, 384)


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def result_row(name: str, disease: int, generator: np.random.Generator) -> dict:
    """A patient whose scores lean towards the truth."""
    truth = np.array([disease >= 2, disease % 2, disease % 2], dtype=float)
    demyelination, ependymoma, nmosd = generator.beta(1 + 3 * truth, 4 - 3 * truth)
    tumour = 1 - demyelination
    joint = [tumour * (1 - ependymoma), tumour * ependymoma]
    joint += [demyelination * (1 - nmosd), demyelination * nmosd]
    path = 2 + (nmosd >= 0.5) if demyelination >= 0.5 else int(ependymoma >= 0.5)
    row = dict.fromkeys(COLUMNS, "")
    row |= {"study": name, "status": "complete", "diagnosis": DISEASES[path]}
    row |= {"p_demyelination": demyelination, "p_ependymoma_given_tumour": ependymoma}
    row |= {"p_nmosd_given_demyelination": nmosd}
    row |= {f"p_{name}": value for name, value in zip(DISEASES, joint, strict=True)}
    row |= {"lesion_count": int(generator.integers(1, 5))}
    row |= {"lesion_volume_ml": generator.lognormal(), "lesion_length_mm": 30.0}
    return row | {"weights": "made up", "weights_training_data": "simulated"}


def truth_row(name: str, disease: int, generator: np.random.Generator) -> dict:
    """A patient with every column that is looked at."""
    readers = {
        f"rater{n}": DISEASES[disease if generator.random() < 0.8 else n - 1]
        for n in range(1, 5)
    }
    return {
        "case": name,
        "diagnosis": DISEASES[disease],
        "mask": "",
        "age": int(generator.integers(3, 90)),
        "sex": "FM"[generator.integers(2)],
        "site": f"site {generator.integers(5)}",
        "split": ("validation", "test")[generator.integers(2)],
        **readers,
    }


def make_cohort(folder: Path, patients: int, *, masks: bool) -> None:
    generator = np.random.default_rng(0)
    truth, results = [], []
    for number in range(patients):
        name, disease = f"patient-{number:05d}", int(generator.integers(4))
        truth.append(truth_row(name, disease, generator))
        results.append(result_row(name, disease, generator))
        if masks:
            truth[-1]["mask"] = f"masks/{name}.nii.gz"
            centre = generator.uniform((5, 120, 150), (10, 260, 230))
            radii = generator.uniform((1, 8, 4), (3, 60, 12))
            write_mask(folder / truth[-1]["mask"], centre, radii)
            predicted = folder / "results" / name / "t2w" / "lesion_mask.nii.gz"
            write_mask(predicted, centre + generator.normal(0, 1, 3), radii * 0.95)
    write_rows(folder / "cases.csv", truth)
    write_rows(folder / "results" / "studies.csv", results)


def write_mask(path: Path, centre: np.ndarray, radii: np.ndarray) -> None:
    places = np.ogrid[tuple(slice(edge) for edge in SHAPE)]
    far = sum(
        ((place - c) / r) ** 2
        for place, c, r in zip(places, centre, radii, strict=True)
    )
    write_nifti(path, (far <= 1).astype(np.uint8), AFFINE)


def measure(folder: Path) -> tuple[float, float, float]:
    """Evaluate in a fresh process; seconds of wall and CPU, peak memory in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_evaluate, (folder,))


def _evaluate(folder: Path) -> tuple[float, float, float]:
    begin, cpu = time.perf_counter(), time.process_time()
    from spinaldx.evaluation import evaluate  # noqa: PLC0415 - its import is timed

    evaluate([folder / "results"], folder / "cases.csv", folder / "evaluation")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in kB, macOS in bytes.
    megabytes = peak / (1e6 if sys.platform == "darwin" else 1e3)
    return time.perf_counter() - begin, time.process_time() - cpu, megabytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=500)
    chosen = parser.parse_args()
    cohorts = {
        f"{chosen.patients} patients without masks": (chosen.patients, False),
        f"{chosen.pairs} pairs of masks": (chosen.pairs, True),
    }
    for name, (patients, masks) in cohorts.items():
        with tempfile.TemporaryDirectory() as folder:
            make_cohort(Path(folder), patients, masks=masks)
            wall, cpu, megabytes = measure(Path(folder))
        print(f"{name}: {wall:.1f} s wall, {cpu:.1f} s CPU, {megabytes:.0f} MB")


if __name__ == "__main__":
    main()
