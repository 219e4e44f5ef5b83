"""Does a shipped bundle answer the same on every engine and in every precision?

Simulates 40 patients, ten of each disease, runs the whole cascade on torch in fp32 and
on each other engine and precision of this processor, and prints the Dice of the two
masks and how many answers differ. `auto` may leave fp32 only where the median Dice is
at least 0.99 and no answer outside of the margin changes.

    python benchmarks/precision.py [--weights NAME|DIR] [--patients 40] [--threads 2]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from spinaldx.cascade import run_case
from spinaldx.cli.options import DEFAULT_WEIGHTS
from spinaldx.errors import DeviceError
from spinaldx.models import EngineOptions, find_bundle, open_networks
from spinaldx.records import Diagnosis, Disease
from spinaldx.simulation.cohort import simulate_cohort
from spinaldx.simulation.patient import PatientOptions
from spinaldx.study import find_studies, load_study

SEED = 40_600
OTHERS = (("openvino", "fp32"), ("openvino", "bf16"), ("torch", "bf16"))
UNSURE = {Diagnosis.INDETERMINATE}


def run_all(bundle, studies, engine, precision, threads):
    """Return masks by study and series, and answers by study."""
    networks = open_networks(
        bundle, "cpu", precision, EngineOptions(engine=engine, threads=threads)
    )
    masks, answers = {}, {}
    start = time.perf_counter()
    for name, volumes in studies.items():
        result = run_case(name, volumes, networks, bundle)
        answers[name] = result.prediction.diagnosis
        for item in result.series:
            masks[name, item.volume.name] = item.mask.labels > 0
    seconds = time.perf_counter() - start
    networks.close()
    return masks, answers, seconds


def dice(first, second):
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    bundle = find_bundle(arguments.weights)
    with tempfile.TemporaryDirectory() as work:
        kinds = [PatientOptions(disease=one, healthy_share=0.0) for one in Disease]
        plan = [kinds[n % len(kinds)] for n in range(arguments.patients)]
        table = simulate_cohort(Path(work) / "c", patients=plan, seed=SEED, workers=2)
        studies = {one.name: load_study(one) for one in find_studies([table])}
    reference, expected, seconds = run_all(
        bundle, studies, "torch", "fp32", arguments.threads
    )
    print(f"{bundle.name}, {len(studies)} patients; torch fp32: {seconds:.1f} s")
    for engine, precision in OTHERS:
        try:
            masks, answers, seconds = run_all(
                bundle, studies, engine, precision, arguments.threads
            )
        except DeviceError as error:
            print(f"{engine} {precision}: {error.message}")
            continue
        scores = np.array([dice(masks[key], reference[key]) for key in reference])
        changed = [name for name in expected if answers[name] != expected[name]]
        outside = [
            name for name in changed if not {answers[name], expected[name]} & UNSURE
        ]
        print(
            f"{engine} {precision}: Dice median {np.median(scores):.4f}, lowest "
            f"{scores.min():.4f}; answers changed {len(changed)}, of these not to or "
            f"from indeterminate {len(outside)}; {seconds:.1f} s"
        )


if __name__ == "__main__":
    main()
