import os
import subprocess
import sys

import pytest

from spinaldx.locks import lock


@pytest.fixture
def handles(tmp_path):
    made = [os.open(tmp_path, os.O_RDONLY) for _ in range(2)]
    yield made
    for handle in made:
        os.close(handle)


def test_one_alone_holds_it(handles):
    lock(handles[0])

    with pytest.raises(BlockingIOError):
        lock(handles[1], waits=False)
    with pytest.raises(BlockingIOError):
        lock(handles[1], waits=False, is_shared=True)


def test_many_may_share_it(handles):
    lock(handles[0], is_shared=True)
    lock(handles[1], is_shared=True, waits=False)

    with pytest.raises(BlockingIOError):
        lock(handles[1], waits=False)


def test_it_ends_with_the_process(tmp_path, handles):
    code = (
        "import os, sys; from spinaldx.locks import lock\n"
        "lock(os.open(sys.argv[1], os.O_RDONLY)); os.abort()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, check=False, capture_output=True)

    assert ended.returncode < 0
    lock(handles[0], waits=False)
