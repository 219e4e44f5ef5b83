"""A network in training, used as the cascade will use it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from spinaldx.models import ClassifierOutput
from spinaldx.records import Float32Array, Task


@dataclass(slots=True, eq=False)
class SegmentationInTraining:
    """The engine interface around a segmentation network in torch.

    Attributes:
        network: In evaluation mode.
        device: Where it runs.
        engine: Name of the engine.
        precision: Always fp32, as the cut-offs are to be used.
    """

    network: nn.Module
    device: str
    engine: str = "torch"
    precision: str = "fp32"

    def segment(self, slices: Float32Array) -> Float32Array:
        """Return probabilities (N, outputs, H, W) of (N, C, H, W) slices."""
        placed = torch.from_numpy(np.ascontiguousarray(slices)).to(
            self.device, memory_format=torch.channels_last
        )
        with torch.inference_mode():
            probabilities = torch.sigmoid(self.network(placed).float())
        return np.asarray(probabilities.cpu().numpy(), dtype=np.float32)

    def classify(self, task: Task, crops: Float32Array) -> ClassifierOutput:
        """Refuse: there are no classifiers yet."""
        del crops
        message = f"{task.value} is not trained yet."
        raise RuntimeError(message)

    def close(self) -> None:
        """Do nothing; the network belongs to the training run."""
