from collections import Counter

import pytest

from spinaldx.training.cases import Patient
from spinaldx.training.splits import (
    Split,
    nested_fraction,
    split_patients,
    write_splits,
)


def patients(split="", **counts):
    return [
        Patient(f"{diagnosis}-{number}", diagnosis, split, ())
        for diagnosis, count in counts.items()
        for number in range(count)
    ]


def count(people, splits):
    return Counter((one.diagnosis, splits[one.name]) for one in people)


class TestSplitPatients:
    def test_holds_out_a_fifth_of_each_diagnosis(self):
        people = patients(ms=20, nmosd=10)

        counted = count(people, split_patients(people, 0))

        assert counted["ms", Split.VALIDATION] == 4
        assert counted["nmosd", Split.VALIDATION] == 2
        assert counted["ms", Split.TRAIN] == 16

    def test_keeps_patients_for_calibration_when_there_are_many(self):
        people = patients(ms=40, nmosd=60)

        counted = count(people, split_patients(people, 0))

        assert counted["ms", Split.CALIBRATION] == counted["ms", Split.VALIDATION] == 4
        assert counted["nmosd", Split.CALIBRATION] == 6

    def test_a_lone_patient_is_learned_from(self):
        people = patients(ms=1, nmosd=5)

        assert split_patients(people, 0)["ms-0"] is Split.TRAIN

    def test_same_seed_same_splits_in_any_order(self):
        people = patients(ms=20, nmosd=10)

        assert split_patients(people, 3) == split_patients(people[::-1], 3)
        assert split_patients(people, 3) != split_patients(people, 4)

    def test_known_patients_are_not_held_out(self):
        people = patients(ms=20, nmosd=10)
        known = {
            one.name
            for one in people
            if split_patients(people, 0)[one.name] is Split.TRAIN
        }
        more = [*people, *(Patient(f"new-{n}", "ms", "", ()) for n in range(10))]

        again = split_patients(more, 7, known)

        assert count(more, again)["ms", Split.VALIDATION] == 6
        assert all(again[name] is Split.TRAIN for name in known)
        assert split_patients(people, 9, known) == split_patients(people, 0)

    def test_of_a_diagnosis_known_altogether_some_are_held_out_all_the_same(self):
        people = patients(ms=20)
        splits = split_patients(people, 0, {one.name for one in people})

        assert count(people, splits)["ms", Split.VALIDATION] == 4

    def test_splits_are_written_as_a_table_has_them(self, tmp_path):
        splits = {"a": Split.TRAIN, "b, c": Split.CALIBRATION, "d": Split.TEST}
        write_splits(tmp_path / "split.csv", splits)

        lines = (tmp_path / "split.csv").read_text().splitlines()
        assert lines == ["case,split", "a,train", '"b, c",validation', "d,test"]

    def test_keeps_the_splits_of_the_table(self):
        people = [
            *patients("train", ms=3),
            *patients("validation", nmosd=2),
            *patients("test", astrocytoma=1),
        ]

        splits = split_patients(people, 0)

        assert all(splits[one.name] == one.split for one in people)


class TestNestedFraction:
    @pytest.mark.parametrize(("fraction", "expected"), [(0.1, 3), (0.5, 15), (1.0, 30)])
    def test_keeps_a_share_of_each_diagnosis(self, fraction, expected):
        kept = nested_fraction(patients(ms=20, nmosd=10), fraction, 0)

        assert len(kept) == expected

    def test_smaller_parts_lie_in_larger_ones(self):
        people = patients(ms=20, nmosd=10)
        parts = [set(nested_fraction(people, part, 1)) for part in (0.1, 0.3, 0.7)]

        assert parts[0] < parts[1] < parts[2]

    def test_keeps_at_least_one_of_each(self):
        kept = nested_fraction(patients(ms=3, nmosd=2), 0.01, 0)

        assert Counter(one.diagnosis for one in kept) == {"ms": 1, "nmosd": 1}
