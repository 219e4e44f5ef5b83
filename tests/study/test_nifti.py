import struct

import nibabel
import numpy as np
import pytest
import study_cases as cases

from spinaldx.errors import UnreadableFileError
from spinaldx.study import ImageFile
from spinaldx.study.nifti import read_image

# Of the 64-bit offset in a NIfTI-2 header.
PLACE = 168


def nifti_2(path, offset):
    """A NIfTI-2 image whose header tells another place for its voxels."""
    image = nibabel.Nifti2Image(cases.spine_voxels(), cases.spine_affine())
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    assert struct.unpack_from("<q", raw, PLACE) == (544,)
    struct.pack_into("<q", raw, PLACE, offset)
    path.write_bytes(raw)
    return ImageFile(path)


@pytest.mark.parametrize("offset", [0, 544])
def test_voxels_of_nifti_2_begin_behind_its_longer_header(tmp_path, offset):
    image = read_image(nifti_2(tmp_path / "t2w.nii", offset))

    assert np.array_equal(image.voxels, cases.spine_voxels())


def test_they_do_not_begin_inside_of_it(tmp_path):
    with pytest.raises(UnreadableFileError, match="inside its header"):
        read_image(nifti_2(tmp_path / "t2w.nii", 352))
