import json
from datetime import datetime

import pytest

from spinaldx.batch import runs


def record_of(found):
    return json.loads(found.run_file.read_text())


def test_says_what_ran_with_what(run, studies):
    record = record_of(run(studies, device="cpu", inputs=("in",)))

    assert record["state"] == "finished"
    assert (record["engine"], record["device"], record["precision"]) == (
        "fake",
        "cpu",
        "fp32",
    )
    assert record["weights"]["name"] == "fake"
    assert set(record["weights"]["files"]) == {
        "segmentation",
        "tumour_vs_demyelination",
        "astrocytoma_vs_ependymoma",
        "ms_vs_nmosd",
    }
    assert record["packages"]["numpy"]
    assert record["options"]["inputs"] == ["in"]
    assert record["options"]["shard"] == "1/1"
    assert record["options"]["studies_in_all_shards"] == 3


def test_counts_and_times(run, studies):
    record = record_of(run(studies))

    assert record["counts"] == {
        "complete": 2,
        "failed": 1,
        "unchanged": 0,
        "failed_before": 0,
    }
    started, ended = (
        datetime.fromisoformat(record[key]) for key in ("started", "ended")
    )
    assert started <= ended
    assert record["seconds"] > sum(study["seconds"] for study in record["studies"]) / 3
    assert [study["study"] for study in record["studies"]] == ["ada", "bob", "eve"]


def test_is_there_from_the_start(run, studies, out):
    seen = []

    def look(event):
        seen.extend(json.loads(path.read_text()) for path in (out / "runs").iterdir())

    run(studies, look)

    assert seen[0]["state"] == "running"
    assert seen[0]["ended"] is None
    assert seen[-1]["engine"] == "fake"


def test_without_work_no_engine_is_named(run, studies):
    run(studies)

    assert record_of(run(studies))["engine"] is None


def test_each_process_has_its_own(run, studies, out):
    run(studies)
    run(studies)

    assert len(list((out / "runs").glob("*.json"))) == 2


def test_with_pseudonyms_paths_are_left_out(run, studies, tmp_path):
    (tmp_path / "masks").mkdir()
    found = run(
        studies,
        pseudonyms=True,
        inputs=("ada",),
        series="Meier*",
        masks=tmp_path / "masks",
    )

    options = record_of(found)["options"]
    assert (options["inputs"], options["masks"], options["series"]) == ([], None, True)


@pytest.mark.parametrize("place", [".", "runs"])
def test_files_half_written_are_removed(run, studies, out, place):
    (out / place).mkdir(parents=True)
    stray = out / place / ".writing-abc"
    stray.write_text("half")

    run(studies)

    assert not stray.exists()


def test_folders_of_other_processes_are_left(run, studies, out):
    (out / ".writing-zoe").mkdir(parents=True)

    run(studies)

    assert (out / ".writing-zoe").is_dir()


def test_packages_that_are_not_there_are_left_out():
    assert set(runs._versions(("numpy", "no-such-package"))) == {"numpy"}
