"""Write a bundle one of whose classifiers has a last layer fitted anew.

Where the rules for what is marked, or how images are shown, have changed since a
classifier was trained, its features still serve but are weighed wrongly. The last layer
is fitted to patients' scores, as the cascade forms them, of lesions that the bundle
itself marks in cohorts; a ridge keeps it near what it was. Margin and temperature stay
and no longer fit exactly.

    python benchmarks/refit_last_layer.py OUT BUNDLE TASK COHORT [COHORT ...]
        [--ridge 300] [--shift 0]
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from spinaldx.errors import UnsuitableImageError
from spinaldx.grid import lesion_crops
from spinaldx.models import Bundle, Networks, find_bundle, open_networks, write_bundle
from spinaldx.models.bundle import load_tensors
from spinaldx.models.torch_networks.densenet import build_densenet
from spinaldx.records import Disease, Task
from spinaldx.stages.marking import crop_inputs, find_cord
from spinaldx.stages.segmentation import SegmentationOptions, segment
from spinaldx.study import read_cases
from spinaldx.training.calibration import MaskChoice
from spinaldx.training.cases import Patient, group_patients, read_series
from spinaldx.training.classification import area_under_curve, class_of
from spinaldx.training.pipeline import shifted
from spinaldx.training.predictions import mark

WEIGHT, BIAS = "classifier.weight", "classifier.bias"

# Scores are kept this far from 0 and 1, where the logit ends.
TINY = 1e-6

# Features that hardly vary are not blown up.
LEAST_SPREAD = 1e-3


@dataclasses.dataclass(frozen=True)
class Features:
    """What the last layer sees of all patients, slice by slice."""

    slices: Tensor  # (N, F)
    patient: Tensor  # (N,), whose slice it is
    truth: Tensor  # (P,), 0 or 1

    def logits(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Logit of the mean over each patient's slices of the softmax, (P,)."""
        positive = torch.sigmoid(self.slices @ weight + bias)
        sums = torch.zeros(len(self.truth)).index_add(0, self.patient, positive)
        mean = (sums / torch.bincount(self.patient)).clamp(TINY, 1 - TINY)
        return torch.logit(mean)


def crops_of(patient: Patient, bundle: Bundle, networks: Networks) -> np.ndarray:
    """Cut the crops of what the bundle marks in all series, (N, C, H, W)."""
    part, parts = bundle.segmentation, []
    choice = MaskChoice(part.threshold, part.min_lesion_mm3)
    for row in patient.rows:
        volume = read_series(row).volume
        found = segment(
            volume, networks, part.grid, SegmentationOptions.of(part.network)
        )
        cord = find_cord(found, volume)
        labels = mark(found, volume, choice, cord)
        inputs = crop_inputs(volume, labels, found, cord, bundle.crop)
        parts.append(lesion_crops(inputs, part.grid, bundle.crop).pixels)
    return np.concatenate(parts)


def gather(
    patients: list[Patient], task: Task, bundle: Bundle, network: nn.Module
) -> Features:
    """Run everything but the last layer; what has no mark or is refused is left out."""
    networks = open_networks(bundle)
    slices, truth = [], []
    network.classifier.register_forward_hook(
        lambda _module, inputs, _output: slices.append(inputs[0])
    )
    for patient in patients:
        try:
            crops = crops_of(patient, bundle, networks)
        except UnsuitableImageError as error:
            print(f"{patient.name} is left out. {error}")
            continue
        if len(crops):
            network(torch.from_numpy(crops))
            truth.append(class_of(task, Disease(patient.diagnosis)))
    counts = torch.tensor([len(some) for some in slices])
    return Features(
        torch.cat(slices),
        torch.repeat_interleave(torch.arange(len(counts)), counts),
        torch.tensor(truth, dtype=torch.float32),
    )


def fit(
    features: Features, weight: Tensor, bias: Tensor, ridge: float
) -> tuple[Tensor, Tensor]:
    """Return the weights (F,) and bias () of the positive class over the other."""
    spread = features.slices.std(dim=0) + LEAST_SPREAD
    change = torch.zeros_like(weight, requires_grad=True)
    shift = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [change, shift], max_iter=100, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = features.logits(weight + change / spread, bias + shift)
        total = nn.functional.binary_cross_entropy_with_logits(
            logits, features.truth, reduction="sum"
        )
        total = total + ridge * (change**2).sum()
        total.backward()
        return total

    optimizer.step(loss)
    return (weight + change / spread).detach(), (bias + shift).detach()


def told(features: Features, weight: Tensor, bias: Tensor) -> str:
    logits, truth = features.logits(weight, bias).numpy(), features.truth.numpy()
    auc = area_under_curve(truth, logits)
    return f"AUC {auc:.4f}, {np.mean((logits >= 0) == truth):.1%} right"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("bundle")
    parser.add_argument("task", type=Task)
    parser.add_argument("cohorts", type=Path, nargs="+")
    parser.add_argument("--ridge", type=float, default=300.0)
    parser.add_argument("--shift", type=float, default=0.0, help="added to the logit")
    arguments = parser.parse_args()
    bundle, task = find_bundle(arguments.bundle), arguments.task
    tensors = {
        name: torch.from_numpy(np.array(values, np.float32))
        for name, values in load_tensors(bundle, task.value).items()
    }
    network = build_densenet(bundle.classifiers[task].network)
    network.load_state_dict(tensors, strict=False)
    patients = [
        patient
        for cohort in arguments.cohorts
        for patient in group_patients(read_cases(cohort / "cases.csv"))
        if not patient.is_healthy
        and class_of(task, Disease(patient.diagnosis)) is not None
    ]
    with torch.no_grad():
        features = gather(patients, task, bundle, network.eval())
    old = (tensors[WEIGHT].diff(dim=0)[0], tensors[BIAS].diff()[0])
    weight, bias = fit(features, *old, arguments.ridge)
    print(f"{len(features.truth)} of {len(patients)} patients with a mark.")
    print(f"Before: {told(features, *old)}; after: {told(features, weight, bias)}.")
    half = (weight - old[0]) / 2
    tensors[WEIGHT] = tensors[WEIGHT] + torch.stack([-half, half])
    tensors = shifted(tensors, float(bias - old[1]) + arguments.shift)
    arrays = {part: load_tensors(bundle, part) for part in bundle.parts}
    arrays[task.value] = {name: one.numpy() for name, one in tensors.items()}
    write_bundle(
        dataclasses.replace(bundle, name=arguments.out.name), arrays, arguments.out
    )
    print(f"Wrote {arguments.out}.")


if __name__ == "__main__":
    main()
