import pytest

from spinaldx.errors import UsageError
from spinaldx.training.options import PRESETS, Budget, TrainingOptions


@pytest.mark.parametrize(
    "limits", [{}, {"minutes": 1, "epochs": 1}, {"minutes": 0}, {"epochs": -1}]
)
def test_a_budget_is_one_positive_limit(limits):
    with pytest.raises(UsageError):
        Budget(**limits)


@pytest.mark.parametrize("changes", [{"network": "huge"}, {"fraction": 0.0}])
def test_unknown_networks_and_fractions_are_refused(changes):
    with pytest.raises(UsageError):
        TrainingOptions(Budget(minutes=1.0), **changes)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_presets_fit_the_default_grid(preset):
    grid = TrainingOptions(Budget(minutes=1.0)).grid

    assert grid.size_multiple % preset.segmentation.size_multiple == 0
