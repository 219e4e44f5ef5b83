import pytest
import torch

from spinaldx.errors import UnreadableFileError
from spinaldx.training.checkpoint import CheckpointStore, HistoryRow, Standing
from spinaldx.training.schedule import plan_steps

STANDING = Standing(
    step=3,
    seconds=1.5,
    best=(0.5, 0.25),
    since_best=1,
    history=(HistoryRow("n", 2, 0.5, 1.0, 1e-3, 0.7, 0.5, 10.0),),
)


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "network")


class TestCheckpointStore:
    def test_nothing_is_stored_at_first(self, store):
        assert store.load() is None
        assert store.load_plan() is None

    def test_gives_back_what_was_saved(self, store):
        kernel = torch.rand(2, 3).to(memory_format=torch.preserve_format)
        groups = {"network": {"a.b": kernel}, "moments": {"0.step": torch.tensor(7)}}
        store.save(STANDING, groups)
        standing, loaded = store.load()

        assert standing == STANDING
        assert torch.equal(loaded["network"]["a.b"], kernel)
        assert loaded["moments"]["0.step"].item() == 7

    def test_gives_back_the_plan(self, store):
        plan = plan_steps(100).corrected(20, 60)
        store.save_plan(plan)

        assert store.load_plan() == plan

    def test_a_damaged_file_is_named(self, store, tmp_path):
        store.save(STANDING, {"network": {"a": torch.ones(1)}})
        path = tmp_path / "network" / "checkpoint.safetensors"
        path.write_bytes(path.read_bytes()[:-2])

        with pytest.raises(UnreadableFileError, match="not a checkpoint"):
            store.load()
