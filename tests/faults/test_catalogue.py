"""Groups A to E of the fault catalogue; `benchmarks/faults.py` prints the counts."""

import fault_catalogue as catalogue
import numpy as np
import pytest
import study_cases as cases

from spinaldx.study import find_studies, load_study
from spinaldx.study.dicom_index import quiet

TRUTH = cases.spine_voxels()
AFFINE = cases.spine_affine()

# Mutations of the default run; `-m slow` runs the full thousand.
FEW, MANY = 40, 1000


def named(faults):
    return pytest.mark.parametrize("fault", faults, ids=lambda fault: fault.name)


def build(fault, folder):
    with quiet():
        fault.build(folder)


@named((*catalogue.SERIES_FAULTS, *catalogue.BYTE_FAULTS, *catalogue.NIFTI_FAULTS))
class TestCatalogue:
    def test_ends_as_it_must(self, fault, tmp_path):
        build(fault, tmp_path / "study")

        outcome = catalogue.outcome_of(tmp_path / "study", TRUTH, AFFINE)

        assert outcome.kind in fault.outcomes, outcome.detail
        assert fault.word.lower() in outcome.detail.lower()
        assert len(outcome.volumes) in {0, fault.volumes}
        assert "CANARY" not in outcome.detail


@pytest.mark.parametrize("syntax", catalogue.SYNTAXES, ids=lambda item: item[0])
class TestTransferSyntaxes:
    def test_pixels_are_right_or_refused_by_name(self, syntax, tmp_path):
        _, uid, expected, error = syntax
        with quiet():
            catalogue.write_syntax(tmp_path / "study", uid)

        outcome = catalogue.outcome_of(tmp_path / "study")

        assert outcome.kind == expected, outcome.detail
        for volume in outcome.volumes:
            found = np.transpose(volume.voxels, (2, 1, 0))[::-1]
            assert np.abs(found - TRUTH).max() <= error
        if expected == catalogue.REFUSED:
            assert "which is not read" in outcome.detail


class TestOrientations:
    def test_there_are_96(self):
        assert len(list(catalogue.orientations())) == 96

    @pytest.mark.parametrize("way", list(catalogue.orientations()))
    def test_voxels_keep_their_place(self, way, tmp_path):
        path = tmp_path / "t2w.nii"
        affine = catalogue.write_orientation(path, *way)

        volume = load_study(find_studies([path])[0])[0]

        assert not volume.flags
        assert catalogue.difference(volume, TRUTH, affine) == ""


class TestMutations:
    def run(self, make, seeds, folder):
        for seed in seeds:
            make(folder / str(seed), seed)
            outcome = catalogue.outcome_of(folder / str(seed), TRUTH, AFFINE)
            assert outcome.kind != catalogue.FORBIDDEN, f"seed {seed}: {outcome.detail}"

    def test_dicom(self, tmp_path):
        self.run(catalogue.mutated_dicom, range(FEW), tmp_path)

    def test_nifti(self, tmp_path):
        self.run(catalogue.mutated_nifti, range(FEW), tmp_path)

    @pytest.mark.slow
    def test_many_dicom(self, tmp_path):
        self.run(catalogue.mutated_dicom, range(FEW, MANY), tmp_path)

    @pytest.mark.slow
    def test_many_nifti(self, tmp_path):
        self.run(catalogue.mutated_nifti, range(FEW, MANY), tmp_path)
