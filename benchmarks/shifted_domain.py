"""Fine-tuning on a shifted domain: does it help, and does it beat scratch?

Eighty simulated patients of one scanner that the shipped weights did not see: pixels
of 0.55 mm, slices of 4 mm, twice the noise, half the contrast between lesion and
cord. Sixty are for training (with their own validation), twenty are never shown.
`fine-tune` runs from the bundle and from scratch with the same minutes; then the old
bundle, the fine-tuned one and the one from scratch segment the twenty.

    python benchmarks/shifted_domain.py WORK --minutes 20 --threads 2
    python benchmarks/shifted_domain.py WORK --shuffle --minutes 5

`--shuffle` trains on shuffled diagnoses instead and shows that the bundle is not
promoted. Everything lies in WORK; run again, it goes on.
"""

import argparse
import csv
import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from spinaldx.cli.options import DEFAULT_WEIGHTS
from spinaldx.errors import NotPromotedError
from spinaldx.models import find_bundle
from spinaldx.simulation.cohort import simulate_cohort
from spinaldx.simulation.patient import PatientOptions
from spinaldx.study import read_cases
from spinaldx.training.cases import group_patients
from spinaldx.training.fine_tuning import BundleFacts, Request, fine_tune
from spinaldx.training.options import Budget, Compute, Stage, TrainingOptions
from spinaldx.training.promotion import mark_patients, paired_interval

SHIFTED = PatientOptions(
    in_plane_mm=0.55, slice_mm=4.0, noise_factor=2.0, contrast_factor=0.5
)
SEED = 550_400


class Talker:
    """Prints what a run tells, every so often."""

    def __init__(self):
        self.told = 0

    def note(self, text):
        print(text, flush=True)

    def advance(self, what, done, total):
        if done == total:
            print(f"{what}: {total}", flush=True)

    def train(self, progress):
        self.told += 1
        if self.told % 20 == 0:
            print(
                f"{progress.network} {progress.step}/{progress.last_step} "
                f"loss {progress.loss:.3f} figure {progress.figure}",
                flush=True,
            )


def part_of_table(table, first, last, name, *, shuffled=False):
    """Write the rows of some patients as a table of their own."""
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    cases = list(dict.fromkeys(row["case"] for row in rows))[first:last]
    chosen = [dict(row) for row in rows if row["case"] in cases]
    if shuffled:
        diseased = {
            row["case"]: row["diagnosis"]
            for row in chosen
            if row["diagnosis"] != "healthy"
        }
        values = list(diseased.values())
        random.Random(1).shuffle(values)
        moved = dict(zip(diseased, values, strict=True))
        for row in chosen:
            row["diagnosis"] = moved.get(row["case"], row["diagnosis"])
    path = table.with_name(name)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(chosen)
    return path


def train(table, out, init, arguments, stage):
    options = TrainingOptions(
        budget=Budget(minutes=arguments.minutes),
        stage=stage,
        init=init,
        network=arguments.network,
        seed=5,
        compute=Compute("cpu", "auto", arguments.threads),
    )
    facts = BundleFacts(out.name, training_data="simulated")
    outcome = fine_tune(Request(table, out, options, facts, resume=True), Talker())
    print(f"{out.name}: {outcome.verdict.reason}")
    for name, against in (
        ("against old", outcome.verdict.against_old),
        ("against nothing", outcome.verdict.against_nothing),
    ):
        for figure, one in against.items():
            print(
                f"  {name}, {figure}: {one.mean:+.3f} ({one.low:+.3f}, {one.high:+.3f})"
            )
    return outcome


def compare(bundles, patients, threads):
    """Print mean Dice of each bundle and the paired differences."""
    dice = {}
    for name, bundle in bundles.items():
        marks = mark_patients(bundle, patients, threads=threads)
        diseased = [one for one in patients if not one.is_healthy]
        dice[name] = np.array([marks[one.name].dice for one in diseased])
        mean = paired_interval(dice[name])
        print(f"{name:12} Dice {mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f})")
    for other in ("old", "scratch"):
        if other in dice:
            one = paired_interval(dice["fine-tuned"] - dice[other])
            print(
                f"fine-tuned minus {other}: {one.mean:+.3f} "
                f"({one.low:+.3f} to {one.high:+.3f}), {one.patients} patients"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--init", default=DEFAULT_WEIGHTS)
    parser.add_argument("--network", default="small")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-scratch", action="store_true")
    parser.add_argument("--shuffle", action="store_true")
    arguments = parser.parse_args()
    # All eighty have a lesion: the claim is about Dice.
    plan = [replace(SHIFTED, healthy_share=0.0)] * 80
    table = simulate_cohort(
        arguments.work / "cohort", patients=plan, seed=SEED, workers=arguments.workers
    )
    if arguments.shuffle:
        learned = part_of_table(table, 0, 60, "shuffled.csv", shuffled=True)
        out = arguments.work / "shuffled"
        outcome = train(learned, out, arguments.init, arguments, Stage.CLASSIFICATION)
        try:
            outcome.raise_unless_promoted()
        except NotPromotedError as error:
            print(f"exit code {error.exit_code}: {error.message}")
        return
    learned = part_of_table(table, 0, 60, "learned.csv")
    unseen = part_of_table(table, 60, 80, "unseen.csv")
    bundles = {"old": find_bundle(arguments.init)}
    tuned = train(
        learned,
        arguments.work / "tuned",
        arguments.init,
        arguments,
        Stage.SEGMENTATION,
    )
    bundles["fine-tuned"] = tuned.bundle
    if not arguments.no_scratch:
        scratch = train(
            learned,
            arguments.work / "scratch",
            "scratch",
            arguments,
            Stage.SEGMENTATION,
        )
        bundles["scratch"] = scratch.bundle
    compare(bundles, group_patients(read_cases(unseen)), arguments.threads)


if __name__ == "__main__":
    main()
