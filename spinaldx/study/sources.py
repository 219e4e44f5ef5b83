"""What the user names to studies: folders, files, archives and tables.

How studies are told apart, in this order:

- A CSV table: one study a `case`; its rows are the stations.
- DICOM files, wherever they lie below one input: one study a StudyInstanceUID,
  named after the innermost folder that holds all of its files. Without that UID
  one study a folder, and never one for several PatientIDs, or names where there is
  no PatientID; both are flagged.
- A NIfTI file named as input: one study, named after the file.
- NIfTI files below a folder: one study a folder, and in BIDS trees one a `sub-*`
  or `sub-*/ses-*` folder. A folder that holds the files of several patients side by
  side (the input itself, or more than 12 images; names that differ in more than
  words about the series) gives one study a patient: files whose names differ in
  such words alone (`p7_cervical_T2w`, `p7_T1w`) are one patient's. Any other folder
  whose files are named like those of several patients is flagged.
- A zip archive: as a folder of its name.
- A folder or archive of which nothing can be read: a study with a problem, unless it
  lies in a study's folder, which is flagged, or above one, where strays lie.

A study is named after the path below the input, joined by `__`; the input itself
gives its own name. No text of a tag is ever part of a name. Equal names from several
inputs get parent folders in front. Where several studies still have one name, each of
them gets a code that depends on itself alone: nobody keeps the plain name and nobody is
numbered, since a mask or result found by name would be another patient's as soon as a
study comes in between.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spinaldx.errors import UnreadableFileError, UsageError
from spinaldx.files import safe_name
from spinaldx.records import QualityFlag
from spinaldx.study.archive import ImageFile
from spinaldx.study.cases import read_cases
from spinaldx.study.nifti import is_nifti_name, stem_of
from spinaldx.study.series import CaseRow, DicomHeader, StudySource
from spinaldx.study.tree import Tree, gather
from spinaldx.study.vocabulary import look_like_patients, patient_part

_MOST_IMAGES_OF_A_PATIENT = 12
_BIDS_DATA = {"anat", "dwi", "func", "fmap", "perf"}
# Of studies whose name ends with a code, see below.
CODE_NOTE = "several studies have this name; the code tells them apart"

_NO_STUDY_UID = QualityFlag(
    "study_uid_missing",
    "Files without StudyInstanceUID: taken for one study because of their folder.",
)
_SPLIT_BY_PATIENT = QualityFlag(
    "patients_split",
    "Its StudyInstanceUID or folder holds several patients; told apart by ID or name.",
)
_PATIENTS_MIXED = QualityFlag(
    "patients_mixed",
    "Its files are named like those of several patients; give each a folder.",
)
_IDS_DIFFER = QualityFlag(
    "patients_mixed",
    "The rows of this case name images of several patients (by PatientID or name).",
)
_FOLDER_SHARED = QualityFlag(
    "folder_shared",
    "Another study lies in the same folder; kept apart.",
    needs_review=False,
)


@dataclass(frozen=True, slots=True)
class _Named:
    """A study whose name may be that of others too.

    Attributes:
        source: The study.
        code: Tells it from studies of the same name, whatever these are.
        folder: That holds it, below the input.
    """

    source: StudySource
    code: str
    folder: tuple[str, ...] = ()


def find_studies(inputs: Sequence[Path]) -> tuple[StudySource, ...]:
    """Find every study in what the user names; no pixels are read.

    Args:
        inputs: Study folders, folders of studies, NIfTI files, zip archives,
            DICOM files and CSV tables, mixed as they come.

    Returns:
        Studies in the order of the inputs, each with its own name. A study that
        cannot be used is among them, with its `problem`.

    Raises:
        UsageError: If an input does not exist, or studies cannot be told apart by
            name.
        UnreadableFileError: If nothing at all was found.
        TableError: If a table has faults.
    """
    found: list[tuple[Path, _Named]] = []
    seen: set[Path] = set()
    for given in inputs:
        if not given.exists():
            message = f"{given}: no such file or folder."
            raise UsageError(message)
        root = given.resolve()
        if root in seen:
            continue
        seen.add(root)
        found += [(given, item) for item in _studies_of(given)]
    if not found:
        named = ", ".join(str(given) for given in inputs)
        message = f"{named}: no MRI study in it."
        hint = "Expected DICOM files, .nii, .nii.gz, a .zip or a cases.csv."
        raise UnreadableFileError(message, hint=hint)
    return _with_unique_names(found)


def _studies_of(given: Path) -> list[_Named]:
    if given.is_file():
        if given.suffix.lower() in {".csv", ".tsv"}:
            return _from_table(given)
        if is_nifti_name(given.name):
            name = safe_name(stem_of(given.name))
            source = StudySource(name, nifti=(ImageFile(given),))
            return [_Named(source, _code(given.name))]
        if given.name.upper() == "DICOMDIR":
            # Its index may lead anywhere; the files beside it speak for themselves.
            return _studies_of(given.absolute().parent)
    return _from_tree(gather(given))


def _from_tree(tree: Tree) -> list[_Named]:
    found = [*_dicom_studies(tree), *_nifti_studies(tree)]
    if not found and tree.problems:
        return [_unreadable(tree, ())]
    folders = [one.folder for one in found]
    # What lies in a study's folder is flagged there; in a folder above studies it is a
    # stray file; the rest would be lost.
    lost = {
        below
        for below, _ in tree.problems
        if not any(_is_in(below, folder) or _is_in(folder, below) for folder in folders)
    }
    return [*found, *(_unreadable(tree, folder) for folder in sorted(lost))]


def _is_in(folder: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether a folder is another one or lies below it."""
    return folder[: len(other)] == other


def _unreadable(tree: Tree, folder: tuple[str, ...]) -> _Named:
    """Return the study of a folder of which nothing can be read."""
    problem = next(error for below, error in tree.problems if _is_in(below, folder))
    source = StudySource(_name(tree, folder), problem=problem)
    return _Named(source, _code(_real_name(tree, folder)), folder)


def _dicom_studies(tree: Tree) -> Iterator[_Named]:
    if not tree.dicom:
        return
    from spinaldx.study.dicom_index import read_headers  # noqa: PLC0415 - heavy

    folder_of = {item.file: item.folder for item in tree.dicom}
    headers, faults = read_headers([item.file for item in tree.dicom])
    for file, message in faults:
        tree.problems.append((folder_of[file], UnreadableFileError(message)))
    named = defaultdict(list)
    for group, flags in _told_apart(headers, folder_of):
        folders = [folder_of[header.slices[0].file] for header in group]
        named[_common(folders)].append((group, flags))
    for folder, groups in sorted(named.items()):
        groups.sort(key=lambda found: min(item.slices[0].file for item in found[0]))
        shared = (_FOLDER_SHARED,) if len(groups) > 1 else ()
        faulty = _fault_flags(tree, folder)
        for group, flags in groups:
            source = StudySource(
                _name(tree, folder),
                dicom=tuple(group),
                flags=(*flags, *faulty, *shared),
            )
            uids = _telling_uids(group, is_alone=not flags)
            real = () if not flags else (_real_name(tree, folder),)
            yield _Named(source, _code(*real, *uids), folder)


def _telling_uids(headers: Sequence[DicomHeader], *, is_alone: bool) -> Iterable[str]:
    """Return what no other study has.

    Where the StudyInstanceUID is missing or not the study's alone, its images tell,
    never PatientID: eight digits of a hash of so short a text can be guessed back.
    """
    if is_alone:
        return (headers[0].tags.study_uid,)
    return sorted({item.sop_uid for header in headers for item in header.slices})


def _told_apart(
    headers: Sequence[DicomHeader], folder_of: dict[ImageFile, tuple[str, ...]]
) -> Iterator[tuple[list[DicomHeader], tuple[QualityFlag, ...]]]:
    """Group headers by study, and never two patients into one.

    Anonymised files may have no StudyInstanceUID, or one that all patients share.
    """
    studies: dict[object, list[DicomHeader]] = defaultdict(list)
    for header in headers:
        # A FrameOfReferenceUID, which could join folders, may be everybody's as well.
        uid = header.tags.study_uid
        studies[uid or folder_of[header.slices[0].file]].append(header)
    for group in studies.values():
        flags = [] if group[0].tags.study_uid else [_NO_STUDY_UID]
        patients: dict[str, list[DicomHeader]] = defaultdict(list)
        for header in group:
            patients[header.tags.patient_sha256].append(header)
        if len(_patients_in(group)) < 2:
            yield group, tuple(flags)
            continue
        for part in patients.values():
            yield part, (*flags, _SPLIT_BY_PATIENT)


def _patients_in(headers: Iterable[DicomHeader]) -> set[str]:
    """Return the hashes that tell patients apart: names only where nobody has an ID."""
    told = {header.tags.patient_sha256 for header in headers} - {""}
    return {one for one in told if one.startswith("PatientID")} or told


def _fault_flags(tree: Tree, folder: tuple[str, ...]) -> tuple[QualityFlag, ...]:
    """Flag files that could not be read in or below a study's folder."""
    here = [item for item in tree.problems if _is_in(item[0], folder)]
    if not here:
        return ()
    text = f"{len(here)} files of the study could not be read."
    return (QualityFlag("files_unreadable", text),)


def _common(folders: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    unique = sorted(set(folders))
    first, last = unique[0], unique[-1]
    length = 0
    while length < len(first) and first[: length + 1] == last[: length + 1]:
        length += 1
    return first[:length]


def _nifti_studies(tree: Tree) -> Iterator[_Named]:
    folders = defaultdict(list)
    below_of: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for item in tree.nifti:
        subject = _subject_folder(item.folder)
        folders[subject].append(item.file)
        below_of[subject] |= set(item.folder[len(subject) :][:1])
    for folder, files in sorted(folders.items()):
        patients = defaultdict(list)
        for file in files:
            patients[patient_part(stem_of(file.name))].append(file)
        is_input = not folder
        stems = [stem_of(file.name) for file in files]
        numbers = {patient_part(stem, with_group=False) for stem in stems}
        # `C_1`, `T_1` and `L_1` alone are more likely one patient's regions.
        may_be_one = is_input and len(patients) > len(numbers) == 1
        is_mixed = (len(patients) > 1 and not may_be_one) and (
            is_input or len(files) > _MOST_IMAGES_OF_A_PATIENT
        )
        if not is_mixed:
            mixed = may_be_one or any(
                map(look_like_patients, (stems, sorted(below_of[folder])))
            )
            flags = (_PATIENTS_MIXED,) if mixed else ()
            source = StudySource(_name(tree, folder), nifti=tuple(files), flags=flags)
            yield _Named(source, _code(_real_name(tree, folder)), folder)
            continue
        for part, group in sorted(patients.items()):
            stem = stem_of(group[0].name) if len(group) == 1 else part
            below = (*folder, stem or "unnamed")
            note = f"{len(patients)} patients lie in one folder, told apart by name"
            source = StudySource(_name(tree, below), nifti=tuple(group), notes=(note,))
            yield _Named(source, _code(_real_name(tree, below)), folder)


def _subject_folder(folder: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folder of the BIDS subject or session, or the folder itself."""
    for depth in range(len(folder), 0, -1):
        subject = any(part.startswith("sub-") for part in folder[: depth - 1])
        is_subject = folder[depth - 1].startswith("sub-")
        is_session = folder[depth - 1].startswith("ses-")
        # Elsewhere a `ses-1` may hold the folders of many patients.
        is_bids = subject or _BIDS_DATA.issuperset(folder[depth:])
        if is_subject or (is_session and is_bids):
            return folder[:depth]
    return folder


def _name(tree: Tree, folder: tuple[str, ...]) -> str:
    parts = _real_name(tree, folder).split("/")
    return safe_name("__".join(safe_name(part) for part in parts))


def _real_name(tree: Tree, folder: tuple[str, ...]) -> str:
    """Return what a study is named after, as it was typed."""
    if folder:
        return "/".join(folder)
    root = tree.root.absolute()
    return stem_of(root.name) if root.is_file() else root.resolve().name


def _code(*parts: str) -> str:
    """Return eight digits, always the same for the same texts."""
    # Names of files need not be valid Unicode.
    plain = "\0".join(parts).encode(errors="surrogatepass")
    return hashlib.sha256(plain).hexdigest()[:8]


def _from_table(path: Path) -> list[_Named]:
    cases: dict[str, list[CaseRow]] = defaultdict(list)
    for row in read_cases(path, check_files=False):
        cases[row.case].append(row)
    return [_Named(_from_rows(rows), _code(case)) for case, rows in cases.items()]


def _from_rows(rows: list[CaseRow]) -> StudySource:
    source = StudySource(safe_name(rows[0].case), rows=tuple(rows))
    for path in dict.fromkeys(row.t2w for row in rows if row.t2w is not None):
        if not path.exists():
            message = f"{path.name}: named in the table, but not found."
            return replace(source, problem=UnreadableFileError(message))
        parts = _studies_of(path)
        if len(parts) != 1:
            message = f"{path.name}: holds {len(parts)} studies, one was expected."
            return replace(source, problem=UnreadableFileError(message))
        part = parts[0].source
        source = replace(
            source,
            nifti=(*source.nifti, *part.nifti),
            dicom=(*source.dicom, *part.dicom),
            notes=(*source.notes, *part.notes),
            flags=(*source.flags, *part.flags),
            problem=source.problem or part.problem,
        )
    if len(_patients_in(source.dicom)) > 1:
        return replace(source, flags=(*source.flags, _IDS_DIFFER))
    return source


def _with_unique_names(found: list[tuple[Path, _Named]]) -> tuple[StudySource, ...]:
    widened = _with_parents(found)
    shared = _names_of_several(item.source for item in widened)
    sources = tuple(
        _with_code(item) if item.source.name.casefold() in shared else item.source
        for item in widened
    )
    if twice := _names_of_several(sources):
        name = next(one.name for one in sources if one.name.casefold() in twice)
        message = f"Several studies would be named {name}."
        hint = "Rename their folders, or name each in the column case of a CSV table."
        raise UsageError(message, hint=hint)
    return sources


def _names_of_several(sources: Iterable[StudySource]) -> set[str]:
    # Many file systems do not tell upper from lower case.
    counts = Counter(source.name.casefold() for source in sources)
    return {name for name, count in counts.items() if count > 1}


def _with_code(item: _Named) -> StudySource:
    source = item.source
    name = f"{source.name}-{item.code}"
    return replace(source, name=name, notes=(*source.notes, CODE_NOTE))


def _with_parents(found: list[tuple[Path, _Named]]) -> list[_Named]:
    """Put parent folders in front of names that several inputs give."""
    givers: dict[str, set[Path]] = defaultdict(set)
    for given, item in found:
        givers[item.source.name.casefold()].add(given.resolve())
    widened = []
    for given, item in found:
        rivals = givers[item.source.name.casefold()]
        if len(rivals) == 1:
            widened.append(item)
            continue
        front = _parents(given.resolve(), _telling_depth(rivals))
        name = safe_name(f"{front}__{item.source.name}")
        note = "several inputs give this name; parent folders were put in front"
        source = replace(item.source, name=name, notes=(*item.source.notes, note))
        widened.append(replace(item, source=source))
    return widened


def _telling_depth(inputs: set[Path]) -> int:
    """Return how many parent folders tell the inputs apart; 1 if none do."""
    for depth in range(1, max(len(given.parts) for given in inputs)):
        if len({_parents(given, depth).casefold() for given in inputs}) == len(inputs):
            return depth
    return 1


def _parents(given: Path, depth: int) -> str:
    # At the top of the tree too something is in front: the plain name was another's.
    folders = given.parts[1:-1][-depth:] or ("root",)
    return "__".join(safe_name(folder) for folder in folders)
