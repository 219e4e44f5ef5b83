import os
from dataclasses import dataclass

import pytest

from spinaldx.errors import OutputError
from spinaldx.workers import in_order, side_by_side


@dataclass(frozen=True)
class Square:
    """Squares a number after adding something, in another process."""

    added: int = 0
    fails_at: int = -1
    dies_at: int = -1

    def __call__(self, number):
        if number == self.dies_at:
            os._exit(9)
        if number == self.fails_at:
            message = f"no square of {number}"
            raise ValueError(message)
        return (number + self.added) ** 2, os.getpid()


class TestInOrder:
    def test_gives_results_in_order_from_other_processes(self):
        with in_order(Square(added=1), 3, workers=2, ahead=4) as take:
            found = [take() for _ in range(8)]

        assert [result for result, _ in found] == [n**2 for n in range(4, 12)]
        processes = {process for _, process in found}
        assert os.getpid() not in processes
        assert 1 <= len(processes) <= 2

    def test_raises_what_was_raised_when_it_is_asked_for(self):
        with in_order(Square(fails_at=1), 0, workers=1, ahead=3) as take:
            assert take()[0] == 0
            with pytest.raises(ValueError, match="no square of 1"):
                take()

    def test_a_killed_process_is_an_error_that_says_so(self):
        def ask_three_times():
            with in_order(Square(dies_at=1), 0, workers=1, ahead=2) as take:
                return [take() for _ in range(3)]

        with pytest.raises(OutputError, match="killed") as caught:
            ask_three_times()

        assert "--workers" in caught.value.hint


class TestSideBySide:
    def test_one_worker_stays_in_this_process(self):
        found = list(side_by_side(Square(), [2, 3], 1))

        assert found == [(4, os.getpid()), (9, os.getpid())]

    def test_several_do_each_task_once(self):
        found = list(side_by_side(Square(), [1, 2, 3], 2))

        assert sorted(result for result, _ in found) == [1, 4, 9]
        assert os.getpid() not in {process for _, process in found}

    def test_nothing_to_do(self):
        assert list(side_by_side(Square(), [], 4)) == []
