"""What lies below one input: images, and files that should be and cannot be read."""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from spinaldx.errors import StudyError, UnreadableFileError
from spinaldx.study.archive import ImageFile, list_archive, open_file
from spinaldx.study.masks import is_mask_name, may_be_mask_name, voxels_are_labels
from spinaldx.study.nifti import is_nifti_name

_DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")
_SYSTEM_FOLDERS = {
    "lost+found",
    "System Volume Information",
    "$RECYCLE.BIN",
    "__MACOSX",
}
_RESULT_FILES = {"prediction.json", "failure.json"}
_OTHER_SUFFIXES = [
    ".json",
    ".csv",
    ".tsv",
    ".txt",
    ".md",
    ".pdf",
    ".png",
    ".jpg",
    ".jpeg",
    ".html",
    ".xml",
    ".bval",
    ".bvec",
    ".log",
    ".yaml",
    ".yml",
    ".toml",
    ".py",
    ".sh",
    ".img",
    ".gz",
    ".lock",
    ".ini",
    ".db",
    ".exe",
    ".inf",
    ".mat",
    ".npy",
]


@dataclass(frozen=True, slots=True)
class Found:
    """One file below an input, with its folder below the input."""

    file: ImageFile
    folder: tuple[str, ...]


@dataclass(slots=True)
class Tree:
    """All that was found below one input.

    Attributes:
        root: The input.
        nifti: Images by their names.
        dicom: Files by their first bytes.
        problems: What could not be read, with its folder below the input.
        blanks: Files without content and without a suffix that says what they are:
            damaged images where they lie beside DICOM files.
    """

    root: Path
    nifti: list[Found] = field(default_factory=list)
    dicom: list[Found] = field(default_factory=list)
    problems: list[tuple[tuple[str, ...], StudyError]] = field(default_factory=list)
    blanks: list[Found] = field(default_factory=list)


def gather(given: Path) -> Tree:
    """Find the images below an input; no pixels are read.

    Args:
        given: A folder, a NIfTI or DICOM file, or a zip archive.

    Returns:
        Images and what could not be read, each with its folder below the input.
    """
    tree = Tree(given)
    if given.is_file():
        _add(tree, ImageFile(given), (), is_input=True)
    else:
        _walk(tree)
    tree.problems += _damaged(tree)
    return tree


def _damaged(tree: Tree) -> Iterator[tuple[tuple[str, ...], StudyError]]:
    folders = {found.folder for found in tree.dicom}
    for found in tree.blanks:
        if found.folder in folders:
            message = f"{found.file.name}: empty, beside DICOM files."
            yield found.folder, UnreadableFileError(message)


def _walk(tree: Tree) -> None:
    seen: set[tuple[int, int]] = set()

    def note(error: OSError) -> None:
        folder = Path(error.filename)
        message = f"{folder.name}: cannot be read: {error.strerror}."
        below = folder.relative_to(tree.root).parts
        tree.problems.append((below, UnreadableFileError(message)))

    for text, folders, names in os.walk(tree.root, onerror=note, followlinks=True):
        folder = Path(text)
        identity = folder.stat()
        key = (identity.st_dev, identity.st_ino)
        results = sorted(_RESULT_FILES.intersection(names))
        if key in seen or any(_is_ours(folder / name) for name in results):
            folders.clear()
            continue
        seen.add(key)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _SYSTEM_FOLDERS
        )
        below = folder.relative_to(tree.root).parts
        for name in sorted(names):
            if not name.startswith("."):
                _add(tree, ImageFile(folder / name), below)


def _is_ours(path: Path) -> bool:
    """Whether a result's file is this program's: other programs use such names too."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # A damaged one stands in a folder of results all the same.
        return True
    return not record or (isinstance(record, dict) and "schema_version" in record)


def _add(
    tree: Tree, file: ImageFile, below: tuple[str, ...], *, is_input: bool = False
) -> None:
    found = Found(file, below)
    lower = file.name.lower()
    if is_nifti_name(file.name):
        if not _is_mask(file, is_input=is_input):
            tree.nifti.append(found)
    elif lower.endswith(".zip") and not file.member:
        _add_archive(tree, file, below if is_input else (*below, file.path.stem))
    elif lower != "dicomdir" and not lower.endswith(tuple(_OTHER_SUFFIXES)):
        from spinaldx.study.dicom_index import looks_like_dicom  # noqa: PLC0415 - heavy

        try:
            head = _head(file)
        except UnreadableFileError as error:
            tree.problems.append((below, error))
            return
        if looks_like_dicom(head):
            tree.dicom.append(found)
        elif lower.endswith(_DICOM_SUFFIXES):
            message = f"{file.name}: named like DICOM, but is not."
            tree.problems.append((below, UnreadableFileError(message)))
        elif not head.strip(b"\0"):
            tree.blanks.append(found)


def _is_mask(file: ImageFile, *, is_input: bool) -> bool:
    """Whether a NIfTI file is a mask; one named by the user is taken as an image."""
    if is_input:
        return False
    if is_mask_name(file.name):
        return True
    return may_be_mask_name(file.name) and voxels_are_labels(file)


def _head(file: ImageFile) -> bytes:
    try:
        # A pipe would be waited for without end.
        if not stat.S_ISREG(file.path.stat().st_mode):
            return b""
    except OSError as error:
        message = f"{file.name}: cannot be read: {error.strerror}."
        raise UnreadableFileError(message) from error
    try:
        with open_file(file) as stream:
            return stream.read(132)
    except (StudyError, OSError):
        return b""


def _add_archive(tree: Tree, file: ImageFile, below: tuple[str, ...]) -> None:
    try:
        members = list_archive(file.path)
    except UnreadableFileError as error:
        tree.problems.append((below, error))
        return
    for member in members:
        parts = PurePosixPath(member.member).parts
        hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
        if not hidden:
            _add(tree, member, (*below, *parts[:-1]))
