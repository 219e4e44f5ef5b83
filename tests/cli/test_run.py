"""Exit codes and messages of the program as a whole."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from spinaldx import errors
from spinaldx.cli import Interrupted, app, console, run


def raising(error):
    def command(*_, **__):
        raise error

    return command


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.NoUsableSeriesError, 3),
        (errors.TableError, 3),
        (errors.ChecksumError, 4),
        (errors.DeviceError, 5),
        (errors.SomeStudiesFailedError, 6),
        (errors.AllStudiesFailedError, 7),
        (errors.OutputError, 8),
        (errors.NotPromotedError, 9),
    ],
)
def test_errors_end_with_their_code(kind, code, monkeypatch, capsys):
    monkeypatch.setattr(app, "app", raising(kind("It broke.", hint="Mend it.")))

    assert code == run([])
    assert capsys.readouterr().err == "Error: It broke.\nHint: Mend it.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruptions_end_with_128_and_the_signal(number, monkeypatch, capsys):
    monkeypatch.setattr(app, "app", raising(Interrupted(number)))

    assert 128 + number == run([])
    assert "Run the same command again" in capsys.readouterr().err


def test_an_interrupted_training_goes_on_with_resume(monkeypatch, capsys):
    monkeypatch.setattr(app, "app", raising(Interrupted(signal.SIGINT)))
    run(["fine-tune", "cases.csv"])

    assert "with --resume to go on" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["human", "json"])
def test_nobody_reading_is_no_bug(output):
    # As `spinaldx ... | head -1` in a script with `set -o pipefail`.
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "spinaldx", "weights", "list"]
    command += ["--format", output]
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)

    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == ""


def test_a_bug_is_not_hidden(monkeypatch):
    monkeypatch.setattr(app, "app", raising(KeyError("x")))

    with pytest.raises(KeyError):
        run([])


@pytest.mark.parametrize("words", [["predict"], ["nonsense"], ["predict", "--nope"]])
def test_usage_errors_are_2(words, capsys):
    assert run(words) == 2
    assert "Usage" in capsys.readouterr().err


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("spinaldx ")


def test_markup_in_messages_is_literal(capsys):
    console.show_error(errors.StudyError("[red]x[/] \x1b[2J.nii"))

    assert "[red]x[/]" in capsys.readouterr().err


def test_data_goes_to_stdout_as_json(capsys):
    console.show_json({"a": ["ä"]})

    assert json.loads(capsys.readouterr().out) == {"a": ["ä"]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_real_process_stops_on_signals(number, tmp_path):
    command = [sys.executable, "-m", "spinaldx", "simulate", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "-n", "500"], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, messages = process.communicate(timeout=60)

    assert process.returncode == 128 + number
    assert "Traceback" not in messages
