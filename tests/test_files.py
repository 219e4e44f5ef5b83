import hashlib
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinaldx.errors import OutputError
from spinaldx.files import (
    atomic_writer,
    safe_name,
    sha256_of,
    write_bytes,
    write_json,
)


class TestAtomicWriter:
    def test_makes_folders_and_the_file(self, tmp_path):
        path = tmp_path / "a" / "b" / "file"

        write_bytes(path, b"whole")

        assert path.read_bytes() == b"whole"
        assert [p.name for p in path.parent.iterdir()] == ["file"]

    def test_nothing_is_seen_before_the_end(self, tmp_path):
        path = tmp_path / "file"
        with atomic_writer(path) as stream:
            stream.write(b"half")
            assert not path.exists()

    def test_an_error_keeps_the_old_file(self, tmp_path):
        path = tmp_path / "file"
        write_bytes(path, b"old")

        with pytest.raises(ZeroDivisionError), atomic_writer(path) as stream:
            stream.write(b"%d" % (1 / 0))

        assert path.read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 1

    def test_others_may_read_it_as_usual(self, tmp_path):
        before = os.umask(0o027)
        try:
            write_bytes(tmp_path / "shared", b"")
            write_bytes(tmp_path / "private", b"", private=True)
        finally:
            os.umask(before)

        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
        assert modes == {"shared": 0o640, "private": 0o600}

    def test_a_full_disk_is_an_output_error(self, tmp_path, monkeypatch):
        def refuse(handle):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", refuse)

        with pytest.raises(OutputError, match="No space left") as caught:
            write_bytes(tmp_path / "file", b"")
        assert caught.value.exit_code == 8
        assert caught.value.hint
        assert not list(tmp_path.iterdir())

    def test_a_file_in_the_place_of_a_folder_is_an_output_error(self, tmp_path):
        (tmp_path / "taken").write_text("")

        with pytest.raises(OutputError, match="Cannot write"):
            write_bytes(tmp_path / "taken" / "file", b"")


class TestWriteJson:
    def test_is_readable_and_ends_with_a_line(self, tmp_path):
        write_json(tmp_path / "a.json", {"ä": [1, 2.5, None]})

        text = (tmp_path / "a.json").read_text(encoding="utf-8")
        assert text == '{\n  "ä": [\n    1,\n    2.5,\n    null\n  ]\n}\n'

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_refuses_what_is_not_json(self, tmp_path, value):
        with pytest.raises(ValueError, match="JSON compliant"):
            write_json(tmp_path / "a.json", [value])
        assert not list(tmp_path.iterdir())


class TestSha256:
    @pytest.mark.parametrize("size", [0, 5, (1 << 20) + 1])
    def test_agrees_with_the_library(self, tmp_path, size):
        content = bytes(size)
        (tmp_path / "file").write_bytes(content)

        assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()

    def test_a_missing_file_is_the_caller_s(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            sha256_of(tmp_path / "none")


class TestSafeName:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("sub-01", "sub-01"),
            ("a b/c\\d:e", "a_b_c_d_e"),
            ("../../etc/passwd", "etc_passwd"),
            (".hidden.", "hidden"),
            ("", "unnamed"),
            ("///", "unnamed"),
            ("Jürgen", "Jürgen"),
            ("ﬁle", "file"),
        ],
    )
    def test_examples(self, text, name):
        assert safe_name(text) == name

    @given(st.text() | st.text("ab._-", min_size=78, max_size=84))
    def test_is_always_one_short_visible_name(self, text):
        name = safe_name(text)

        assert 1 <= len(name) <= 80
        assert not name.startswith((".", "-"))
        assert not name.endswith((".", "-"))
        assert not set(name) & set('/\\:*?"<>|\0\n')

    @pytest.mark.parametrize("letter", ["a", "脊", "𐌰"])
    def test_long_names_fit_every_file_system(self, letter, tmp_path):
        name = safe_name(letter * 300)

        assert len(name.encode()) <= 200
        (tmp_path / f".writing-{name}").mkdir()

    @given(st.text() | st.text("ab._-", min_size=78, max_size=84))
    def test_a_safe_name_is_its_own(self, text):
        name = safe_name(text)

        assert safe_name(name) == name


def test_a_write_cut_short_is_told_as_a_full_disk(tmp_path):
    # As numpy says it: without the system's reason.
    with (
        pytest.raises(
            OutputError, match="not all of it was written, as on a full disk"
        ),
        atomic_writer(tmp_path / "a.npy"),
    ):
        raise OSError("655360 requested and 604096 written")  # noqa: EM101
    assert list(tmp_path.iterdir()) == []
