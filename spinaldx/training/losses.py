"""Losses: cross-entropy with soft Dice for masks, cross-entropy for classes."""

import torch
from torch import Tensor
from torch.nn import functional

# Keeps the overlap of an empty truth with an empty answer defined and smooth.
_SMOOTH = 1.0

# Overlap alone marks for sure what is a lesion in four of ten such cases;
# cross-entropy answers with the share itself, so that a threshold can choose. Its mean
# is over all pixels, of which one in a hundred is lesion, hence the weight.
_ENTROPY_WEIGHT = 10.0


def soft_dice_loss(probabilities: Tensor, truth: Tensor) -> Tensor:
    """One minus the overlap of a whole batch, so that empty slices do not shout.

    Args:
        probabilities: (N, H, W), 0 to 1.
        truth: (N, H, W), 0 to 1; partial volume is allowed.

    Returns:
        Scalar, 0 when equal and binary.
    """
    overlap = (probabilities * truth).sum()
    total = probabilities.sum() + truth.sum()
    return 1.0 - (2.0 * overlap + _SMOOTH) / (total + _SMOOTH)


def segmentation_loss(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Weighted cross-entropy plus soft Dice, mean over the outputs.

    Args:
        logits: (N, C, H, W).
        truth: (N, C, H, W), 0 to 1.
        known: (N, C), 1 where a person marked that output, 0 where nobody did:
            a table without cord masks trains the lesion output alone.

    Returns:
        Scalar.
    """
    logits = logits.float()
    entropy = functional.binary_cross_entropy_with_logits(
        logits, truth, reduction="none"
    ).mean(dim=(2, 3))
    losses = []
    for channel in range(logits.shape[1]):
        weight = known[:, channel]
        share = (entropy[:, channel] * weight).sum() / weight.sum().clamp(min=1.0)
        masked = weight[:, None, None]
        probabilities = torch.sigmoid(logits[:, channel]) * masked
        overlap = soft_dice_loss(probabilities, truth[:, channel] * masked)
        losses.append(_ENTROPY_WEIGHT * share + overlap * weight.max())
    return torch.stack(losses).mean()


def classification_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """Cross-entropy of (N, 2) logits with the (N,) shares of class 1, 0 to 1."""
    shares = torch.stack((1.0 - positive, positive), dim=1)
    return functional.cross_entropy(logits.float(), shares)
