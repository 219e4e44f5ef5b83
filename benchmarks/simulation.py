"""How fast patients and training slices are simulated.

Processor seconds count what the process got and so survive other load.

    python benchmarks/simulation.py --patients 30
    python benchmarks/simulation.py --sheet docs/simulation-sheet.png
    python benchmarks/simulation.py --contrast ms --patients 48
"""

import argparse
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from spinaldx.grid import GridSpec, labels_to_grid, to_grid
from spinaldx.records import Disease
from spinaldx.simulation.patient import PatientOptions, simulate_patient
from spinaldx.simulation.stream import stream_slices

SHEET_SEED = 24


def make_one(number):
    wall, processor = time.perf_counter(), time.process_time()
    patient = simulate_patient("case", np.random.SeedSequence([1, number]))
    slices = sum(
        station.volume.voxels.shape[station.volume.slice_axis]
        for station in patient.stations
    )
    return time.perf_counter() - wall, time.process_time() - processor, slices


def measure_patients(count, workers):
    begin = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        made = list(pool.map(make_one, range(count)))
    wall = time.perf_counter() - begin
    each, processor, slices = zip(*made, strict=True)
    print(f"{count} patients, {workers} processes")
    print(f"  patients/s, all processes     {count / wall:8.2f}")
    print(f"  slices/s, all processes       {sum(slices) / wall:8.1f}")
    print(f"  s a patient, median           {statistics.median(each):8.2f}")
    print(f"  processor s a patient, median {statistics.median(processor):8.2f}")
    print(f"  processor s a patient, worst  {max(processor):8.2f}")
    print(f"  slices a patient, median      {statistics.median(slices):8.0f}")


def measure_stream(count):
    stream = stream_slices(np.random.SeedSequence(2))
    next(stream)
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(count):
        next(stream)
    wall = time.perf_counter() - wall
    processor = time.process_time() - processor
    print(f"stream of {count} slices on the networks' grid, 1 process")
    print(f"  slices/s                      {count / wall:8.1f}")
    print(f"  slices a processor second     {count / processor:8.1f}")


def contrasts_of(number, disease):
    """Return contrast-to-noise and ratio to the cord nearby of each lesion."""
    options = PatientOptions(disease=Disease(disease))
    seed = np.random.SeedSequence(777, spawn_key=(number,))
    found = []
    for station in simulate_patient("case", seed, options).stations:
        voxels = station.volume.voxels
        shape = np.full(3, 3)
        shape[station.volume.slice_axis] = 1
        flat = np.ones(shape)
        inner = ndimage.binary_erosion(station.cord > 0, flat, iterations=2)
        around = ndimage.binary_dilation(station.lesion > 0, flat, iterations=2)
        labels, count = ndimage.label(station.lesion)
        for lesion in (labels == n for n in range(1, count + 1)):
            near = ndimage.binary_dilation(lesion, flat, iterations=12)
            near &= inner & ~around
            if lesion.sum() >= 5 and near.sum() >= 20:
                difference = voxels[lesion].mean() - voxels[near].mean()
                ratio = voxels[lesion].mean() / voxels[near].mean()
                found.append((difference / voxels[near].std(), ratio))
    return found


def measure_contrast(disease, count, workers):
    with ProcessPoolExecutor(workers) as pool:
        made = pool.map(contrasts_of, range(count), [disease] * count)
        noise_ratios, ratios = np.array([one for many in made for one in many]).T
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    print(f"{len(ratios)} lesions of {count} patients with {disease}")
    print(f"  contrast-to-noise below 1.5   {(noise_ratios < 1.5).mean():8.2f}")
    print(f"  ratio to cord, quartiles      {low:.2f} {middle:.2f} {high:.2f}")


def draw_sheet(path):
    """24 simulated patients: the four diseases and healthy ones, lesions outlined."""
    figure = Figure(figsize=(16, 8.6), facecolor="black")
    axes = figure.subplots(3, 8)
    kinds = [*Disease, *Disease, None, *Disease, *Disease, None, *Disease, None, None]
    for number, (axis, disease) in enumerate(zip(axes.flat, kinds, strict=True)):
        options = PatientOptions(disease=disease, healthy_share=1.0)
        seed = np.random.SeedSequence([SHEET_SEED, number])
        patient = simulate_patient("case", seed, options)
        station = max(
            patient.stations, key=lambda item: (item.lesion.sum(), item.cord.sum())
        )
        draw_station(axis, station)
        name = "healthy" if disease is None else disease.value
        axis.set_title(f"{name}, {patient.age} {patient.sex}", color="w", fontsize=8)
    figure.suptitle("SIMULATED patients, lesions outlined", color="w", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=75, facecolor="black", metadata={"Software": ""})


def draw_station(axis, station):
    image = to_grid(station.volume, GridSpec())
    lesion = labels_to_grid(station.lesion, image.transform)
    cord = labels_to_grid(station.cord, image.transform)
    shown = lesion if lesion.any() else cord
    number = int(shown.sum(axis=(1, 2)).argmax())
    axis.imshow(image.pixels[number], cmap="gray", vmin=0, vmax=1.1)
    if lesion[number].max() > 0.5:
        axis.contour(lesion[number], [0.5], colors="tab:red", linewidths=0.6)
    axis.axis("off")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--contrast", choices=[one.value for one in Disease])
    arguments = parser.parse_args()
    if arguments.sheet:
        draw_sheet(arguments.sheet)
        return
    if arguments.contrast:
        measure_contrast(arguments.contrast, arguments.patients, arguments.workers)
        return
    measure_patients(arguments.patients, arguments.workers)
    measure_stream(arguments.slices)


if __name__ == "__main__":
    main()
