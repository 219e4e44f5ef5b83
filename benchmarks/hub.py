"""What checking weights costs: alone, and as a share of one study.

Times are seconds within the process, the median of several rounds, and processor
seconds beside them, which survive a busy machine. Without BUNDLE a bundle of about
5 MB with random tensors is made. The study is simulated.

    python benchmarks/hub.py --rounds 9
    python benchmarks/hub.py --bundle BUNDLE --study
"""

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from spinaldx.cascade import run_case
from spinaldx.grid import CropSpec, GridSpec
from spinaldx.models import (
    Bundle,
    ClassifierPart,
    DenseNetSpec,
    MultiResUNetSpec,
    SegmentationPart,
    load_bundle,
    open_networks,
    verify_bundle,
    write_bundle,
)
from spinaldx.models.bundle_store import describe_bundle
from spinaldx.models.manifest import ArchiveSource, check_files
from spinaldx.models.specs import expected_tensors
from spinaldx.records import Disease, Task
from spinaldx.simulation.patient import PatientOptions, simulate_patient

SEED = 4


def make_bundle(folder):
    """Write a bundle of about the size of the one that ships."""
    segmenter = MultiResUNetSpec(base_width=16, stem=2, channel_multiple=8)
    classifier = DenseNetSpec(blocks=(4, 6, 10, 6), growth=12, initial_features=24)
    bundle = Bundle(
        name="random",
        version="1.0.0",
        licence="Apache-2.0",
        intended_use="To be timed.",
        training_data="simulated",
        segmentation=SegmentationPart(segmenter, GridSpec(1.0, 32), 0.5, 10.0),
        classifiers={
            task: ClassifierPart(classifier, 0.5, 0.1, 1.0, f"{task}.safetensors")
            for task in Task
        },
        crop=CropSpec(),
    )
    rng = np.random.default_rng(SEED)
    tensors = {
        name: {
            key: np.abs(rng.standard_normal(shape, dtype=np.float32))
            for key, shape in expected_tensors(part.network).items()
        }
        for name, part in bundle.parts.items()
    }
    return write_bundle(bundle, tensors, folder)


def measure(work, rounds):
    """Return median seconds, least seconds and median processor seconds."""
    wall, processor = [], []
    for _ in range(rounds):
        started, used = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    return {
        "median_ms": round(1e3 * statistics.median(wall), 2),
        "least_ms": round(1e3 * min(wall), 2),
        "processor_ms": round(1e3 * statistics.median(processor), 2),
    }


def hash_files(bundle):
    for part in bundle.parts.values():
        content = (bundle.folder / part.file).read_bytes()
        hashlib.sha256(content).hexdigest()


def run_study(bundle, volumes):
    networks = open_networks(bundle, "cpu", "fp32")
    run_case("timed", volumes, networks, bundle)
    networks.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="folder; a random one without")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--study", action="store_true", help="time one study, too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.bundle or make_bundle(Path(scratch) / "random").folder
        bundle = load_bundle(folder)
        entry = describe_bundle(bundle, ArchiveSource())

        def verify():
            check_files(entry, folder)
            verify_bundle(load_bundle(folder))

        found = {
            "megabytes": round(sum(f.size for f in entry.files.values()) / 1e6, 2),
            "verify": measure(verify, asked.rounds),
            "sha256 alone": measure(lambda: hash_files(bundle), asked.rounds),
        }
        if asked.study:
            options = PatientOptions(disease=Disease.EPENDYMOMA)
            patient = simulate_patient("x", np.random.SeedSequence(SEED), options)
            volumes = [station.volume for station in patient.stations]
            study = measure(lambda: run_study(bundle, volumes), 3)
            found["open networks and run one study"] = study
            hashed = found["sha256 alone"]["processor_ms"]
            share = round(100 * hashed / study["processor_ms"], 3)
            found["percent of it spent on hashing"] = share
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
