"""Studies of box spines on disk, and stand-ins for reading and networks."""

import hashlib
from dataclasses import replace

import numpy as np
from phantoms import FakeNetworks, fake_bundle, spine_phantom, volume_of

from spinaldx import batch
from spinaldx.errors import NoUsableSeriesError
from spinaldx.study import ImageFile, StudySource


def write_study(folder, name, **phantom):
    """Write a study of one series; it is read by `load`."""
    voxels = spine_phantom(**phantom).volume.voxels
    return write_voxels(folder / name / "t2w.npy", voxels)


def write_voxels(path, voxels):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, voxels)
    return source_of(path)


def source_of(path):
    return StudySource(path.parent.name, nifti=(ImageFile(path),))


def write_broken(folder, name):
    """Write a study that cannot be read."""
    path = folder / name / "t2w.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"broken")
    return source_of(path)


def load(source, *, series=""):
    """Stand in for `load_study`."""
    if source.problem is not None:
        raise source.problem
    volumes = []
    for file in source.nifti:
        if file.path.read_bytes() == b"broken":
            message = f"{file.path}: {source.name} has no sagittal T2w series."
            raise NoUsableSeriesError(message, hint="See spinaldx scan.")
        volume = volume_of(np.load(file.path), name=series or file.path.stem)
        volumes.append(replace(volume, source_format="nifti", source_name=file.name))
    return tuple(volumes)


def settings_for(out, **changes):
    settings = batch.BatchSettings(out=out, bundle=fake_bundle(), report=False)
    return replace(settings, **changes)


def fake_open(bundle, device="auto", precision="auto", options=None):
    """Stand in for `open_networks`."""
    networks = FakeNetworks()
    networks.precision = "fp32" if precision == "auto" else precision
    return networks


def digests(out):
    """Hash every file of the results but the run files and the lock."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
        and path.parent.name != "runs"
        and not path.name.endswith(".lock")
    }
