"""Shares and figures of Table 1 in the plans (domain notes, section 6a)."""

import numpy as np
import pytest

from spinaldx.records import Disease
from spinaldx.simulation.population import (
    FIGURES,
    LOCATIONS,
    draw_disease,
    draw_plan,
)


@pytest.mark.parametrize("disease", Disease)
def test_shares_sum_to_one(disease):
    assert sum(FIGURES[disease].locations) == pytest.approx(1)
    assert sum(FIGURES[disease].counts) == pytest.approx(1)


@pytest.mark.parametrize(
    ("disease", "female", "age", "cervical"),
    [
        (Disease.ASTROCYTOMA, 0.368, 31.9, 0.368),
        (Disease.EPENDYMOMA, 0.463, 42.7, 0.646),
        (Disease.MS, 0.701, 35.2, 0.731),
        (Disease.NMOSD, 0.855, 40.9, 0.651),
    ],
)
def test_plans_have_the_shares_of_table_1(disease, female, age, cervical):
    rng = np.random.default_rng(3)
    plans = [draw_plan(rng, disease) for _ in range(1500)]

    assert np.mean([p.sex == "F" for p in plans]) == pytest.approx(female, abs=0.04)
    assert np.mean([p.age for p in plans]) == pytest.approx(age, abs=1.5)
    in_neck = [p.location == "cervical" for p in plans]
    assert np.mean(in_neck) == pytest.approx(cervical, abs=0.05)


@pytest.mark.parametrize("disease", Disease)
def test_regions_alike_have_the_mean_shares_of_the_four_diseases(disease):
    rng = np.random.default_rng(8)
    plans = [draw_plan(rng, disease, regions_alike=True) for _ in range(1500)]

    # Means of the four rows of Table 1.
    drawn = [plan.location for plan in plans]
    assert drawn.count("cervical") / 1500 == pytest.approx(0.599, abs=0.04)
    assert drawn.count("cervical_thoracic") / 1500 == pytest.approx(0.117, abs=0.03)


def test_regions_alike_change_the_region_alone():
    usual, alike = (
        draw_plan(np.random.default_rng(9), Disease.MS, regions_alike=one)
        for one in (False, True)
    )

    assert (usual.age, usual.sex, usual.lesion_count, usual.volume_ml) == (
        alike.age,
        alike.sex,
        alike.lesion_count,
        alike.volume_ml,
    )


def test_tumours_are_single_and_ms_is_not():
    rng = np.random.default_rng(4)
    tumours = [draw_plan(rng, Disease.EPENDYMOMA).lesion_count for _ in range(50)]
    plaques = [draw_plan(rng, Disease.MS).lesion_count for _ in range(400)]

    assert set(tumours) == {1}
    assert np.median(plaques) == 2


def test_a_plan_never_has_more_lesions_than_levels():
    rng = np.random.default_rng(5)

    assert all(
        plan.extension >= plan.lesion_count
        for plan in (draw_plan(rng, Disease.MS) for _ in range(300))
    )


def test_healthy_plans_have_no_lesion():
    plan = draw_plan(np.random.default_rng(6), None)

    assert (plan.lesion_count, plan.extension, plan.volume_ml) == (0, 0, 0.0)
    assert plan.location in LOCATIONS


def test_healthy_share_is_kept():
    rng = np.random.default_rng(7)
    drawn = [draw_disease(rng, 0.25) for _ in range(2000)]

    assert np.mean([disease is None for disease in drawn]) == pytest.approx(
        0.25, abs=0.04
    )
    assert draw_disease(rng, 1.0) is None
