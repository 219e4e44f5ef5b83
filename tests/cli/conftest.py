import nibabel as nib
import numpy as np
import pytest

from spinaldx.records import Disease
from spinaldx.simulation.patient import PatientOptions, simulate_patient


@pytest.fixture(scope="session")
def patient():
    """One simulated patient with an ependymoma."""
    options = PatientOptions(disease=Disease.EPENDYMOMA)
    return simulate_patient("sim-0001", np.random.SeedSequence(4), options)


@pytest.fixture(scope="session")
def studies(tmp_path_factory, patient):
    """A good study, and one that holds no image."""
    folder = tmp_path_factory.mktemp("studies")
    volume = patient.stations[0].volume
    image = nib.Nifti1Image(volume.voxels.astype(np.int16), volume.affine_ras)
    (folder / "good").mkdir()
    nib.save(image, folder / "good" / "t2w.nii.gz")
    # Masks of random networks are noise, which takes long to draw.
    drawn = nib.Nifti1Image(patient.stations[0].lesion, volume.affine_ras)
    masks = folder.parent / f"{folder.name}-masks" / "good"
    masks.mkdir(parents=True)
    nib.save(drawn, masks / "t2w.nii.gz")
    (folder / "bad").mkdir()
    (folder / "bad" / "t2w.nii.gz").write_bytes(b"no image at all")
    return folder
