"""Every error that spinaldx raises on purpose, with its exit code.

SpinalDxError
├── UsageError                      2   an option or argument makes no sense
├── StudyError                      3   the input cannot be used
│   ├── UnreadableFileError
│   ├── NoUsableSeriesError
│   ├── AmbiguousSeriesError
│   └── UnsuitableImageError            read well, but not a sagittal T2w spine
├── GeometryError (ValueError)      3   arrays and affines do not fit together
├── TableError                      3   a CSV table has a fault, by row and column
├── WeightsError                    4
│   ├── ManifestError
│   ├── WeightsNotFoundError
│   ├── ChecksumError
│   ├── IncompatibleWeightsError
│   └── HubError                        the model hub did not give what was asked
├── InferenceError                  5
│   ├── DeviceError                     the device asked for is not there
│   └── DeviceMemoryError
├── SomeStudiesFailedError          6
├── AllStudiesFailedError           7
├── OutputError                     8   results cannot be written
└── NotPromotedError                9   training ended, the bundle is not better
"""


class SpinalDxError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: One line that names the thing that is wrong, never patient data.
        hint: One sentence that says what to do next; empty when nothing helps.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # The hint would be lost when the error crosses a process boundary.
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[SpinalDxError], message: str, hint: str) -> SpinalDxError:
    return kind(message, hint=hint)


class UsageError(SpinalDxError):
    """An option or an argument makes no sense."""

    exit_code = 2


class StudyError(SpinalDxError):
    """The input cannot be used."""

    exit_code = 3


class UnreadableFileError(StudyError):
    """A file is damaged, hostile, or of a kind that is not read."""


class NoUsableSeriesError(StudyError):
    """No series of a study is a sagittal T2w spine."""


class AmbiguousSeriesError(StudyError):
    """Several series fit equally well; the message lists them."""


class UnsuitableImageError(StudyError):
    """An image was read well but must not be given to the networks."""


class GeometryError(SpinalDxError, ValueError):
    """Arrays and affines do not fit together."""

    exit_code = 3


class TableError(SpinalDxError):
    """A CSV table has a fault; the message names row and column."""

    exit_code = 3


class WeightsError(SpinalDxError):
    """Weights are missing, damaged or cannot be fetched."""

    exit_code = 4


class ManifestError(WeightsError):
    """A manifest or bundle description breaks its schema."""


class WeightsNotFoundError(WeightsError):
    """No bundle of that name or at that place."""


class ChecksumError(WeightsError):
    """A weight file's bytes are not those that were published."""


class IncompatibleWeightsError(WeightsError):
    """A bundle does not fit this program or its own description."""


class HubError(WeightsError):
    """The model hub did not give what was asked of it."""


class InferenceError(SpinalDxError):
    """A network could not be run."""

    exit_code = 5


class DeviceError(InferenceError):
    """The device asked for is not on this machine."""


class DeviceMemoryError(InferenceError):
    """The device ran out of memory."""


class SomeStudiesFailedError(SpinalDxError):
    """Some of several studies failed."""

    exit_code = 6


class AllStudiesFailedError(SpinalDxError):
    """All of several studies failed."""

    exit_code = 7


class OutputError(SpinalDxError):
    """Results cannot be written."""

    exit_code = 8


class NotPromotedError(SpinalDxError):
    """Training ended, but the new bundle is not better than the old one."""

    exit_code = 9
