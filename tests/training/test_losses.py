import pytest
import torch

from spinaldx.training.losses import (
    classification_loss,
    segmentation_loss,
    soft_dice_loss,
)

KNOWN = torch.ones(2, 2)


def square(value=20.0):
    """Logits and truth of a perfect answer, two outputs."""
    truth = torch.zeros(2, 2, 8, 8)
    truth[:, :, 2:6, 2:6] = 1.0
    return (truth * 2 - 1) * value, truth


class TestSoftDiceLoss:
    def test_equal_masks_cost_nothing(self):
        mask = torch.eye(4)[None]

        assert soft_dice_loss(mask, mask).item() == pytest.approx(0.0)

    def test_disjoint_masks_cost_nearly_one(self):
        mask = torch.zeros(1, 20, 20)
        mask[:, :10] = 1.0

        assert soft_dice_loss(mask, 1 - mask).item() == pytest.approx(1 - 1 / 401)

    def test_empty_answer_to_empty_truth_costs_nothing(self):
        assert soft_dice_loss(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)).item() == 0.0


class TestSegmentationLoss:
    def test_right_answers_cost_nothing_and_wrong_ones_much(self):
        logits, truth = square()

        assert segmentation_loss(logits, truth, KNOWN).item() < 1e-3
        assert segmentation_loss(-logits, truth, KNOWN).item() > 5.0

    def test_unknown_cord_is_not_learned(self):
        logits, truth = square()
        logits[:, 1] = 0.0
        logits.requires_grad_()
        segmentation_loss(logits, truth, torch.tensor([[1.0, 0.0]] * 2)).backward()

        assert logits.grad[:, 1].abs().max() == 0.0

    def test_one_known_cord_is_learned_from_its_window_alone(self):
        logits, truth = square(1.0)
        logits.requires_grad_()
        known = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
        segmentation_loss(logits, truth, known).backward()

        assert logits.grad[0, 1].abs().max() > 0.0
        assert logits.grad[1, 1].abs().max() == 0.0


def test_what_is_a_lesion_in_four_of_ten_cases_is_not_marked():
    # Thirty windows: a certain lesion in a hundredth of the pixels, and as large a
    # place that is a lesion in thirteen of them and looks the same in all.
    truth = torch.zeros(30, 1, 64, 64)
    truth[:, :, :8, :5] = 1.0
    truth[:13, :, 20:28, :5] = 1.0
    logits = torch.tensor([-4.0, 0.0, 0.0], requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(200):
        answer = logits[0].expand(30, 1, 64, 64).clone()
        answer[:, :, :8, :5] = logits[1]
        answer[:, :, 20:28, :5] = logits[2]
        optimizer.zero_grad()
        segmentation_loss(answer, truth, torch.ones(30, 1)).backward()
        optimizer.step()
    nothing, certain, unsure = torch.sigmoid(logits.detach())

    assert nothing < 0.02
    assert certain > 0.95
    assert 0.35 < unsure < 0.5


def test_classification_loss_of_certainty_and_ignorance():
    classes = torch.tensor([0.0, 1.0])

    assert classification_loss(torch.eye(2) * 50, classes).item() < 1e-6
    assert classification_loss(torch.zeros(2, 2), classes).item() == pytest.approx(
        0.6931, abs=1e-4
    )


def test_undecided_crops_cost_least_where_both_classes_are_as_likely():
    half = torch.tensor([0.5])
    logits = [torch.tensor([[0.0, level]]) for level in (-2.0, 0.0, 2.0)]

    sure, unsure, opposite = (classification_loss(one, half).item() for one in logits)

    assert unsure == pytest.approx(0.6931, abs=1e-4)
    assert sure == pytest.approx(opposite)
    assert sure > unsure
