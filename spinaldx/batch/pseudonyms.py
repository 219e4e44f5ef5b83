"""Names that say nothing about the patient, and the key back to the true ones."""

import csv
import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath

from spinaldx.errors import OutputError, SpinalDxError, UsageError
from spinaldx.files import safe_name, write_bytes
from spinaldx.records import QualityFlag, Volume
from spinaldx.report.table import studies_lock, study_folders
from spinaldx.study import StudySource
from spinaldx.study.nifti import stem_of

_HEADER = ["pseudonym", "study"]

# Shorter names are hidden as whole words alone: they are parts of ordinary ones.
_SHORTEST_NAME = 3


def key_file(out: Path) -> Path:
    """Where the key lies: beside the output folder, never in what is shared."""
    whole = out.resolve()
    return whole.with_name(f"{whole.name}-key.csv")


def assign(out: Path, names: Sequence[str]) -> dict[str, str]:
    """Give every study a pseudonym; the same one in every later run.

    Args:
        out: Folder of the results.
        names: Of all studies, those of other shards included.

    Returns:
        All pseudonyms by name, those of earlier runs included.

    Raises:
        OutputError: If the key file cannot be read.
    """
    known = _read(key_file(out))
    used = set(known.values())
    fresh = (f"study-{number:04d}" for number in itertools.count(1))
    free = (pseudonym for pseudonym in fresh if pseudonym not in used)
    missing = sorted(set(names) - set(known))
    return known | dict(zip(missing, free, strict=False))


def check_unmixed(out: Path, hidden: Mapping[str, str] | None) -> None:
    """Refuse to put true names beside pseudonyms: together they tell who is who.

    Args:
        out: Folder of the results.
        hidden: All pseudonyms by name; None when names are not to be hidden.

    Raises:
        UsageError: If what is there already is named the other way.
    """
    if hidden is None:
        if (key := key_file(out)).exists():
            message = f"The names of the results in {out} are hidden; {key} is the key."
            hint = "Add --pseudonyms, or choose another output folder."
            raise UsageError(message, hint=hint)
        return
    names = {folder.name for folder in study_folders(out)}
    if names - set(hidden.values()):
        message = f"{out} holds results under names that are not hidden."
        raise UsageError(message, hint="Choose another output folder.")
    if names and not (key := key_file(out)).exists():
        # The same pseudonyms would be given to other patients.
        message = f"{out} holds results under pseudonyms, and their key {key} is gone."
        hint = "Put the key back, or choose another output folder."
        raise UsageError(message, hint=hint)


def save(out: Path, known: Mapping[str, str]) -> None:
    """Add pseudonyms to the key file; its owner alone may read it.

    Args:
        out: Folder of the results.
        known: As `assign` gave them.

    Raises:
        UsageError: If another run has given one of them to another study meanwhile.
        OutputError: If it cannot be written.
    """
    with studies_lock(out):
        _write(out, _joined(out, known))


def _joined(out: Path, known: Mapping[str, str]) -> Mapping[str, str]:
    stored = _read(key_file(out))
    owners = {pseudonym: name for name, pseudonym in stored.items()}
    for name, pseudonym in known.items():
        is_same = stored.get(name, pseudonym) == pseudonym
        if not is_same or owners.get(pseudonym, name) != name:
            message = f"Another run into {out} has given pseudonyms meanwhile."
            raise UsageError(message, hint="Run the same command again.")
    return {**stored, **known}


def _write(out: Path, known: Mapping[str, str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows(sorted((pseudonym, study) for study, pseudonym in known.items()))
    write_bytes(key_file(out), text.getvalue().encode(), private=True)


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


def hide_in_error(
    error: Exception, source: StudySource, others: Iterable[str] = ()
) -> Exception:
    """Blank the names of a study's files and folders in an error's message.

    Args:
        error: Of other kinds than ours the message is never shown.
        source: The study.
        others: Further texts that may name the patient: masks, asked for series.
    """
    if not isinstance(error, SpinalDxError):
        return error
    words = _longest_first({*_words(source), *others})
    hidden = type(error)(_hide(error.message, words), hint=_hide(error.hint, words))
    return hidden.with_traceback(error.__traceback__)


def _words(source: StudySource) -> list[str]:
    """Return names of the study, its files and folders, the longest first."""
    words = {source.name, *source.name.split("__")}
    paths: set[PurePath] = {file.path for file in source.source_files}
    paths |= {row.t2w for row in source.rows if row.t2w is not None}
    members = {PurePosixPath(file.member) for file in source.source_files}
    for path in paths | members:
        # Series are named by the stem, and messages may cut that at its dots.
        stem = stem_of(path.name)
        words |= {str(path), str(path.parent), path.name, stem, *stem.split(".")}
    words |= {row.series for row in source.rows}
    words |= {safe_name(word) for word in words}
    return _longest_first(words)


def _longest_first(words: Iterable[str]) -> list[str]:
    return sorted({word for word in words if word}, key=lambda word: (-len(word), word))


def _hide(text: str, words: Sequence[str]) -> str:
    for word in words:
        if len(word) >= _SHORTEST_NAME:
            text = text.replace(word, "...")
        elif len(word) > 1 and not word.isdecimal():
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "...", text)
    return text
