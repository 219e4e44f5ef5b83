import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spinaldx.batch import holding
from spinaldx.batch.folders import (
    check_replaceable,
    clear_leftovers,
    replaced_folder,
)
from spinaldx.errors import OutputError


@pytest.fixture
def final(tmp_path):
    return tmp_path / "study"


def write_result(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "prediction.json").write_text(text)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def text_of(folder):
    return (folder / "prediction.json").read_text()


def test_a_new_folder_appears_at_the_end(final):
    with replaced_folder(final) as writing:
        write_result(writing, "new")
        assert not final.exists()

    assert text_of(final) == "new"
    assert names_in(final.parent) == ["study"]


def test_a_former_result_is_replaced_as_a_whole(final):
    write_result(final, "old")
    (final / "report.pdf").write_text("old")

    with replaced_folder(final) as writing:
        write_result(writing, "new")

    assert names_in(final) == ["prediction.json"]
    assert names_in(final.parent) == ["study"]


def test_a_former_result_stays_when_writing_fails(final):
    write_result(final, "old")

    with pytest.raises(ZeroDivisionError), replaced_folder(final) as writing:
        write_result(writing, str(1 / 0))

    assert text_of(final) == "old"
    assert names_in(final.parent) == ["study"]


def test_a_former_result_comes_back_when_the_last_rename_fails(final, monkeypatch):
    write_result(final, "old")
    rename = Path.rename

    def fail_late(path, target):
        if path.name.startswith(".writing-"):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_late)

    with (
        pytest.raises(OutputError, match="No space left") as caught,
        replaced_folder(final) as writing,
    ):
        write_result(writing, "new")

    assert caught.value.exit_code == 8
    assert text_of(final) == "old"


@pytest.mark.parametrize(
    "half",
    [
        ".writing-study",
        ".former-study",
        ".writing-study-0f1e2d3c",
        ".former-study-0f1e2d3c",
    ],
)
def test_leftovers_are_removed(final, half):
    write_result(final, "whole")
    write_result(final.with_name(half), "half")
    others = [".writing-other", ".writing-study-2-0f1e2d3c", ".writing-study-part"]
    for other in others:
        write_result(final.with_name(other), "another study's")

    clear_leftovers(final)

    assert text_of(final) == "whole"
    assert names_in(final.parent) == [*others, "study"]


def test_what_a_living_process_writes_stays(final):
    with replaced_folder(final) as writing:
        write_result(writing, "new")
        clear_leftovers(final)
        assert text_of(writing) == "new"

    assert text_of(final) == "new"


def test_what_a_killed_process_wrote_goes(final):
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from spinaldx.batch.folders import replaced_folder\n"
        "with replaced_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'prediction.json').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(final)], check=False)
    (left,) = names_in(final.parent)

    clear_leftovers(final)

    assert killed.returncode == -signal.SIGKILL
    assert left.startswith(".writing-study-")
    assert names_in(final.parent) == []


def test_a_folder_that_is_cleared_before_it_is_held_is_made_again(
    tmp_path, monkeypatch
):
    folder = tmp_path / "f"
    real = holding.lock
    cleared = []

    def clear_first(handle, **how):
        if not cleared:
            cleared.append(folder)
            folder.rmdir()
        real(handle, **how)

    monkeypatch.setattr(holding, "lock", clear_first)
    with holding.holding(folder):
        monkeypatch.setattr(holding, "lock", real)
        assert cleared
        assert holding.is_held(folder)
    assert not holding.is_held(folder)


def test_what_cannot_be_copied_is_moved_along(final, monkeypatch):
    write_result(final, "old")
    (final / "notes.txt").write_text("another's")

    def refuse(source, target):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("shutil.copy2", refuse)
    with replaced_folder(final) as writing:
        write_result(writing, "new")

    assert text_of(final) == "new"
    assert (final / "notes.txt").read_text() == "another's"
    assert names_in(final.parent) == ["study"]


def test_of_two_that_write_one_study_the_later_result_stays(final):
    write_result(final, "old")
    with replaced_folder(final) as first:
        write_result(first, "first")
        (first / "mask").write_text("first")
        with replaced_folder(final) as second:
            write_result(second, "second")
            (second / "mask").write_text("second")
        assert text_of(final) == "second"

    assert (text_of(final), (final / "mask").read_text()) == ("first", "first")
    assert names_in(final.parent) == ["study"]


def test_a_result_that_comes_between_the_renames_steps_aside_too(final, monkeypatch):
    rename = Path.rename
    came = []

    def meanwhile(path, target):
        if path.name.startswith(".writing-") and not came:
            came.append(path)
            write_result(final, "another's")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", meanwhile)
    with replaced_folder(final) as writing:
        write_result(writing, "mine")

    assert text_of(final) == "mine"
    assert names_in(final.parent) == ["study"]


@pytest.mark.parametrize(("age_h", "stays"), [(1, True), (30, False)])
def test_where_folders_cannot_be_held_old_ones_go(final, monkeypatch, age_h, stays):
    def refuse(handle, operation):
        raise OSError(errno.EBADF, "Bad file descriptor")

    left = final.with_name(".writing-study-0f1e2d3c")
    write_result(left, "half")
    then = time.time() - age_h * 3600
    os.utime(left, (then, then))
    monkeypatch.setattr("fcntl.flock", refuse)

    clear_leftovers(final)

    assert left.exists() == stays


def test_a_result_that_made_room_for_none_is_put_back(final):
    write_result(final.with_name(".former-study-0f1e2d3c"), "old")

    clear_leftovers(final)

    assert text_of(final) == "old"


def test_the_user_s_own_files_are_never_replaced(final):
    final.mkdir()
    (final / "t2w.nii.gz").write_text("an image")

    with pytest.raises(OutputError, match="no result"), replaced_folder(final):
        pass
    assert names_in(final) == ["t2w.nii.gz"]


def test_a_file_in_the_place_of_a_folder_is_refused(final):
    final.write_text("a file")

    with pytest.raises(OutputError, match="no result"):
        check_replaceable(final)


def test_an_empty_folder_may_be_replaced(final):
    final.mkdir()

    check_replaceable(final)
    with replaced_folder(final) as writing:
        write_result(writing, "new")

    assert text_of(final) == "new"


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "out").write_text("a file")

    study = tmp_path / "out" / "study"
    with pytest.raises(OutputError, match="Cannot write"), replaced_folder(study):
        pass


def test_a_file_system_without_folder_sync_is_fine(final, monkeypatch):
    def refuse(handle):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)

    with replaced_folder(final) as writing:
        write_result(writing, "new")

    assert text_of(final) == "new"
