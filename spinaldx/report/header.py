"""The patient's tags for the head of a report, only where a user asks for them.

Off by default, and the only way for a tag to get on paper; nothing here is ever
written to JSON, CSV, file names or logs.
"""

from collections.abc import Sequence

from spinaldx.study import ImageFile

PatientHeader = tuple[tuple[str, str], ...]

_TAGS = (
    ("name", "PatientName"),
    ("ID", "PatientID"),
    ("born", "PatientBirthDate"),
    ("sex", "PatientSex"),
    ("study date", "StudyDate"),
    ("accession no.", "AccessionNumber"),
    ("institution", "InstitutionName"),
)


def read_patient_header(files: Sequence[ImageFile]) -> PatientHeader:
    """Read label and literal text of the patient's tags.

    Args:
        files: DICOM files of one study; the first is read.

    Returns:
        Tags that are there and not empty; nothing without a file.

    Raises:
        UnreadableFileError: If the file cannot be read.
    """
    if not files:
        return ()
    from spinaldx.study.dicom_index import read_dataset  # noqa: PLC0415 - pydicom

    dataset = read_dataset(files[0], pixels=False)
    texts = ((label, str(dataset.get(keyword) or "")) for label, keyword in _TAGS)
    return tuple((label, text) for label, text in texts if text.strip())
