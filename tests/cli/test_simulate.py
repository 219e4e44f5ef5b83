"""`spinaldx simulate`, as typed."""

import json

import nibabel as nib
import numpy as np
import pytest

from spinaldx.cli import run

SEED = "4"


def simulated(folder, *words):
    code = run(["simulate", str(folder), "-n", "1", "--seed", SEED, "--quiet", *words])
    assert code == 0
    (image,) = sorted(folder.glob("*/*_T2w.nii.gz"))[:1]
    (mask,) = sorted(folder.glob("*/*_lesion_mask.nii.gz"))[:1]
    return tuple(np.asarray(nib.load(path).dataobj) for path in (image, mask))


def test_contrast_changes_the_lesion_and_not_its_place(tmp_path):
    usual, mask = simulated(tmp_path / "usual")
    clear, same = simulated(tmp_path / "clear", "--contrast", "2")

    assert mask.any()
    assert np.array_equal(mask, same)
    inside = mask > 0
    assert clear[inside].mean() > 1.05 * usual[inside].mean()


def test_noise_factor_reaches_the_images(tmp_path):
    usual, _ = simulated(tmp_path / "usual")
    noisy, _ = simulated(tmp_path / "noisy", "--noise", "3")

    assert not np.array_equal(usual, noisy)


def test_regions_alike_changes_the_region_and_not_the_disease(tmp_path):
    told = []
    for name, words in (("usual", []), ("alike", ["--regions-alike"])):
        simulated(tmp_path / name, *words)
        (record,) = (tmp_path / name).glob("*/patient.json")
        told.append(json.loads(record.read_text(encoding="utf-8")))

    usual, alike = told
    # What this seed draws from either distribution.
    assert (usual["location"], alike["location"]) == ("lumbar", "thoracic")
    assert usual["diagnosis"] == alike["diagnosis"] == "ependymoma"


@pytest.mark.parametrize("words", [["--contrast", "0"], ["--noise", "-1"]])
def test_absurd_factors_are_usage_errors(words, tmp_path):
    assert run(["simulate", str(tmp_path / "out"), *words]) == 2
