"""The patient's tags for the head of a report, only where a user asks for them.

Off by default, and the only way for a tag to get on paper; nothing here is ever
written to JSON, CSV, file names or logs.
"""

from collections.abc import Sequence

from spinaldx.errors import UnreadableFileError
from spinaldx.study.archive import ImageFile, open_file
from spinaldx.study.limits import HEADER_SECONDS, WatchedStream

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
    import pydicom  # noqa: PLC0415 - slow, and needed for this alone

    from spinaldx.study.dicom_index import PARSE_ERRORS, quiet  # noqa: PLC0415

    file = files[0]
    try:
        with quiet(), open_file(file) as stream:
            watched = WatchedStream(stream, file.name, HEADER_SECONDS)
            dataset = pydicom.dcmread(
                watched,
                stop_before_pixels=True,
                specific_tags=[keyword for _, keyword in _TAGS],
                force=True,
            )
            texts = [(label, str(dataset.get(word) or "")) for label, word in _TAGS]
    except PARSE_ERRORS as error:
        message = f"{file.name}: its patient tags cannot be read."
        raise UnreadableFileError(message) from error
    return tuple((label, text) for label, text in texts if text.strip())
