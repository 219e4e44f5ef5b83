import csv
from dataclasses import replace

import pytest
from training_cases import Listener, tiny_request

from spinaldx.errors import UsageError
from spinaldx.training import fractions
from spinaldx.training.fractions import fine_tune_fractions, parse_fractions


class TestParseFractions:
    def test_sorts_and_ends_with_all(self):
        assert parse_fractions("0.5, 0.1") == (0.1, 0.5, 1.0)

    @pytest.mark.parametrize("text", ["half", "0,1", "0.5,2", ""])
    def test_refuses_what_is_no_fraction(self, text):
        with pytest.raises(UsageError):
            parse_fractions(text)


@pytest.fixture
def runs(finished, monkeypatch):
    """The requests that were run; nothing is trained."""
    made = []

    def train(request, _watcher):
        made.append(request)
        return finished[1]

    monkeypatch.setattr(fractions, "fine_tune", train)
    return made


class TestFineTuneFractions:
    def test_trains_once_a_fraction_with_one_cache(self, cohort, tmp_path, runs):
        request = tiny_request(cohort, tmp_path / "out")
        outcome = fine_tune_fractions(request, (0.5, 1.0), Listener())

        assert [one.options.fraction for one in runs] == [0.5, 1.0]
        assert runs[1].out == request.out
        assert runs[0].cache == runs[1].cache != None  # noqa: E711 - chained
        assert outcome.bundle.name == "tiny"

    def test_writes_the_curve(self, cohort, tmp_path, runs):
        request = tiny_request(cohort, tmp_path / "out")
        fine_tune_fractions(request, (0.5, 1.0), Listener())
        with (tmp_path / "out" / "learning_curve.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))

        assert [row["fraction"] for row in rows] == ["0.5", "0.5", "1.0", "1.0"]
        assert {row["figure"] for row in rows} == {"dice", "classes"}
        assert (tmp_path / "out" / "learning_curve.png").stat().st_size > 1000

    def test_the_picture_leaves_out_what_was_not_judged(self, finished):
        outcome = finished[1]
        bundle = replace(outcome.bundle, training_data="patients")

        picture = fractions._picture([], replace(outcome, bundle=bundle))

        assert picture.startswith(b"\x89PNG")
