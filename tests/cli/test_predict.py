"""`predict`, `scan`, `report`, `weights`, `doctor` on real files with tiny networks."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from spinaldx.cli import run


@pytest.fixture(scope="module")
def results(studies, tiny_bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "out"
    code = run(predicting(studies, out, tiny_bundle))
    assert code == 6
    return out


def predicting(studies, out, bundle, *words):
    root = studies.parent if studies.name in {"good", "bad"} else studies
    masks = root.parent / f"{root.name}-masks"
    common = ["--weights", str(bundle.folder), "--masks", str(masks)]
    return ["predict", str(studies), "-o", str(out), *common, *words]


class TestPredict:
    def test_writes_the_mask_on_the_source_grid(self, results, studies):
        source = nib.load(studies / "good" / "t2w.nii.gz")
        mask = nib.load(results / "good" / "t2w" / "lesion_mask.nii.gz")

        assert mask.shape == source.shape
        np.testing.assert_allclose(mask.affine, source.affine, atol=1e-4)

    def test_writes_a_report_and_pictures(self, results):
        assert (results / "good" / "report.pdf").read_bytes().startswith(b"%PDF")
        assert list((results / "good" / "figures").glob("*.png"))

    def test_a_broken_study_leaves_its_reason(self, results):
        failure = json.loads((results / "bad" / "failure.json").read_text())

        assert failure["status"] == "failed"
        assert failure["message"]

    def test_a_second_run_does_nothing(self, results, studies, tiny_bundle, capsys):
        before = (results / "good" / "prediction.json").stat().st_mtime_ns
        code = run(predicting(studies, results, tiny_bundle, "--format", "json"))
        shown = json.loads(capsys.readouterr().out)

        assert code == 6
        assert {"unchanged": 1, "failed_before": 1}.items() <= shown["counts"].items()
        assert (results / "good" / "prediction.json").stat().st_mtime_ns == before

    def test_dry_run_writes_nothing(self, studies, tiny_bundle, tmp_path, capsys):
        out = tmp_path / "out"
        code = run(
            predicting(studies, out, tiny_bundle, "--dry-run", "--format", "json")
        )
        shown = json.loads(capsys.readouterr().out)

        assert code == 0
        assert sorted(shown["to_run"]) == ["bad", "good"]
        assert not out.exists()

    def test_dry_run_for_people(self, studies, tiny_bundle, tmp_path, capsys):
        assert run(predicting(studies, tmp_path / "o", tiny_bundle, "--dry-run")) == 0
        assert "Nothing was run" in capsys.readouterr().out

    def test_a_single_study_ends_with_its_own_code(
        self, studies, tiny_bundle, tmp_path, capsys
    ):
        assert run(predicting(studies / "bad", tmp_path / "o", tiny_bundle)) == 3
        assert "Error:" in capsys.readouterr().err

    def test_a_failure_names_its_study_once(
        self, studies, tiny_bundle, tmp_path, capsys
    ):
        run(predicting(studies / "good", tmp_path / "o", tiny_bundle, "--series", "no"))
        (warning,) = [
            line
            for line in capsys.readouterr().err.splitlines()
            if line.startswith("Warning: ")
        ]

        assert warning == "Warning: good: no series matches 'no'."

    @pytest.mark.parametrize("words", [[], ["-q"], ["-v"], ["--dry-run"]])
    def test_a_warning_is_given_once(
        self, words, studies, tiny_bundle, tmp_path, capsys
    ):
        masks = tmp_path / "drawn"
        (masks / "nobody").mkdir(parents=True)
        common = ["predict", str(studies / "bad"), "-o", str(tmp_path / "o")]
        common += ["--weights", str(tiny_bundle.folder), "--masks", str(masks)]

        run([*common, *words])

        shown = capsys.readouterr().err.splitlines()
        assert [line for line in shown if "nobody" in line] == [
            "Warning: 1 folders of masks belong to no study, such as nobody."
        ]

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (["--device", "cuda:7"], 5),
            (["--weights", "no-such-bundle"], 4),
            (["--shard", "3/2"], 2),
            (["--precision", "fp7"], 2),
        ],
    )
    def test_wrong_options(self, words, code, studies, tiny_bundle, tmp_path, capsys):
        good = studies / "good"

        assert run(predicting(good, tmp_path / "o", tiny_bundle, *words)) == code
        assert "Hint:" in capsys.readouterr().err


class TestRealProcess:
    """What one process imports, opens and leaves, seen from outside."""

    CODE = """
import socket, sys
class Refused(socket.socket):
    def __init__(self, *a, **k):
        raise AssertionError("a socket was opened")
socket.socket = Refused
from spinaldx.cli import run
code = run(sys.argv[1:])
bad = sorted({m.split(".")[0] for m in sys.modules} & {"torch", "pandas", "sklearn"})
telemetry = [m for m in sys.modules if m.startswith("openvino_telemetry")
             and sys.modules[m] is not None]
print("CODE", code, "IMPORTED", bad, "TELEMETRY", telemetry)
"""

    def test_no_torch_and_no_socket(self, studies, tiny_bundle, tmp_path):
        pytest.importorskip("openvino", reason="no OpenVINO on this processor")
        words = predicting(studies / "good", tmp_path / "o", tiny_bundle, "-q")
        done = subprocess.run(
            [sys.executable, "-c", self.CODE, *words],
            capture_output=True, text=True, check=True,
        )  # fmt: skip

        assert "CODE 0 IMPORTED [] TELEMETRY []" in done.stdout


class TestScan:
    def test_says_what_would_be_used(self, studies, capsys):
        assert run(["scan", str(studies / "good"), "--format", "json"]) == 0
        shown = json.loads(capsys.readouterr().out)

        assert shown["studies"][0]["series"][0]["verdict"] == "chosen"

    def test_no_word_is_torn_at_80_columns(self, studies, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        run(["scan", str(studies / "good"), "--format", "json"])
        series = json.loads(capsys.readouterr().out)["studies"][0]["series"][0]
        assert run(["scan", str(studies / "good")]) == 0
        lines = capsys.readouterr().out.splitlines()

        words = {word for line in lines for word in line.split()}
        assert {*series["reasons"][0].split()} <= {word.rstrip(";,") for word in words}
        assert max(len(line) for line in lines) <= 80
        assert len(lines) <= 6

    def test_shows_every_series_and_names_the_unusable(self, studies, capsys):
        assert run(["scan", str(studies)]) == 6
        shown = capsys.readouterr()

        assert "chosen" in shown.out
        assert "bad" in shown.err

    def test_a_name_that_no_series_has_is_answered_with_those_there_are(
        self, studies, capsys
    ):
        assert run(["scan", str(studies / "good"), "--series", "zervikal"]) == 3
        shown = capsys.readouterr()

        assert "good: no series matches 'zervikal'." in shown.err
        assert "There are: t2w." in shown.err
        assert "t2w" in shown.out

    def test_the_only_study_ends_with_its_own_error(self, studies):
        assert run(["scan", str(studies / "bad")]) == 3

    def test_all_unusable(self, studies, tmp_path):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "x.nii.gz").write_bytes(b"nothing")

        assert run(["scan", str(tmp_path)]) == 7


class TestReport:
    def test_rebuilds_the_same_bytes(self, results, capsys):
        path = results / "good" / "report.pdf"
        before = path.read_bytes()
        path.unlink()

        assert run(["report", str(results)]) == 0
        assert path.read_bytes() == before

    def test_cohort_and_figures(self, results):
        assert run(["report", str(results), "--cohort", "-q"]) == 0
        assert run(["report", str(results), "--study", "good", "--figures", "svg"]) == 0
        assert (results / "cohort.pdf").exists()
        assert list((results / "good" / "figures").glob("*.svg"))

    def test_a_summary_of_all_takes_no_options_for_one(self, results, capsys):
        for more in (["--study", "good"], ["--figures", "svg"], ["--patient-header"]):
            assert run(["report", str(results), "--cohort", *more]) == 2
            assert "--cohort takes no --study" in capsys.readouterr().err

    def test_says_what_is_lacking(self, studies, tiny_bundle, tmp_path, capsys):
        out = tmp_path / "out"
        run(predicting(studies / "good", out, tiny_bundle, "--no-report"))
        (out / "good" / "t2w" / "lesion_mask.nii.gz").unlink()

        assert run(["report", str(out)]) == 7
        assert "Warning: good" in capsys.readouterr().err

    def test_no_results(self, tmp_path):
        assert run(["report", str(tmp_path)]) == 2


class TestWeights:
    def test_list(self, capsys):
        assert run(["weights", "list", "--format", "json"]) == 0
        assert "bundles" in json.loads(capsys.readouterr().out)
        assert run(["weights", "list"]) == 0

    def test_show(self, tiny_bundle, capsys):
        folder = str(tiny_bundle.folder)

        assert run(["weights", "show", folder]) == 0
        assert run(["weights", "show", folder, "--format", "json"]) == 0
        assert tiny_bundle.name in capsys.readouterr().out

    def test_verify(self, tiny_bundle, capsys):
        assert run(["weights", "verify", str(tiny_bundle.folder)]) == 0
        assert "fine" in capsys.readouterr().out

    def test_verify_finds_a_changed_byte(self, tiny_bundle, tmp_path):
        for path in tiny_bundle.folder.iterdir():
            content = bytearray(path.read_bytes())
            if path.name == "segmentation.safetensors":
                content[-3] ^= 1
            (tmp_path / path.name).write_bytes(content)

        assert run(["weights", "verify", str(tmp_path)]) == 4


class TestDoctor:
    def test_without_the_self_test(self, tiny_bundle, capsys):
        words = ["doctor", "--weights", str(tiny_bundle.folder), "--no-self-test"]

        assert run(words) == 0
        assert "openvino" in capsys.readouterr().out

    def test_random_weights_fail_the_self_test(self, tiny_bundle, capsys):
        words = ["doctor", "--weights", str(tiny_bundle.folder), "--format", "json"]

        assert run(words) == 5
        assert json.loads(capsys.readouterr().out)["self-test"]["passed"] is False
