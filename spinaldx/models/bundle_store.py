"""Where bundles lie on this machine: found by name or place, and written."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import ChecksumError, WeightsNotFoundError
from spinaldx.files import sha256_of, write_bytes
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
    FileEntry,
    ManifestEntry,
    Source,
    shipped_manifest,
)
from spinaldx.models.specs import expected_tensors
from spinaldx.models.tensors import parse_tensors, write_tensors
from spinaldx.models.user_store import own_manifest

# Files for people that travel with a bundle where it has them.
COMPANIONS = (CARD_NAME, "curves.png", "history.csv")

_SHIPPED = Path(__file__).resolve().parents[1] / "bundles"


@dataclass(frozen=True, slots=True)
class KnownBundle:
    """A bundle that a manifest names, whether or not it is on this machine.

    Attributes:
        name: In its manifest.
        entry: Its pins.
        folder: Where it lies, or will.
        is_shipped: Whether the program's own manifest names it.
    """

    name: str
    entry: ManifestEntry
    folder: Path
    is_shipped: bool

    @property
    def is_present(self) -> bool:
        """Whether its folder is there; its bytes are not looked at."""
        return self.folder.is_dir()


def known_bundles(user_store: Path | None = None) -> Mapping[str, KnownBundle]:
    """List the bundles of the program's manifest, then those of the user's.

    Args:
        user_store: Folder of the user's bundles, one folder each, pinned by a
            manifest of its own. A shipped entry of the same name wins.

    Raises:
        WeightsError: As `load_manifest` does.
    """
    known = {
        name: KnownBundle(
            name, entry, _shipped_folder(name, user_store), is_shipped=True
        )
        for name, entry in shipped_manifest().bundles.items()
    }
    if user_store is not None:
        for name, entry in own_manifest(user_store).bundles.items():
            folder = user_store / name
            known.setdefault(name, KnownBundle(name, entry, folder, is_shipped=False))
    return known


def _shipped_folder(name: str, user_store: Path | None) -> Path:
    inside = _SHIPPED / name
    # The manifest may name bundles that are too large for the wheel.
    return inside if user_store is None or inside.is_dir() else user_store / name


def find_bundle(name_or_dir: str, *, user_store: Path | None = None) -> Bundle:
    """Find a bundle by name or place and check its description.

    What ships with the program wins over a user's bundle of the same name, and
    both over a folder of that name; a text with a path separator is a folder.

    Args:
        name_or_dir: Name of a bundle, or a folder with ``bundle.json``.
        user_store: As `known_bundles` takes it.

    Raises:
        WeightsNotFoundError: If there is none.
        ChecksumError: If its description is not the one its manifest pins.
        WeightsError: As `load_bundle` does.
    """
    if is_safe_name(name_or_dir):
        known = known_bundles(user_store).get(name_or_dir)
        if known is not None:
            return load_known(known)
    return load_bundle(Path(name_or_dir))


def load_known(known: KnownBundle) -> Bundle:
    """Load a bundle's description if it is the one that is pinned.

    Raises:
        ChecksumError: If it is another.
        WeightsError: As `load_bundle` does.
    """
    bundle = load_bundle(known.folder)
    # The description pins the tensors, so pinning the description pins them all.
    wanted = known.entry.files[BUNDLE_NAME].sha256
    if bundle.description_sha256 != wanted:
        message = (
            f"{bundle.folder / BUNDLE_NAME} has sha256 {bundle.description_sha256}; "
            f"its manifest pins {wanted}."
        )
        raise ChecksumError(message, hint="Fetch or import the bundle again.")
    return bundle


def bundle_files(bundle: Bundle) -> tuple[str, ...]:
    """Name the files that travel with a bundle and are there, in order.

    Raises:
        WeightsNotFoundError: If its description or a weight file is missing.
    """
    needed = {BUNDLE_NAME, *(part.file for part in bundle.parts.values())}
    for name in sorted(needed):
        if not (bundle.folder / name).is_file():
            message = f"{bundle.folder / name} is missing."
            raise WeightsNotFoundError(message)
    companions = {n for n in COMPANIONS if (bundle.folder / n).is_file()}
    return tuple(sorted(needed | companions))


def describe_bundle(bundle: Bundle, source: Source) -> ManifestEntry:
    """Make a manifest entry from the bytes of a bundle's folder.

    Raises:
        WeightsNotFoundError: If a file is missing or cannot be read.
    """
    files = {}
    for name in bundle_files(bundle):
        path = bundle.folder / name
        try:
            files[name] = FileEntry(sha256_of(path), path.stat().st_size)
        except OSError as error:
            message = f"Cannot read {path}: {error.strerror or error}"
            raise WeightsNotFoundError(message) from error
    return ManifestEntry(
        source=source,
        files=files,
        licence=bundle.licence,
        summary=bundle.intended_use,
        training_data=bundle.training_data,
        minimum_program_version=bundle.minimum_program_version,
    )


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
