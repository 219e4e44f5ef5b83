"""The shipped weights on simulated patients that nobody has looked at before.

Simulates 157 patients in the shares of the paper's test set and 40 healthy ones,
predicts them as a user would, evaluates them, and adds what no network is needed for:
a threshold on intensity inside the cord output, the best of six on these very
patients, which flatters it. Take a seed that was never used; a second look at the
same patients is no test any more.

With --true-masks the diseased are scored a second time on their true masks, as if a
person had corrected every mask: that is how the paper's classifiers were tested.

    python benchmarks/simulated_test.py WORK --seed 20261224 [--true-masks]
"""

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from spinaldx.batch import BatchSettings, plan, run
from spinaldx.cli.options import DEFAULT_WEIGHTS
from spinaldx.evaluation import EvaluationOptions, evaluate
from spinaldx.models import Bundle, EngineOptions, Networks, find_bundle, open_networks
from spinaldx.records import Disease, Task, Volume
from spinaldx.simulation.cohort import simulate_cohort
from spinaldx.simulation.patient import PatientOptions
from spinaldx.stages.marking import find_cord
from spinaldx.stages.segmentation import SegmentationOptions, segment
from spinaldx.study import CaseRow, find_studies, read_cases
from spinaldx.training.classification import class_of
from spinaldx.training.promotion import paired_interval

COUNTS = {
    Disease.ASTROCYTOMA: 34,
    Disease.EPENDYMOMA: 45,
    Disease.MS: 33,
    Disease.NMOSD: 45,
}
HEALTHY = 40
RATIOS = (1.15, 1.2, 1.3, 1.4, 1.6, 1.8)


def make_cohort(out: Path, seed: int, workers: int) -> Path:
    diseased = [
        PatientOptions(disease=disease, healthy_share=0.0)
        for disease, count in COUNTS.items()
        for _ in range(count)
    ]
    healthy = [PatientOptions(healthy_share=1.0)] * HEALTHY
    return simulate_cohort(
        out, patients=[*diseased, *healthy], seed=seed, workers=workers
    )


def predict(
    table: Path, out: Path, bundle: Bundle, threads: int, masks: Path | None = None
) -> None:
    settings = BatchSettings(
        out=out,
        bundle=bundle,
        engine=EngineOptions(threads=threads),
        report=False,
        masks=masks,
    )
    outcome = run(plan(find_studies([table]), settings), settings)
    print(f"predict: {dict(outcome.counts)}")


def diseased_table(table: Path) -> Path:
    """Write the rows with a lesion beside the whole table."""
    with table.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["diagnosis"] != "healthy"]
    out = table.with_name("diseased.csv")
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return out


def true_masks(table: Path, out: Path) -> Path:
    """Lay the true masks out as a person's corrections."""
    for row in read_cases(table):
        link = out / row.case / f"{row.series}.nii.gz"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(row.mask.resolve())
    return out


def judge(table: Path, results: Path, out: Path) -> None:
    evaluation = evaluate([results], table, out, EvaluationOptions())
    for name, text in evaluation.headline:
        print(f"{name}: {text}")
    print(f"All tables: {out}")


def healthy_lesions(table: Path, results: Path) -> None:
    """Print how many healthy patients were left without a lesion, and the volume."""
    healthy = {row.case for row in read_cases(table) if row.diagnosis == "healthy"}
    with (results / "studies.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["study"] in healthy]
    volumes = [float(row["lesion_volume_ml"] or 0) for row in rows]
    clean = sum(row["diagnosis"] == "no_lesion" for row in rows)
    print(
        f"healthy: {clean} of {len(rows)} no_lesion, false lesion "
        f"{np.mean(volumes):.3f} ml a patient, worst {max(volumes):.2f} ml"
    )


def own_answers(table: Path, results: Path) -> None:
    """Print how often each model is right by its own cut-off where a lesion is marked.

    The evaluation counts what is not marked, and answers of `indeterminate`, as wrong
    for all three models; here each is asked about the patients of its own two classes.
    """
    right: dict[Task, list[bool]] = {task: [] for task in Task}
    for case, name in {row.case: row.diagnosis for row in read_cases(table)}.items():
        path = results / case / "prediction.json"
        told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for stage in told.get("stages", ()) if name != "healthy" else ():
            task = Task(stage["task"])
            number = class_of(task, Disease(name))
            if number is not None:
                is_positive = stage["positive_probability"] >= stage["cut_off"]
                right[task].append(is_positive == bool(number))
    for task, answers in right.items():
        share = np.mean(answers) if answers else float("nan")
        print(f"{task.value} alone, of {len(answers)} marked: {share:.3f}")


def inside_cord(
    row: CaseRow, bundle: Bundle, networks: Networks
) -> tuple[int, np.ndarray, np.ndarray]:
    """Return true voxels, and marked and common ones at each ratio, of one series."""
    image = nib.load(row.t2w)
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    truth = np.asarray(nib.load(row.mask).dataobj) > 0
    outputs = SegmentationOptions.of(bundle.segmentation.network)
    volume = Volume(voxels, image.affine, row.series)
    found = segment(volume, networks, bundle.segmentation.grid, outputs)
    main = find_cord(found, volume)
    cord = main.voxels if main else np.zeros(voxels.shape, bool)
    if not cord.any():
        return int(truth.sum()), np.zeros(len(RATIOS)), np.zeros(len(RATIOS))
    reference = np.median(voxels[cord])
    smooth = ndimage.median_filter(voxels, size=3)
    masks = [cord & (smooth > ratio * reference) for ratio in RATIOS]
    marked = np.array([mask.sum() for mask in masks])
    return int(truth.sum()), marked, np.array([(mask & truth).sum() for mask in masks])


def baseline(table: Path, bundle: Bundle, threads: int) -> None:
    """Print Dice of the best threshold on intensity inside the cord output."""
    networks = open_networks(bundle, options=EngineOptions(threads=threads))
    counts: dict[str, list] = defaultdict(list)
    diagnosis = {}
    for row in read_cases(table):
        if row.diagnosis != "healthy":
            counts[row.case].append(inside_cord(row, bundle, networks))
            diagnosis[row.case] = row.diagnosis
    networks.close()
    dice: dict[str, list] = defaultdict(list)
    for case, series in counts.items():
        true, marked, common = (sum(part) for part in zip(*series, strict=True))
        dice[diagnosis[case]].append(2 * common / (true + marked))
    everyone = np.concatenate([np.array(one) for one in dice.values()])
    best = int(np.argmax(everyone.mean(axis=0)))
    print(f"threshold inside the cord, best ratio {RATIOS[best]}:")
    for disease, values in (*dice.items(), ("all", everyone)):
        one = paired_interval(np.array(values)[:, best])
        print(f"  {disease:12} {one.mean:.3f} ({one.low:.3f} to {one.high:.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--true-masks", action="store_true")
    arguments = parser.parse_args()
    bundle = find_bundle(arguments.weights)
    table = make_cohort(arguments.work / "cohort", arguments.seed, arguments.workers)
    results = arguments.work / f"results-{bundle.name}"
    predict(table, results, bundle, arguments.threads)
    healthy_lesions(table, results)
    judge(table, results, arguments.work / f"evaluation-{bundle.name}")
    own_answers(table, results)
    if arguments.true_masks:
        diseased = diseased_table(table)
        masks = true_masks(diseased, arguments.work / "true-masks")
        given = arguments.work / f"results-{bundle.name}-true-masks"
        predict(diseased, given, bundle, arguments.threads, masks)
        print("on the true masks:")
        judge(diseased, given, given.with_name(f"evaluation-{bundle.name}-true-masks"))
        own_answers(diseased, given)
    if not arguments.no_baseline:
        baseline(table, bundle, arguments.threads)


if __name__ == "__main__":
    main()
