"""Training: loader alone, network alone, together, and a plain PyTorch loop.

All ways take turns in every round, so that a busy machine slows all alike; medians
are printed. Processor seconds count what this process got and survive other load
(the plain loop's worker is a process of its own and not counted). "together" is the loop that `fine-tune` runs. The plain loop is what one
writes first: fp32, standard memory layout, a DataLoader with one worker that makes
the same windows one by one.

    python benchmarks/training.py --rounds 5 --threads 2
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from spinaldx.grid import CropSpec, GridSpec
from spinaldx.models.torch_networks import build_densenet, build_multiresunet
from spinaldx.records import Disease, Task
from spinaldx.simulation.patient import PatientOptions, simulate_patient
from spinaldx.training.augmentation import (
    change_appearance,
    change_cord_and_fluid,
    draw_changes,
    resample,
)
from spinaldx.training.cache import LoadedSeries, SeriesCache
from spinaldx.training.classification import (
    ClassificationObjective,
    CropSample,
    CropSet,
)
from spinaldx.training.compute import on_device, set_up_machine
from spinaldx.training.loader import batches_ahead
from spinaldx.training.options import (
    PRESETS,
    ClassifierOptions,
    Compute,
    SegmentationOptions,
)
from spinaldx.training.segmentation import Sample, SegmentationObjective


def simulated_samples(cache, patients):
    samples = []
    for number in range(patients):
        disease = list(Disease)[number % 4]
        seed = np.random.SeedSequence([77, number])
        made = simulate_patient("case", seed, PatientOptions(disease=disease))
        for place, station in enumerate(made.stations):
            series = LoadedSeries(station.volume, station.lesion, station.cord)
            stored = cache.store(f"{number}-{place}", series, GridSpec())
            samples.append(Sample(str(number), disease.value, stored))
    return samples


def random_crops(cache):
    generator = np.random.default_rng(0)
    samples = []
    for disease in Disease:
        shape = (6, 3, *CropSpec().shape)
        crops = generator.random(shape).astype(np.float16)
        cache.store_arrays(disease.value, {"crops": crops})
        sets = (CropSet(disease.value, 6),)
        samples.append(CropSample(disease.value, disease, sets, sets))
    return samples


class Step:
    """Forward, backward, AdamW."""

    def __init__(self, network, objective, *, fast, bf16):
        self.network = on_device(network, "cpu") if fast else network
        self.objective, self.bf16, self.fast = objective, bf16, fast
        self.optimizer = torch.optim.AdamW(network.parameters(), 1e-3)

    def __call__(self, batch):
        images = batch[0]
        if self.fast:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = self.objective.loss(self.network, (images, *batch[1:]))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())


class Windows(Dataset):
    """The objective's windows one by one, as a plain data set has them."""

    def __init__(self, objective):
        self.objective = objective

    def __len__(self):
        return 1 << 30

    def __getitem__(self, index):
        generator = np.random.default_rng(index)
        window = self.objective._draw_window(generator)
        changes = draw_changes(generator, 1, self.objective.augmentation)
        layers = np.concatenate((window.image[None], window.truth))[None]
        sampled = resample(
            torch.from_numpy(layers), changes, self.objective.options.patch
        )
        image = change_cord_and_fluid(
            sampled[:, :1], sampled[:, 2:], torch.ones(1), changes
        )
        image = change_appearance(image, changes)[0]
        return image, sampled[0, 1:], torch.tensor(window.known)


def pace(run, steps, batch_size):
    """Return slices a second of wall time and of processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    run(steps)
    slices = steps * batch_size
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return slices / wall, slices / processor


def ways_of(name, network, objective, bf16):
    """Return what is measured of one network, by name."""
    fast = Step(network, objective, fast=True, bf16=bf16)
    batch = objective.make_batch(0)
    threads = torch.get_num_threads()

    def make(step):
        # As the loop does it: the thread that makes batches takes one core.
        torch.set_num_threads(1)
        return objective.make_batch(step)

    def loader(steps):
        with batches_ahead(make, 0) as take:
            for _ in range(steps):
                take()
        torch.set_num_threads(threads)

    def alone(steps):
        for _ in range(steps):
            fast(batch)

    def together(steps):
        with batches_ahead(make, 0) as take:
            for _ in range(steps):
                fast(take())
        torch.set_num_threads(threads)

    return {
        f"{name}: loader alone": loader,
        f"{name}: network alone": alone,
        f"{name}: together": together,
    }


def plain_way(build, objective):
    step = Step(build, objective, fast=False, bf16=False)
    loader = DataLoader(
        Windows(objective),
        batch_size=objective.batch_size,
        num_workers=1,
        persistent_workers=True,
        multiprocessing_context="fork",
    )
    stream = iter(loader)

    def run(steps):
        for _ in range(steps):
            step(next(stream))

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--patients", type=int, default=4)
    parser.add_argument("--network", default="fast", choices=sorted(PRESETS))
    arguments = parser.parse_args()
    machine = set_up_machine(Compute("cpu", "auto", arguments.threads))
    bf16 = machine.precision == "bf16"
    preset = PRESETS[arguments.network]
    with tempfile.TemporaryDirectory() as folder:
        cache = SeriesCache(Path(folder))
        samples = simulated_samples(cache, arguments.patients)
        windows = SegmentationObjective(cache, samples, (), SegmentationOptions())
        crops = ClassificationObjective(
            Task.MS_VS_NMOSD, cache, random_crops(cache), (), ClassifierOptions()
        )
        ways = ways_of(
            "segmentation", build_multiresunet(preset.segmentation), windows, bf16
        )
        ways["segmentation: plain PyTorch loop"] = plain_way(
            build_multiresunet(preset.segmentation), windows
        )
        ways |= ways_of(
            "classification", build_densenet(preset.classifier), crops, bf16
        )
        sizes = {"s": windows.batch_size, "c": crops.batch_size}
        paces = defaultdict(list)
        for _ in range(arguments.rounds):
            for name, run in ways.items():
                paces[name].append(pace(run, arguments.steps, sizes[name[0]]))
    print(f"network {arguments.network}, {machine}")
    medians = {
        name: statistics.median(wall for wall, _ in values)
        for name, values in paces.items()
    }
    for name, values in paces.items():
        own = statistics.median(processor for _, processor in values)
        print(
            f"  {name:34} {medians[name]:8.1f} slices/s "
            f"{own:8.1f} slices a processor second"
        )
    for kind in ("segmentation", "classification"):
        slower = min(medians[f"{kind}: {part} alone"] for part in ("loader", "network"))
        share = medians[f"{kind}: together"] / slower
        print(f"  {kind}: together is {share:.0%} of the slower one alone")
    gain = (
        medians["segmentation: together"] / medians["segmentation: plain PyTorch loop"]
    )
    print(f"  segmentation: {gain:.2f} times the plain loop")


if __name__ == "__main__":
    main()
