"""Where bundles lie on this machine: found by name or place, and written."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import ChecksumError
from spinaldx.files import write_bytes
from spinaldx.models.bundle import (
    BUNDLE_NAME,
    CARD_NAME,
    SEGMENTATION,
    Bundle,
    bundle_document,
    load_bundle,
    parse_bundle,
)
from spinaldx.models.json_fields import is_safe_name
from spinaldx.models.manifest import (
    MANIFEST_NAME,
    Manifest,
    load_manifest,
    shipped_manifest,
)
from spinaldx.models.specs import expected_tensors
from spinaldx.models.tensors import parse_tensors, write_tensors

_SHIPPED = Path(__file__).resolve().parents[1] / "bundles"


def find_bundle(name_or_dir: str, *, user_store: Path | None = None) -> Bundle:
    """Find a bundle by name or place and check its description.

    What ships with the program wins over a user's bundle of the same name, and
    both over a folder of that name; a text with a path separator is a folder.

    Args:
        name_or_dir: Name of a bundle, or a folder with ``bundle.json``.
        user_store: Folder of the user's bundles, one folder each, pinned by a
            manifest of its own.

    Raises:
        WeightsNotFoundError: If there is none.
        ChecksumError: If its description is not the one its manifest pins.
        WeightsError: As `load_bundle` does.
    """
    if is_safe_name(name_or_dir):
        for manifest, store in _stores(user_store):
            if name_or_dir in manifest.bundles:
                bundle = load_bundle(store / name_or_dir)
                _check_pinned(bundle, manifest)
                return bundle
    return load_bundle(Path(name_or_dir))


def _stores(user_store: Path | None) -> list[tuple[Manifest, Path]]:
    stores = [(shipped_manifest(), _SHIPPED)]
    if user_store is not None and (user_store / MANIFEST_NAME).is_file():
        stores.append((load_manifest(user_store / MANIFEST_NAME), user_store))
    return stores


def _check_pinned(bundle: Bundle, manifest: Manifest) -> None:
    # The description pins the tensors, so pinning the description pins them all.
    wanted = manifest.bundles[bundle.folder.name].files[BUNDLE_NAME].sha256
    if bundle.description_sha256 != wanted:
        message = (
            f"{bundle.folder / BUNDLE_NAME} has sha256 {bundle.description_sha256}; "
            f"its manifest pins {wanted}."
        )
        raise ChecksumError(message, hint="Fetch or import the bundle again.")


def write_bundle(
    bundle: Bundle,
    tensors: Mapping[str, Mapping[str, NDArray[np.generic]]],
    folder: Path,
    *,
    card: str = "",
    half: bool = True,
) -> Bundle:
    """Write a bundle and read it back checked.

    Files are replaced one by one, the description last; a folder left half way
    fails its checksums.

    Args:
        bundle: Description; hashes, folder and schema are filled in here.
        tensors: State of every network by ``segmentation`` or name of the task.
        folder: Made when missing.
        card: Text of ``README.md``; a short one is made when empty.
        half: Store kernels as float16.

    Returns:
        The bundle as `load_bundle` and `verify_bundle` accept it.

    Raises:
        IncompatibleWeightsError: If the tensors do not fit the description.
        ManifestError: If the description breaks the schema.
        OutputError: If the folder cannot be written.
    """
    contents = {}
    for part, described in bundle.parts.items():
        content = write_tensors(tensors[part], half=half)
        path = folder / described.file
        parse_tensors(content, expected_tensors(described.network), path)
        contents[part] = content
    hashes = {part: hashlib.sha256(contents[part]).hexdigest() for part in contents}
    document = bundle_document(_with_hashes(bundle, hashes))
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    parse_bundle(text.encode(), folder / BUNDLE_NAME)
    for part, content in contents.items():
        write_bytes(folder / bundle.parts[part].file, content)
    write_bytes(folder / CARD_NAME, (card or _short_card(bundle)).encode())
    write_bytes(folder / BUNDLE_NAME, text.encode())
    return load_bundle(folder)


def _with_hashes(bundle: Bundle, hashes: Mapping[str, str]) -> Bundle:
    return dataclasses.replace(
        bundle,
        segmentation=dataclasses.replace(
            bundle.segmentation, sha256=hashes[SEGMENTATION]
        ),
        classifiers={
            task: dataclasses.replace(part, sha256=hashes[task.value])
            for task, part in bundle.classifiers.items()
        },
    )


def _short_card(bundle: Bundle) -> str:
    return (
        f"# {bundle.name} {bundle.version}\n\n{bundle.intended_use}\n\n"
        f"Training data: {bundle.training_data}. Licence: {bundle.licence}.\n"
    )
