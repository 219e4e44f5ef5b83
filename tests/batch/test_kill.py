import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="processes are forked and killed"
)


def drive(folder, networks, points):
    done = subprocess.run(
        [sys.executable, TESTS / "kill_driver.py", folder, networks, str(points)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def check(found):
    assert found["outcomes"] == {
        "ada": "complete",
        "bob": "complete",
        "eve": "failed",
        "joe": "complete",
    }
    bad = [t for t in found["tried"] if not t["is_same"] or t["strays"]]
    assert bad == []
    assert all(tried["was_killed"] for tried in found["tried"])


def test_killed_at_ten_points_the_next_run_ends_the_same(tmp_path):
    found = drive(tmp_path, "fake", 10)

    check(found)
    assert len(found["tried"]) == 10


@pytest.mark.slow
def test_killed_at_every_step_the_next_run_ends_the_same(tmp_path):
    found = drive(tmp_path, "fake", 0)

    check(found)
    assert len(found["tried"]) == found["steps"]


@pytest.mark.slow
def test_killed_with_real_networks_and_reports(tmp_path, tiny_bundle):
    check(drive(tmp_path, str(tiny_bundle.folder), 12))


SCRIPT = """
import signal, sys, time
from pathlib import Path
from batch_cases import fake_open, load, settings_for, write_study
from spinaldx import batch
from spinaldx.batch import pipeline, reading

def end(number, frame):
    raise SystemExit(128 + number)

def wait_in_bob(study, *rest):
    if study == "bob":
        print("computing", flush=True)
        # In naps: a signal just before one long sleep would be heard after it.
        for _ in range(1200):
            time.sleep(0.05)
    return run_case(study, *rest)

signal.signal(signal.SIGTERM, end)
# A job in the background is born deaf to interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
run_case, pipeline.run_case = pipeline.run_case, wait_in_bob
reading.load_study, pipeline.open_networks = load, fake_open
folder = Path(sys.argv[1])
sources = [write_study(folder / "in", name) for name in ("ada", "bob", "joe")]
settings = settings_for(folder / "out")
batch.run(batch.plan(sources, settings), settings)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_soon_and_cleanly(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        process.stdout.readline()
        process.send_signal(number)
        code = process.wait(timeout=30)

    out = tmp_path / "out"
    # Python dies of an interrupt that nobody catches as the shell expects it.
    assert code == {signal.SIGINT: -2, signal.SIGTERM: 143}[number]
    assert (out / "ada/prediction.json").exists()
    assert not (out / "joe").exists()
    (run_file,) = (out / "runs").iterdir()
    assert json.loads(run_file.read_text())["state"] == "interrupted"
    assert not list(out.glob(".writing-*"))
