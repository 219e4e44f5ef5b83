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


def test_regions_alike_moves_lesions(tmp_path):
    # Patients of this seed whose region changes; the disease does not.
    words = ["simulate", "-n", "6", "--seed", "2", "--quiet"]
    regions = {}
    for name, more in (("usual", []), ("alike", ["--regions-alike"])):
        assert run([*words[:1], str(tmp_path / name), *words[1:], *more]) == 0
        records = sorted((tmp_path / name).glob("*/patient.json"))
        told = [json.loads(one.read_text(encoding="utf-8")) for one in records]
        regions[name] = [one["location"] for one in told]
        diseases = [one["diagnosis"] for one in told]
        assert diseases == regions.setdefault("diseases", diseases)

    assert regions["usual"] != regions["alike"]


@pytest.mark.parametrize("words", [["--contrast", "0"], ["--noise", "-1"]])
def test_absurd_factors_are_usage_errors(words, tmp_path):
    assert run(["simulate", str(tmp_path / "out"), *words]) == 2
