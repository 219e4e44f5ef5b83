import csv
import stat
from pathlib import Path

import pytest
from batch_cases import load, settings_for, write_study, write_voxels
from phantoms import spine_phantom

from spinaldx import batch
from spinaldx.batch import Shard, pseudonyms
from spinaldx.batch.planning import PlannedStudy
from spinaldx.batch.writing import ComputedStudy
from spinaldx.batch.writing import write_study as write_study_folder
from spinaldx.errors import OutputError, UnreadableFileError, UsageError
from spinaldx.records import QualityFlag
from spinaldx.study import CaseRow, ImageFile, StudySource


def names_of(found):
    return [item.study for item in found.studies]


def every_text(folder):
    """All file names and contents of a folder, as one text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = " ".join(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return names + " ".join(path.read_bytes().decode("latin1") for path in files)


class TestRun:
    def test_names_are_hidden_everywhere_below_the_output(self, run, tmp_path, out):
        voxels = spine_phantom().volume.voxels
        source = write_voxels(
            tmp_path / "in" / "Meier__Hans" / "Meier Hans.npy", voxels
        )

        found = run([source], pseudonyms=True, inputs=(str(tmp_path / "in/Meier"),))

        assert names_of(found) == ["study-0001"]
        assert (out / "study-0001/t2w-01/lesion_mask.nii.gz").exists()
        assert "Meier" not in every_text(out)

    def test_names_are_hidden_in_failures(self, run, studies, out):
        found = run(studies[2:], pseudonyms=True)

        assert "has no sagittal T2w series" in found.studies[0].message
        assert "eve" not in every_text(out) + found.studies[0].message

    def test_the_key_is_the_owner_s_alone_and_beside_the_results(
        self, run, studies, out
    ):
        run(studies, pseudonyms=True)

        key = out.parent / "out-key.csv"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        with key.open() as stream:
            rows = list(csv.reader(stream))
        assert rows[0] == ["pseudonym", "study"]
        assert rows[1:] == [
            ["study-0001", "ada"],
            ["study-0002", "bob"],
            ["study-0003", "eve"],
        ]

    def test_later_runs_keep_the_names(self, run, studies, tmp_path):
        run(studies[1:], pseudonyms=True)
        newcomer = write_study(tmp_path / "in", "aaron")

        found = run([newcomer, *studies[1:]], pseudonyms=True)

        outcomes = {item.study: item.outcome.value for item in found.studies}
        assert outcomes == {
            "study-0001": "unchanged",
            "study-0002": "failed_before",
            "study-0003": "complete",
        }

    @pytest.mark.usefixtures("opened")
    def test_two_plans_at_once_do_not_share_pseudonyms(self, studies, out):
        settings = settings_for(out, pseudonyms=True)
        first, second = (batch.plan([one], settings) for one in studies[:2])
        batch.run(first, settings)

        with pytest.raises(UsageError, match="given pseudonyms meanwhile") as raised:
            batch.run(second, settings)
        assert "again" in raised.value.hint
        batch.run(batch.plan(studies[1:2], settings), settings)
        with pseudonyms.key_file(out).open(newline="") as stream:
            rows = list(csv.reader(stream))[1:]
        assert rows == [["study-0001", "ada"], ["study-0002", "bob"]]

    def test_without_their_key_pseudonyms_are_nobody_s(self, run, studies, out):
        run(studies[1:2], pseudonyms=True)
        pseudonyms.key_file(out).unlink()

        with pytest.raises(UsageError, match=r"their key .* is gone"):
            run(studies[:1], pseudonyms=True)

    def test_masks_and_asked_for_series_name_nobody(self, run, studies, tmp_path, out):
        masks = tmp_path / "masks"
        (masks / "Meier_Otto").mkdir(parents=True)
        (masks / "study-0001").mkdir()
        (masks / "study-0001" / "Otto Meier.nii.gz").touch()
        (masks / "Wagner.nii.gz").touch()

        run(studies[:1], pseudonyms=True, masks=masks)
        run(studies[2:], pseudonyms=True, masks=masks, series="Schulz*")

        text = every_text(out)
        assert "may name people" in text
        assert not [name for name in ("Meier", "Wagner", "Schulz") if name in text]

    def test_shards_agree_on_the_names(self, run, studies):
        second = run(studies, pseudonyms=True, shard=Shard(2, 2))
        first = run(studies, pseudonyms=True, shard=Shard(1, 2))

        assert names_of(second) == ["study-0002"]
        assert names_of(first) == ["study-0001", "study-0003"]

    def test_true_names_are_not_put_beside_hidden_ones(self, run, studies, out):
        run(studies[:1], pseudonyms=True)

        with pytest.raises(UsageError, match="are hidden") as caught:
            run(studies)
        assert "--pseudonyms" in caught.value.hint
        assert "ada" not in every_text(out)

    @pytest.mark.parametrize("has_key", [False, True])
    def test_hidden_names_are_not_put_beside_true_ones(
        self, run, studies, out, has_key
    ):
        run(studies[:1])
        if has_key:
            pseudonyms.save(out, {"ada": "study-0001"})

        with pytest.raises(UsageError, match="not hidden") as caught:
            run(studies, pseudonyms=True)
        assert "another output folder" in caught.value.hint
        assert not (out / "study-0001").exists()
        assert pseudonyms.key_file(out).exists() == has_key

    def test_a_plan_writes_no_key(self, studies, out):
        batch.plan(studies, settings_for(out, pseudonyms=True))

        assert not pseudonyms.key_file(out).exists()


@pytest.mark.parametrize(
    "content", [b"", b"other,header\n", b"pseudonym,study\na,b,c\n", b"\xff\xfe"]
)
def test_a_broken_key_file_is_refused(out, content):
    pseudonyms.key_file(out).write_bytes(content)

    with pytest.raises(OutputError, match="key file") as caught:
        pseudonyms.assign(out, ["ada"])
    assert caught.value.exit_code == 8


def test_flags_lose_names_too(tmp_path):
    source = write_study(tmp_path, "ada")
    (volume,) = load(source)
    flagged = volume.__class__(
        volume.voxels,
        volume.affine_ras,
        "t2w",
        flags=(QualityFlag("odd", "t2w.npy of ada is odd."),),
        source_name="t2w.npy",
    )

    (hidden,) = pseudonyms.hide_names([flagged], source)

    assert (hidden.name, hidden.source_name) == ("t2w-01", "")
    assert hidden.flags[0].message == "... of ... is odd."


def test_errors_keep_their_kind(tmp_path):
    rows = (CaseRow("Hans M", t2w=Path("/data/Hans M/scan.nii")),)
    zipped = ImageFile(tmp_path / "x.zip", "Hans/IM1")
    source = StudySource("Hans_M", nifti=(zipped,), rows=rows)
    error = UnreadableFileError("Hans_M: IM1 in Hans is damaged.", hint="See scan.nii.")

    hidden = pseudonyms.hide_in_error(error, source)

    assert type(hidden) is UnreadableFileError
    assert hidden.message == "...: ... in ... is damaged."
    assert hidden.hint == "See ...."


def test_short_names_are_hidden_as_whole_words():
    source = StudySource("Li", rows=(CaseRow("Li", series="Meier*"),))
    error = UnreadableFileError("Li: 2 Lights, no series matches 'Meier*', c 1 of Li.")

    hidden = pseudonyms.hide_in_error(error, source, ["Wu_2.nii"])

    assert hidden.message == "...: 2 Lights, no series matches '...', c 1 of ...."


@pytest.mark.parametrize("kind", [UnreadableFileError, KeyError])
def test_logs_name_nobody(kind, tmp_path, out, caplog):
    settings = settings_for(out, pseudonyms=True)
    source = StudySource("Meier")
    computed = ComputedStudy(
        PlannedStudy("study-0001", source), "key", kind("Meier"), 0.0
    )

    with caplog.at_level("DEBUG"):
        write_study_folder(computed, settings)

    assert "study-0001 failed" in caplog.text
    assert "Meier" not in caplog.text + every_text(out)


def test_foreign_errors_have_no_message_to_hide(tmp_path):
    error = KeyError("Hans")

    assert pseudonyms.hide_in_error(error, StudySource("Hans")) is error


@pytest.mark.parametrize(
    ("shown", "left"),
    [
        # The series' name, without and with what makes it safe and single.
        ("DOE.JOHN.1", "..."),
        ("DOE.JOHN é.7", "..."),
        ("DOE.JOHN_é.7-2", "...-2"),
        # Parts of it.
        ("DOE, JOHN", "..., ..."),
    ],
)
def test_names_with_dots_are_hidden_whole(shown, left):
    files = (
        ImageFile(Path("/in/p77/DOE.JOHN.1.nii")),
        ImageFile(Path("/in/all.zip"), "p77/DOE.JOHN é.7.NII.gz"),
    )
    source = StudySource("p77", nifti=files)
    error = UnreadableFileError(f"p77: {shown} is damaged.")

    hidden = pseudonyms.hide_in_error(error, source)

    assert hidden.message == f"...: {left} is damaged."
