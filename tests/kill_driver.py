"""Runs batches in processes that are killed at the n-th step on the disk.

Called as ``kill_driver.py FOLDER NETWORKS POINTS``, where NETWORKS is ``fake`` or a
bundle's folder and POINTS how many steps to try, 0 for all. Prints one JSON object.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
from batch_cases import (
    digests,
    fake_open,
    load,
    settings_for,
    write_broken,
    write_study,
)

from spinaldx import batch
from spinaldx.batch import pipeline, reading
from spinaldx.models import load_bundle

_STEPS = (
    (os, "fsync"),
    (shutil, "rmtree"),
    (tempfile, "mkstemp"),
    (Path, "mkdir"),
    (Path, "rename"),
    (Path, "replace"),
    (Path, "unlink"),
)


class Steps:
    """Counts what is done on the disk and kills the process at one step."""

    def __init__(self, deadly):
        self.count = 0
        self.deadly = deadly
        for owner, name in _STEPS:
            setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, function):
        def call(*arguments, **named):
            self.count += 1
            if self.count == self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call


def in_a_process(work, *arguments):
    """Run in a child; return its wait status and what it found."""
    incoming, outgoing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(incoming)
        os.write(outgoing, json.dumps(work(*arguments)).encode())
        os._exit(0)
    os.close(outgoing)
    with os.fdopen(incoming, "rb") as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    return status, json.loads(text or "null")


def run(sources, settings, deadly=None):
    """Run the studies; return steps on disk and outcomes."""
    steps = Steps(deadly)
    found = batch.run(batch.plan(sources, settings), settings)
    return steps.count, {item.study: item.outcome.value for item in found.studies}


def strays(out):
    return [
        str(path.relative_to(out))
        for path in out.rglob(".*")
        if path.name != ".studies.lock"
    ]


def main(folder, networks, points):
    reading.load_study = load
    changes = {"report": False}
    if networks == "fake":
        pipeline.open_networks = fake_open
    else:
        changes = {"report": True, "bundle": load_bundle(Path(networks))}
    before = folder / "before"
    former = [write_study(folder / "in", "ada", rows=None)]
    in_a_process(run, former, settings_for(before, **changes))
    # Since then one study changed and three are new.
    sources = [
        write_study(folder / "in", "ada"),
        write_study(folder / "in", "bob", rows=None),
        write_broken(folder / "in", "eve"),
        write_study(folder / "in", "joe", rows=(40, 45)),
    ]
    whole = folder / "whole"
    shutil.copytree(before, whole)
    _, (count, outcomes) = in_a_process(run, sources, settings_for(whole, **changes))
    expected = digests(whole)
    tried = []
    for deadly in np.unique(np.linspace(1, count, points or count, dtype=int)):
        out = folder / f"killed-{deadly}"
        shutil.copytree(before, out)
        settings = settings_for(out, **changes)
        status, _ = in_a_process(run, sources, settings, int(deadly))
        in_a_process(run, sources, settings)
        tried.append(
            {
                "step": int(deadly),
                "was_killed": os.WIFSIGNALED(status),
                "is_same": digests(out) == expected,
                "strays": strays(out),
            }
        )
        shutil.rmtree(out)
    result = {"steps": count, "outcomes": outcomes, "tried": tried}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
