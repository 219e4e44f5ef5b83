"""Each network in turn, then thresholds and cut-offs: from a cohort to weights."""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from spinaldx.models.bundle import SEGMENTATION
from spinaldx.records import Task
from spinaldx.training.cache import SeriesCache
from spinaldx.training.calibration import (
    Decision,
    MaskChoice,
    choose_mask,
    fit_decision,
)
from spinaldx.training.cases import Patient
from spinaldx.training.classification import (
    ClassificationObjective,
    CropSample,
)
from spinaldx.training.compute import Machine, on_device
from spinaldx.training.inference import SegmentationInTraining
from spinaldx.training.loop import LoopSettings, Objective, Progress, Trained, train
from spinaldx.training.options import MaskSource, Stage, TrainingOptions
from spinaldx.training.predictions import CropMaker, Segmenter, score_choices
from spinaldx.training.preparation import Cohort
from spinaldx.training.segmentation import Sample, SegmentationObjective
from spinaldx.training.splits import Split
from spinaldx.training.start import Start

_PREDICTED_SHARES = {
    MaskSource.TRUTH: 0.0,
    MaskSource.PREDICTED: 1.0,
    MaskSource.MIXED: 0.5,
}

# Validation during training looks at so many patients at most, of all diagnoses.
_WATCHED_PATIENTS = 24

_NOT_CALIBRATED = (
    "{task}: too few held-out patients of a class to fit its cut-off; it keeps that of "
    "the bundle it started from, or answers nothing near 0.5."
)

_LAST_BIAS = "classifier.bias"

State = Mapping[str, Tensor]


class Watcher(Protocol):
    """Told what is going on."""

    def note(self, text: str) -> None:
        """Say one thing."""
        ...

    def advance(self, what: str, done: int, total: int) -> None:
        """Report on a step that is counted."""
        ...

    def train(self, progress: Progress) -> None:
        """Report on a network in training."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What a run learned.

    Attributes:
        tensors: State of every network of the bundle, by ``segmentation`` or task.
        trained: Outcome of each loop that ran.
        mask: How lesions are marked.
        decisions: How classifiers answer.
    """

    tensors: Mapping[str, State]
    trained: Mapping[str, Trained]
    mask: MaskChoice
    decisions: Mapping[Task, Decision]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Everything that the steps of a run share.

    Attributes:
        options: What was asked for.
        machine: Where it runs.
        start: First weights.
        cohort: Patients and their samples.
        cache: Where the samples are.
        folder: For checkpoints.
        watcher: Told about progress.
    """

    options: TrainingOptions
    machine: Machine
    start: Start
    cohort: Cohort
    cache: SeriesCache
    folder: Path
    watcher: Watcher

    def learn(self) -> Learned:
        """Train what was asked for and calibrate it.

        Raises:
            DeviceMemoryError: If memory runs out; checkpoints stay.
            OutputError: If the disk is full; checkpoints stay.
        """
        trained: dict[str, Trained] = {}
        if self.options.stage is not Stage.CLASSIFICATION:
            trained[SEGMENTATION] = self._train_segmentation()
        segmentation = self._network(SEGMENTATION, trained)
        segmenter = self._segmenter(segmentation)
        mask = self._choose_mask(segmenter, is_new=SEGMENTATION in trained)
        decisions = self._old_decisions()
        if self.options.stage is not Stage.SEGMENTATION:
            crops = self._make_crops(
                CropMaker(self.cache, segmenter, mask, self.start.crop)
            )
            for task in Task:
                objective = self._objective(task, crops)
                trained[task.value] = self._train(task.value, objective)
                network = self._network(task.value, trained)
                decisions[task] = self._decide(objective, network, crops)
                if not decisions[task].patients:
                    self.watcher.note(_NOT_CALIBRATED.format(task=task.value))
        states = {
            part: rounded_to_half(self._network(part, trained).state_dict())
            for part in (SEGMENTATION, *(task.value for task in Task))
        }
        for task, decision in decisions.items():
            states[task.value] = shifted(states[task.value], decision.shift)
        return Learned(states, trained, mask, decisions)

    def _train_segmentation(self) -> Trained:
        samples = self.cohort.samples
        own = self.options.segmentation
        objective = SegmentationObjective(
            cache=self.cache,
            training=samples[Split.TRAIN],
            validation=spread(samples[Split.VALIDATION], _WATCHED_PATIENTS),
            options=dataclasses.replace(
                own, batch_size=self._batch_size(own.batch_size)
            ),
            outputs=self.start.segmentation.outputs,
            in_channels=self.start.segmentation.in_channels,
            pixel_mm=self.start.grid.pixel_mm,
            seed=self.options.seed,
            device=self.machine.device,
        )
        return self._train(SEGMENTATION, objective)

    def _train(self, part: str, objective: Objective) -> Trained:
        seconds, steps = self._budget(part, objective)
        settings = LoopSettings(
            name=part,
            seconds=seconds,
            steps=steps,
            learning_rate=self._learning_rate(part),
            accumulate=self.options.learning.accumulate,
            checkpoint_s=self.options.checkpoint_s,
            device=self.machine.device,
            bf16=self.machine.precision == "bf16",
            workers=self.machine.workers,
        )
        network = self.start.build(part, self.options.seed)
        return train(
            network, objective, settings, self.folder / part, self.watcher.train
        )

    def _learning_rate(self, part: str) -> float:
        options = self.options
        own = options.segmentation if part == SEGMENTATION else options.classifier
        given = options.learning.learning_rate
        return given or own.learning_rate * self.start.rate_factor

    def _batch_size(self, own: int) -> int:
        return self.options.learning.batch_size or own

    def _budget(
        self, part: str, objective: Objective
    ) -> tuple[float | None, int | None]:
        """Return seconds, or steps, of one network."""
        budget = self.options.budget
        if budget.minutes is not None:
            return budget.minutes * 60.0 * self._time_share(part), None
        slices = sum(one.series.shape[0] for one in self.cohort.samples[Split.TRAIN])
        at_once = objective.batch_size * self.options.learning.accumulate
        steps = (budget.epochs or 0.0) * slices / at_once
        return None, max(round(steps), 1)

    def _time_share(self, part: str) -> float:
        if self.options.stage is Stage.SEGMENTATION:
            return 1.0
        share = self.options.segmentation.time_share
        if self.options.stage is Stage.CLASSIFICATION:
            share = 0.0
        return share if part == SEGMENTATION else (1.0 - share) / len(Task)

    def _network(self, part: str, trained: Mapping[str, Trained]) -> nn.Module:
        """Return a network as the bundle will have it, ready to be used."""
        network = self.start.build(part, self.options.seed)
        if part in trained:
            network.load_state_dict(trained[part].tensors)
        network.load_state_dict(rounded_to_half(network.state_dict()))
        return on_device(network, self.machine.device).eval()

    def _segmenter(self, network: nn.Module) -> Segmenter:
        return Segmenter(
            networks=SegmentationInTraining(network, self.machine.device),
            grid=self.start.grid,
            network=self.start.segmentation,
            digest=digest_of(network.state_dict()),
        )

    def _choose_mask(self, segmenter: Segmenter, *, is_new: bool) -> MaskChoice:
        if not is_new and self.start.bundle is not None:
            part = self.start.bundle.segmentation
            return MaskChoice(part.threshold, part.min_lesion_mm3)
        patients = spread_patients(self.cohort.held_out, _WATCHED_PATIENTS)
        scores = [
            score_choices(patient, segmenter)
            for patient in self._watched("Choosing thresholds", patients)
        ]
        return choose_mask(scores)

    def _old_decisions(self) -> dict[Task, Decision]:
        """Return the bundle's cut-offs; an untrained network decides nothing."""
        if self.start.bundle is None:
            return dict.fromkeys(Task, Decision(margin=0.5))
        return {
            task: Decision(0.0, part.temperature, part.cut_off, part.margin)
            for task, part in self.start.bundle.classifiers.items()
        }

    def _make_crops(self, maker: CropMaker) -> dict[str, CropSample]:
        splits = (Split.TRAIN, Split.VALIDATION, Split.CALIBRATION)
        patients = [
            patient
            for split in splits
            for patient in self.cohort.patients[split]
            if not patient.is_healthy
        ]
        learned = {one.name for one in self.cohort.patients[Split.TRAIN]}
        is_truth = self.options.classifier.mask_source is MaskSource.TRUTH
        made = (
            # Held-out patients are scored as they will be used: on predicted masks.
            maker.make(one, predicted=not (is_truth and one.name in learned))
            for one in self._watched("Cutting crops", patients)
        )
        return {one.case: one for one in made if one.truth or one.predicted}

    def _objective(
        self, task: Task, crops: Mapping[str, CropSample]
    ) -> ClassificationObjective:
        crop = self.start.crop
        own = self.options.classifier
        return ClassificationObjective(
            task=task,
            cache=self.cache,
            training=self._crops_of(Split.TRAIN, crops),
            validation=self._crops_of(Split.VALIDATION, crops),
            options=dataclasses.replace(
                own, batch_size=self._batch_size(own.batch_size)
            ),
            predicted_share=_PREDICTED_SHARES[own.mask_source],
            channels=crop.channels,
            pixel_mm=crop.pixel_mm,
            seed=self.options.seed,
            device=self.machine.device,
        )

    def _crops_of(
        self, split: Split, crops: Mapping[str, CropSample]
    ) -> list[CropSample]:
        names = [patient.name for patient in self.cohort.patients[split]]
        return [crops[name] for name in names if name in crops]

    def _decide(
        self,
        objective: ClassificationObjective,
        network: nn.Module,
        crops: Mapping[str, CropSample],
    ) -> Decision:
        patients = [
            crops[one.name] for one in self.cohort.held_out if one.name in crops
        ]
        with torch.no_grad():
            truth, logits = objective.slice_logits(network, patients)
        if self.start.bundle is None:
            return fit_decision(truth, logits)
        return fit_decision(truth, logits, self._old_decisions()[objective.task])

    def _watched(self, what: str, patients: Sequence[Patient]) -> Iterator[Patient]:
        for done, patient in enumerate(patients):
            self.watcher.advance(what, done, len(patients))
            yield patient
        self.watcher.advance(what, len(patients), len(patients))


def rounded_to_half(state: State) -> dict[str, Tensor]:
    """Round kernels as the bundle stores them, so that what is measured is shipped."""
    return {
        name: tensor.half().to(tensor.dtype)
        if tensor.ndim > 1 and tensor.is_floating_point()
        else tensor
        for name, tensor in state.items()
    }


def shifted(state: State, shift: float) -> dict[str, Tensor]:
    """Add a shift to a classifier's logit: half to one class, half from the other."""
    half = torch.tensor([-shift / 2, shift / 2])
    return {**state, _LAST_BIAS: state[_LAST_BIAS] + half}


def digest_of(state: State) -> str:
    """Name weights by their bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def spread(samples: Sequence[Sample], most: int) -> tuple[Sample, ...]:
    """Keep the series of at most so many patients, of all diagnoses in turn."""
    diagnoses = {sample.case: sample.diagnosis for sample in samples}
    kept = _in_turn(diagnoses, most)
    return tuple(sample for sample in samples if sample.case in kept)


def spread_patients(patients: Sequence[Patient], most: int) -> tuple[Patient, ...]:
    """Keep at most so many patients, of all diagnoses in turn."""
    kept = _in_turn({one.name: one.diagnosis for one in patients}, most)
    return tuple(one for one in patients if one.name in kept)


def _in_turn(diagnoses: Mapping[str, str], most: int) -> set[str]:
    groups: dict[str, list[str]] = {}
    for name, diagnosis in diagnoses.items():
        groups.setdefault(diagnosis, []).append(name)
    turns = itertools.zip_longest(*groups.values())
    names = [name for turn in turns for name in turn if name is not None]
    return set(names[:most])
