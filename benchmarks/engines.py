"""Engines side by side: full-width networks, 11 slices and 5 lesion crops of 256x256.

Every way to compute is run once a round, so that a busy machine slows all alike.
Processor seconds count what the process got and so survive other load, though only
with --threads 1: torch's threads burn the processor while they wait for each other.
The share of the machine's own matrix multiply is taken from them. The first round
is slower, it compiles. Precisions that the processor only emulates are left out: a
product of two matrices in bf16 takes minutes without units for it.

    python benchmarks/engines.py --rounds 5
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from spinaldx.grid import CropSpec, GridSpec
from spinaldx.models import (
    Bundle,
    ClassifierPart,
    DenseNetSpec,
    EngineOptions,
    MultiResUNetSpec,
    SegmentationPart,
    open_networks,
    write_bundle,
)
from spinaldx.models.openvino_engine import native_precisions
from spinaldx.models.torch_networks import build_densenet, build_multiresunet
from spinaldx.records import Task

TASK = Task.MS_VS_NMOSD
SLICES, CROPS, EDGE = 11, 5, 256
MATRIX = 3072
LAST = torch.channels_last


@dataclass
class Way:
    """One way to compute the same thing."""

    job: str
    name: str
    precision: str
    run: Callable[[], object]
    flop: float
    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)

    def measure(self):
        wall, processor = time.perf_counter(), time.process_time()
        self.run()
        self.seconds.append(time.perf_counter() - wall)
        self.processor_seconds.append(time.process_time() - processor)


def settled(module):
    """Give BatchNorm statistics that keep features near one."""
    torch.manual_seed(0)
    module.train()
    channels = module.spec.in_channels
    with torch.no_grad():
        for _ in range(2):
            module(torch.rand(2, channels, 64, 64))
    return module.eval()


def full_width_bundle(folder, segmenter, classifier):
    """Write both networks as a bundle, the classifier three times."""
    bundle = Bundle(
        name="full-width",
        version="1",
        licence="Apache-2.0",
        intended_use="Benchmark of random networks.",
        training_data="simulated",
        segmentation=SegmentationPart(segmenter.spec, GridSpec(), 0.5, 30.0),
        classifiers={
            task: ClassifierPart(
                classifier.spec, 0.5, 0.05, 1.0, file=f"{task.value}.safetensors"
            )
            for task in Task
        },
        crop=CropSpec(pixel_mm=0.5, height_mm=EDGE / 2, width_mm=EDGE / 2),
    )
    states = {
        "segmentation": segmenter.state_dict(),
        **{task.value: classifier.state_dict() for task in Task},
    }
    arrays = {
        part: {name: values.numpy() for name, values in state.items()}
        for part, state in states.items()
    }
    return write_bundle(bundle, arrays, folder, half=False)


def flop_of(module, images):
    """Multiplications and additions of one pass over all images."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(images[:1])
    return counter.get_total_flops() * len(images)


# Layout, precision, and whether all images go in at once.
TORCH_WAYS = (
    (torch.contiguous_format, "fp32", True),
    (torch.contiguous_format, "fp32", False),
    (torch.contiguous_format, "bf16", False),
    (LAST, "fp32", False),
    (LAST, "bf16", True),
    (LAST, "bf16", False),
)


def torch_ways(job, build, module, images, flop):
    """Eager torch as a user would write it."""
    for layout, precision, is_whole in TORCH_WAYS:
        if precision not in native_precisions():
            continue
        placed = build(module.spec).eval()
        placed.load_state_dict(module.state_dict())
        placed = placed.to(memory_format=layout)
        batch = images.contiguous(memory_format=layout)
        parts = (batch,) if is_whole else batch.split(1)
        name = "torch whole batch" if is_whole else "torch one by one"
        suffix = ", channels last" if layout is LAST else ""
        run = in_torch(placed, parts, precision)
        yield Way(job, name + suffix, precision, run, flop)


def in_torch(module, parts, precision):
    def run():
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
        ):
            for part in parts:
                module(part)

    return run


def engine_ways(bundle, slices, crops, flop):
    """The program's own engines; classification includes the Grad-CAM maps."""
    for engine in ("torch", "openvino"):
        for precision in ("fp32", "bf16"):
            if precision not in native_precisions():
                continue
            networks = open_networks(
                bundle,
                "cpu",
                precision,
                EngineOptions(engine=engine, threads=torch.get_num_threads()),
            )
            name = f"spinaldx, {engine}"
            yield Way(
                "segment",
                name,
                precision,
                lambda networks=networks: networks.segment(slices),
                flop["segment"],
            )
            yield Way(
                "classify",
                f"{name}, maps included",
                precision,
                lambda networks=networks: networks.classify(TASK, crops),
                flop["classify"],
            )


def matrix_ways():
    """The machine's own peak."""
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        if precision not in native_precisions():
            continue
        matrix = torch.rand(MATRIX, MATRIX).to(kind)
        run = in_torch(lambda matrix: matrix @ matrix, (matrix,), "fp32")
        yield Way("matrix multiply", "torch", precision, run, 2.0 * MATRIX**3)


def all_ways(folder):
    """Every way to compute."""
    segmenter = settled(build_multiresunet(MultiResUNetSpec()))
    classifier = settled(build_densenet(DenseNetSpec()))
    bundle = full_width_bundle(folder, segmenter, classifier)
    slices, crops = torch.rand(SLICES, 1, EDGE, EDGE), torch.rand(CROPS, 3, EDGE, EDGE)
    flop = {
        "segment": flop_of(segmenter, slices),
        "classify": flop_of(classifier, crops),
    }
    return [
        *matrix_ways(),
        *torch_ways("segment", build_multiresunet, segmenter, slices, flop["segment"]),
        *torch_ways("classify", build_densenet, classifier, crops, flop["classify"]),
        *engine_ways(bundle, np.asarray(slices), np.asarray(crops), flop),
    ]


def table(ways):
    """One line a way: seconds, processor seconds, speed, share of the peak."""
    peak = {
        way.precision: way.flop / min(way.processor_seconds)
        for way in ways
        if way.job == "matrix multiply"
    }
    yield "| job | way | precision | median s | best s | processor s | of peak |"
    yield "|---|---|---|---|---|---|---|"
    for way in sorted(ways, key=lambda way: (way.job, min(way.processor_seconds))):
        busy = min(way.processor_seconds)
        yield (
            f"| {way.job} | {way.name} | {way.precision} "
            f"| {statistics.median(way.seconds):.3f} | {min(way.seconds):.3f} "
            f"| {busy:.3f} | {way.flop / busy / peak[way.precision]:.0%} |"
        )


def gains(ways):
    """How much faster OpenVINO is than the fastest torch, round by round."""
    for job in ("segment", "classify"):
        for what in ("seconds", "processor_seconds"):
            fastest = [
                [
                    min(taken)
                    for taken in zip(
                        *(getattr(way, what) for way in ways if chosen(way, job, kind)),
                        strict=True,
                    )
                ]
                for kind in ("torch", "openvino")
            ]
            ratios = [one / own for one, own in zip(*fastest, strict=True)]
            yield (
                f"{job}, {what.replace('_', ' ')}: OpenVINO "
                f"{statistics.median(ratios):.2f} times as fast as the fastest torch "
                f"(median of {len(ratios)} rounds, {min(ratios):.2f} to "
                f"{max(ratios):.2f})"
            )


def chosen(way, job, kind):
    return way.job == job and kind in way.name


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        ways = all_ways(Path(folder))
        for done in range(options.rounds):
            for way in ways:
                way.measure()
                # So that a run that is cut short has not been for nothing.
                figures = f"{way.precision}: {way.seconds[-1]:.3f} s"
                print(done, way.job, way.name, figures, file=sys.stderr, flush=True)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("\n".join((*table(ways), "", *gains(ways))))


if __name__ == "__main__":
    main()
