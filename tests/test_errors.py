import pickle

import pytest

from spinaldx import errors
from spinaldx.errors import SpinalDxError

CODES = {
    "UsageError": 2,
    "StudyError": 3,
    "UnreadableFileError": 3,
    "NoUsableSeriesError": 3,
    "AmbiguousSeriesError": 3,
    "UnsuitableImageError": 3,
    "GeometryError": 3,
    "TableError": 3,
    "WeightsError": 4,
    "ManifestError": 4,
    "WeightsNotFoundError": 4,
    "ChecksumError": 4,
    "IncompatibleWeightsError": 4,
    "HubError": 4,
    "InferenceError": 5,
    "DeviceError": 5,
    "DeviceMemoryError": 5,
    "SomeStudiesFailedError": 6,
    "AllStudiesFailedError": 7,
    "OutputError": 8,
    "NotPromotedError": 9,
}


def kinds(base=SpinalDxError):
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_error_has_the_design_s_exit_code():
    assert {kind.__name__: kind.exit_code for kind in kinds()} == CODES


def test_the_tree_in_the_docstring_names_every_error():
    named = {name for name in CODES if name in errors.__doc__}

    assert named == set(CODES)


def test_an_unnamed_error_is_a_bug():
    assert SpinalDxError.exit_code == 1


def test_a_geometry_error_is_a_value_error():
    assert issubclass(errors.GeometryError, ValueError)


@pytest.mark.parametrize(
    "kind", sorted(kinds(), key=str), ids=lambda kind: kind.__name__
)
def test_message_and_hint_cross_process_boundaries(kind):
    error = kind("It broke.", hint="Mend it.")

    sent = pickle.loads(pickle.dumps(error))

    assert type(sent) is kind
    assert (str(sent), sent.message, sent.hint) == (
        "It broke.",
        "It broke.",
        "Mend it.",
    )


def test_a_hint_is_optional():
    assert errors.StudyError("It broke.").hint == ""
