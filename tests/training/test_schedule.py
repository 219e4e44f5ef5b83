import pytest

from spinaldx.training.schedule import Plan, Turn, plan_steps, rate_factor


class TestPlan:
    def test_progress_of_a_fixed_run_is_straight(self):
        plan = plan_steps(200)

        assert [plan.progress(step) for step in (0, 50, 200, 300)] == [0, 0.25, 1, 1]

    def test_correction_is_continuous_and_ends_elsewhere(self):
        plan = plan_steps(200).corrected(100, 110)

        assert plan.progress(100) == 0.5
        assert plan.progress(105) == 0.75
        assert plan.last_step(105) == 110

    def test_steps_before_a_correction_keep_the_old_plan(self):
        plan = plan_steps(200).corrected(100, 110)

        assert plan.progress(50) == 0.25
        assert plan.last_step(99) == 200

    def test_correction_leaves_at_least_one_step(self):
        assert plan_steps(200).corrected(100, 0).last_step(100) == 101

    def test_says_what_is_recorded(self):
        plan = Plan((Turn(0, 0.0, 9), Turn(5, 0.5, 7)))

        assert plan.is_recorded(5)
        assert not plan.is_recorded(6)


class TestRateFactor:
    def test_climbs_then_falls(self):
        factors = [rate_factor(round(1000 * at), at) for at in (0, 0.05, 0.5, 1.0)]

        assert factors[0] == pytest.approx(0.01, abs=1e-3)
        assert factors[1] > 0.99
        assert factors[2] == pytest.approx(0.505)
        assert factors[3] == pytest.approx(0.01)

    def test_short_runs_climb_fast(self):
        assert rate_factor(1, 0.1) > 0.9
