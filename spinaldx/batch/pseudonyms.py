"""Names that say nothing about the patient, and the key back to the true ones."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from spinaldx.errors import OutputError, SpinalDxError
from spinaldx.files import write_bytes
from spinaldx.records import QualityFlag, Volume
from spinaldx.study import StudySource

_HEADER = ["pseudonym", "study"]

# Shorter parts of names are words of ordinary sentences.
_SHORTEST_NAME = 3


def key_file(out: Path) -> Path:
    """Where the key lies: beside the output folder, never in what is shared."""
    whole = out.resolve()
    return whole.with_name(f"{whole.name}-key.csv")


def assign(out: Path, names: Sequence[str]) -> dict[str, str]:
    """Give every study a pseudonym; the same one in every later run.

    The key file is made or extended; its owner alone may read it.

    Args:
        out: Folder of the results.
        names: Of all studies, those of other shards included.

    Returns:
        Pseudonyms by name.

    Raises:
        OutputError: If the key file cannot be read or written.
    """
    path = key_file(out)
    known = _read(path)
    missing = sorted(set(names) - set(known))
    if missing:
        used = set(known.values())
        fresh = (f"study-{number:04d}" for number in range(1, 1 << 30))
        free = (pseudonym for pseudonym in fresh if pseudonym not in used)
        known |= dict(zip(missing, free, strict=False))
        _write(path, known)
    return {name: known[name] for name in names}


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            header, *rows = list(csv.reader(stream)) or [[]]
    except (OSError, UnicodeError, csv.Error) as error:
        raise _unusable(path) from error
    if header != _HEADER or any(len(row) != 2 for row in rows):
        raise _unusable(path)
    return {study: pseudonym for pseudonym, study in rows}


def _unusable(path: Path) -> OutputError:
    message = f"The key file {path} cannot be read."
    return OutputError(message, hint="Restore it, or choose another output folder.")


def _write(path: Path, known: dict[str, str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows(sorted((pseudonym, study) for study, pseudonym in known.items()))
    write_bytes(path, text.getvalue().encode(), private=True)


def hide_names(volumes: Iterable[Volume], source: StudySource) -> tuple[Volume, ...]:
    """Rename series to t2w-01 and so on, from head to foot."""
    words = _words(source)
    return tuple(
        replace(
            volume,
            name=f"t2w-{number:02d}",
            source_name="",
            flags=tuple(_hide_in_flag(flag, words) for flag in volume.flags),
        )
        for number, volume in enumerate(volumes, start=1)
    )


def _hide_in_flag(flag: QualityFlag, words: Sequence[str]) -> QualityFlag:
    return replace(flag, message=_hide(flag.message, words))


def hide_in_error(error: Exception, source: StudySource) -> Exception:
    """Blank the names of a study's files and folders in an error's message."""
    if not isinstance(error, SpinalDxError):
        return error
    words = _words(source)
    hidden = type(error)(_hide(error.message, words), hint=_hide(error.hint, words))
    return hidden.with_traceback(error.__traceback__)


def _words(source: StudySource) -> list[str]:
    """Return names of the study, its files and folders, the longest first."""
    paths = [file.path for file in source.source_files]
    paths += [row.t2w for row in source.rows if row.t2w is not None]
    words = {source.name, *source.name.split("__")}
    words |= {file.member for file in source.source_files}
    for path in paths:
        words |= {str(path), path.name, path.name.split(".")[0], *path.parts}
    return sorted((w for w in words if len(w) >= _SHORTEST_NAME), key=lambda w: -len(w))


def _hide(text: str, words: Sequence[str]) -> str:
    for word in words:
        text = text.replace(word, "...")
    return text
