import numpy as np
import pytest
from evaluation_cases import Case, balanced_cases, cells, cohort_of
from scipy import stats

from spinaldx.evaluation.cohort_table import category_test, cohort_tables
from spinaldx.evaluation.masks import TrueLesions

# Women and men of the four diseases in the paper's test set (Table 1).
SEXES = np.array([(11, 23), (20, 25), (23, 10), (40, 5)])


def rows_of(table):
    found = [cells(table, place) for place in range(len(table.rows))]
    return {row["variable"]: row for row in found}


class TestCategories:
    def test_chi_squared_is_that_of_scipy(self):
        name, p = category_test(SEXES)

        assert name == "chi-squared"
        assert p == pytest.approx(stats.chi2_contingency(SEXES).pvalue)

    def test_small_counts_get_fishers_test(self):
        counts = np.array([(3, 1), (1, 4)])

        assert category_test(counts) == ("Fisher", stats.fisher_exact(counts).pvalue)

    def test_larger_tables_of_small_counts_are_sampled(self):
        name, p = category_test(np.array([(3, 1), (1, 4), (0, 5)]))

        assert name == "Fisher (Monte Carlo)"
        assert category_test(np.array([(3, 1), (1, 4), (0, 5)])) == (name, p)
        assert 0.01 < p < 0.15

    @pytest.mark.parametrize("last", [0, 1])
    def test_tables_of_as_many_cells_as_patients_or_more(self, last):
        name, p = category_test(np.array([(1, 1, 1), (1, 1, last)]))

        assert name == "Fisher (Monte Carlo)"
        assert p == 1.0

    @pytest.mark.parametrize("counts", [[(3, 0), (4, 0)], [(3, 4), (0, 0)]])
    def test_one_value_or_one_group_cannot_be_tested(self, counts):
        assert category_test(np.array(counts)) == ("", None)


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    generator = np.random.default_rng(1)
    cases = balanced_cases(12)
    for n, case in enumerate(cases):
        case.truth = {"age": f"{generator.normal(40, 9):.1f}", "sex": "FM"[n % 3 == 0]}
        case.result = {
            "lesion_count": 1 + n % 4,
            "lesion_length_mm": float(generator.gamma(3, 10)),
            "lesion_volume_ml": float(generator.gamma(2, 3) + (n < 24) * 5),
        }
    cohort = cohort_of(tmp_path_factory.mktemp("cohort"), cases)
    return cohort, cohort_tables(cohort, {})


def values(cohort, name, disease):
    return cohort.numbers(name)[cohort.where("diagnosis", disease)]


def test_tests_are_those_of_scipy(described):
    cohort, (table, _) = described
    diseases = ("astrocytoma", "ependymoma", "ms", "nmosd")
    rows = rows_of(table)
    volumes = [values(cohort, "volume_ml", disease) for disease in diseases]
    lengths = [values(cohort, "length_mm", disease) for disease in diseases]

    volume = rows["Lesion volume, ml, mean (SD)"]
    assert (volume["test"], volume["p"].value) == (
        "ANOVA",
        pytest.approx(stats.f_oneway(*volumes).pvalue),
    )
    extension = rows["Extension, mm, median (quartiles)"]
    assert extension["p"].value == pytest.approx(stats.kruskal(*lengths).pvalue)


def test_cells_read_as_in_table_1(described):
    cohort, (table, _) = described
    rows = rows_of(table)
    ages = [p.age for p in cohort.patients if p.diagnosis == "ms"]

    assert rows["Patients"]["ms"] == "12"
    assert rows["Sex: female"]["ms"] == "8/12 (67%)"
    assert rows["Lesions, median (quartiles)"]["ms"] == "2.5 (1.8 to 3.2)"
    age = f"{np.mean(ages):.2f} ({np.std(ages, ddof=1):.2f})"
    assert rows["Age, years, mean (SD)"]["ms"] == age


def test_pairs_are_corrected_by_bonferroni(described):
    cohort, (_, pairs) = described
    found = {(row[0], row[1]): row for row in pairs.rows}
    row = found["Lesion volume, ml, mean (SD)", "astrocytoma vs MS"]
    tumours, others = (
        values(cohort, "volume_ml", name) for name in ("astrocytoma", "ms")
    )

    p = stats.ttest_ind(tumours, others).pvalue
    assert row[2].value == pytest.approx(p)
    assert row[3].value == pytest.approx(min(1, 6 * p))


def test_true_masks_take_the_place_of_the_programs(described):
    cohort, _ = described
    table, _ = cohort_tables(cohort, {"ms-0": TrueLesions(3, 1.5, 30.0)})

    assert rows_of(table)["Lesion volume, ml, mean (SD)"]["ms"] == "1.50 (n/a)"
    assert rows_of(table)["Extension, mm, median (quartiles)"]["nmosd"] == "n/a"
    assert "true masks" in table.notes[0]


def test_location_when_given(tmp_path):
    cases = balanced_cases(3, location="cervical")
    for case in cases[9:]:
        case.truth = {"location": "thoracic"}
    rows = rows_of(cohort_tables(cohort_of(tmp_path, cases), {})[0])

    assert rows["Location: cervical"]["nmosd"] == "0/3 (0%)"
    assert rows["Location: thoracic"]["nmosd"] == "3/3 (100%)"
    assert rows["Location: cervical"]["test"] == "Fisher (Monte Carlo)"


def test_equal_values_cannot_be_tested(tmp_path):
    cohort = cohort_of(
        tmp_path, [*balanced_cases(2, age="40"), Case("f", "ms", None, "failed")]
    )
    rows = rows_of(cohort_tables(cohort, {})[0])

    assert rows["Age, years, mean (SD)"]["p"].value is None
    assert rows["Lesions, median (quartiles)"]["p"].value is None


def test_groups_that_do_not_vary_have_no_anova(tmp_path):
    cases = balanced_cases(2)
    for case in cases:
        case.truth = {"age": "40" if case.diagnosis == "ms" else "50"}
    rows = rows_of(cohort_tables(cohort_of(tmp_path, cases), {})[0])

    assert rows["Age, years, mean (SD)"]["p"].value is None
    assert "Sex: female" not in rows
