import runpy
from pathlib import Path

import numpy as np
import pytest
from batch_cases import fake_open
from phantoms import fake_bundle, spine_phantom

from spinaldx.report.nifti import nifti_bytes

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def main(monkeypatch):
    """The example's entry with stand-ins for weights and networks."""
    names = runpy.run_path(str(EXAMPLES / "python_api.py"))
    space = names["main"].__globals__
    monkeypatch.setitem(space, "find_bundle", lambda name: fake_bundle())
    monkeypatch.setitem(space, "open_networks", fake_open)
    return names["main"]


def test_runs_every_study_and_outlives_a_broken_one(main, tmp_path, capsys):
    volume = spine_phantom().volume
    content = nifti_bytes(volume.voxels.astype(np.int16), volume.affine_ras)
    for name, written in (("good", content), ("broken", b"no image")):
        path = tmp_path / "studies" / name / "sag_T2w.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(written)

    main([str(tmp_path / "studies"), str(tmp_path / "out"), "--weights", "any"])

    printed = capsys.readouterr().out
    assert "lesion 1 in sag_T2w" in printed
    assert (tmp_path / "out/good/prediction.json").exists()
    assert (tmp_path / "out/broken/failure.json").exists()
    assert (tmp_path / "out/studies.csv").read_text().count("\n") == 3
