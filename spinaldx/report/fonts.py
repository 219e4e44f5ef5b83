"""The fonts of pictures and reports, and what they can print.

DejaVu Sans ships inside matplotlib and has Latin, Greek and Cyrillic. Scripts that
it lacks, or that need shaping or run from right to left, are printed as code
points: literal, never wrong, and different for different names.
"""

import functools
import importlib.util
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from spinaldx.errors import OutputError

REGULAR = "DejaVuSans"
BOLD = "DejaVuSans-Bold"

_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
# Letters below this are Latin, Greek and Cyrillic, which need no shaping; above
# lie general punctuation, arrows and mathematics.
_SIMPLE_SCRIPTS_END = 0x530
_PUNCTUATION = range(0x1E00, 0x2C00)


def font_file(name: str) -> Path:
    """Return the file of a font.

    Found without importing matplotlib, which takes a quarter of a second.

    Raises:
        OutputError: If matplotlib is not installed.
    """
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        message = "The fonts of matplotlib are missing."
        raise OutputError(message, hint="Install matplotlib again.")
    return Path(spec.submodule_search_locations[0], f"mpl-data/fonts/ttf/{name}.ttf")


@functools.cache
def register_fonts() -> None:
    """Make both fonts known to the PDF writer, once a process."""
    for name in (REGULAR, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(font_file(name))))


@functools.cache
def _glyphs() -> Mapping[int, int]:
    register_fonts()
    glyphs: Mapping[int, int] = pdfmetrics.getFont(REGULAR).face.charToGlyph
    return glyphs


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of printable text, in the unit of the size."""
    register_fonts()
    font = BOLD if bold else REGULAR
    return float(pdfmetrics.stringWidth(text, font, size))


def printable(text: str) -> str:
    """Return text that the fonts show as it is meant.

    Characters they cannot show stand as ``[U+4E2D]``, neighbours in one bracket.
    """
    pieces: list[str] = []
    points: list[str] = []
    for character in text:
        if _is_printable(character):
            _close(pieces, points)
            pieces.append(character)
        else:
            points.append(f"U+{ord(character):04X}")
    _close(pieces, points)
    return "".join(pieces)


def _close(pieces: list[str], points: list[str]) -> None:
    if points:
        pieces.append(f"[{' '.join(points)}]")
        points.clear()


def _is_printable(character: str) -> bool:
    point = ord(character)
    if point >= _SIMPLE_SCRIPTS_END and point not in _PUNCTUATION:
        return False
    # Controls, format marks such as a direction override, separators of lines.
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        return False
    is_mirrored = unicodedata.bidirectional(character) in _RIGHT_TO_LEFT
    return not is_mirrored and point in _glyphs()


def shorten(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """Cut printable text in its middle until it fits a width.

    The beginning and the end stay, because names of series differ at the end.
    """
    if text_width(text, size, bold=bold) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        keep = (low + high + 1) // 2
        fits = text_width(_cut(text, keep), size, bold=bold) <= width
        low, high = (keep, high) if fits else (low, keep - 1)
    return _cut(text, low)


def _cut(text: str, keep: int) -> str:
    tail = keep // 3
    return f"{text[: keep - tail]}…{text[len(text) - tail :]}"


def wrap(text: str, width: float, size: float, *, bold: bool = False) -> list[str]:
    """Break printable text into lines that fit a width; long words are broken."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if text_width(longer, size, bold=bold) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        *full, line = _break(word, width, size, bold=bold)
        lines.extend(full)
    return [*lines, line] if line else lines


def _break(word: str, width: float, size: float, *, bold: bool) -> list[str]:
    pieces = [""]
    for character in word:
        if text_width(pieces[-1] + character, size, bold=bold) > width and pieces[-1]:
            pieces.append("")
        pieces[-1] += character
    return pieces
