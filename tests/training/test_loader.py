import threading

import pytest
import torch

from spinaldx.training.loader import batches_ahead


def numbered(step):
    """Two batches a step, of two tensors each."""
    generator = torch.Generator().manual_seed(step)
    return [
        (torch.rand((3, 2, 4, 4), generator=generator), torch.tensor([step, part]))
        for part in range(2)
    ]


class TestBatchesAhead:
    def test_gives_batches_in_order_from_the_first(self):
        with batches_ahead(lambda step: step * 10, 3) as take:
            assert [take() for _ in range(12)] == [step * 10 for step in range(3, 15)]

    def test_raises_what_was_raised_in_the_background(self):
        def fail(step):
            message = f"step {step}"
            raise ValueError(message)

        with batches_ahead(fail, 0) as take, pytest.raises(ValueError, match="step 0"):
            take()

    def test_ends_its_thread_also_when_the_store_is_full(self):
        before = threading.active_count()
        with batches_ahead(lambda step: step, 0) as take:
            take()

        assert threading.active_count() == before

    def test_processes_make_the_batches_of_a_thread(self):
        with batches_ahead(numbered, 7) as take:
            expected = [take() for _ in range(5)]
        with batches_ahead(numbered, 7, workers=2) as take:
            found = [take() for _ in range(5)]

        for step, other in zip(expected, found, strict=True):
            for batch, same in zip(step, other, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(batch, same, strict=True))

    def test_holds_few_batches(self):
        made = []
        with batches_ahead(made.append, 0) as take:
            for _ in range(5):
                take()
            threading.Event().wait(0.05)

            assert len(made) <= 5 + 8
