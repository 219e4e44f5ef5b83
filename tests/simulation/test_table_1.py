"""A cohort as large as the paper's test cohort, measured on its masks."""

from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from measured_patients import measure

from spinaldx.records import Disease
from spinaldx.simulation.patient import PatientOptions, simulate_patient
from spinaldx.simulation.population import LOCATIONS

pytestmark = pytest.mark.slow

SIZES = {
    Disease.ASTROCYTOMA: 34,
    Disease.EPENDYMOMA: 45,
    Disease.MS: 33,
    Disease.NMOSD: 45,
}

# All cohorts of Table 1 together (domain notes, 6a): female, mean and SD of age,
# shares of the locations, quartiles of lesion count and of extension, mean and SD
# of volume in ml.
TABLE_1 = {
    Disease.ASTROCYTOMA: {
        "female": 0.368,
        "age": (31.9, 15.7),
        "locations": (0, 0.368, 0.158, 0.336, 0.132, 0.007),
        "count": (1, 1, 1),
        "extension": (3, 4, 6),
        "volume": (13.0, 11.3),
    },
    Disease.EPENDYMOMA: {
        "female": 0.463,
        "age": (42.7, 13.3),
        "locations": (0, 0.646, 0.006, 0.143, 0.006, 0.2),
        "count": (1, 1, 1),
        "extension": (2, 3, 4),
        "volume": (14.5, 10.9),
    },
    Disease.MS: {
        "female": 0.701,
        "age": (35.2, 11.9),
        "locations": (0.09, 0.731, 0.142, 0.037, 0, 0),
        "count": (1, 2, 3),
        "extension": (2, 3, 5),
        "volume": (1.2, 1.5),
    },
    Disease.NMOSD: {
        "female": 0.855,
        "age": (40.9, 14.1),
        "locations": (0, 0.651, 0.161, 0.177, 0.011, 0),
        "count": (1, 1, 2),
        "extension": (2, 4, 6),
        "volume": (2.8, 2.7),
    },
}


def make(disease, number):
    seed = np.random.SeedSequence([157, list(Disease).index(disease), number])
    patient = simulate_patient("case", seed, PatientOptions(disease=disease))
    return patient.sex, patient.age, patient.location, measure(patient)


@pytest.fixture(scope="module", params=Disease)
def group(request):
    disease = request.param
    size = SIZES[disease]
    with ProcessPoolExecutor(2) as pool:
        made = list(pool.map(make, [disease] * size, range(size)))
    return TABLE_1[disease], made


def within(observed, expected, spread, size):
    """Three standard errors: 12 such checks fail together in 3 % of the cohorts."""
    assert abs(observed - expected) <= 3 * spread / np.sqrt(size)


def test_sex_and_age(group):
    table, made = group
    share = table["female"]
    women = np.mean([sex == "F" for sex, *_ in made])

    within(women, share, np.sqrt(share * (1 - share)), len(made))
    within(np.mean([age for _, age, *_ in made]), *table["age"], len(made))


def test_locations(group):
    table, made = group
    seen = Counter(location for _, _, location, _ in made)

    for name, share in zip(LOCATIONS, table["locations"], strict=True):
        spread = np.sqrt(share * (1 - share)) + 0.05
        within(seen[name] / len(made), share, spread, len(made))


def test_lesion_count(group):
    table, made = group
    quartiles = np.percentile([item.count for *_, item in made], (25, 50, 75))

    assert quartiles == pytest.approx(table["count"], abs=1.0)


def test_extension(group):
    table, made = group
    quartiles = np.percentile([len(item.levels) for *_, item in made], (25, 50, 75))

    assert quartiles == pytest.approx(table["extension"], abs=1.3)


def test_volume(group):
    table, made = group
    volumes = [item.volume_ml for *_, item in made]

    within(np.mean(volumes), *table["volume"], len(made))
    assert 0.5 < np.std(volumes) / table["volume"][1] < 1.6


def test_every_patient_shows_a_lesion_of_its_region(group):
    _, made = group
    first = {"cervical": (1, 8), "thoracic": (7, 20), "lumbar": (19, 25)}

    for _, _, location, item in made:
        low, high = first.get(location, (1, 25))
        assert item.levels
        assert low <= item.levels[0]
        assert item.levels[-1] <= high
