"""Strict reading of JSON files: every fault is named by its JSON path."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from spinaldx.errors import IncompatibleWeightsError, ManifestError

# Descriptions are a few kilobytes, and those of bundles trained on tens of thousands of
# images (`training_images`) a few megabytes; more than this is not one of ours.
_MOST_BYTES = 8 << 20

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_VERSION = re.compile(r"\d{1,6}(\.\d{1,6}){1,3}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_Kind = TypeVar("_Kind")


def parse_version(text: str) -> tuple[int, ...]:
    """Turn ``1.2.0`` into numbers that compare; what follows them is ignored.

    Raises:
        ValueError: If the text does not begin with two numbers.
    """
    found = _VERSION.match(text)
    if found is None:
        message = f"Not a version: {text!r}"
        raise ValueError(message)
    return tuple(int(part) for part in found.group().split("."))


class JsonFields:
    """One JSON object, read key by key; what is left over is an error.

    Args:
        value: The object as `json` gave it.
        file: Where it stands, for messages.
        path: JSON path of the object, ``$`` for the whole file.

    Raises:
        ManifestError: If the value is not an object.
    """

    def __init__(self, value: object, file: Path, path: str = "$") -> None:
        self.file = file
        self.path = path
        if not isinstance(value, dict):
            self.fail("", f"expected an object, got {_describe(value)}")
        self._left: dict[str, Any] = dict(value)

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise for one key; the empty key is the object itself.

        Raises:
            ManifestError: Always.
        """
        path = f"{self.path}.{key}" if key else self.path
        message = f"{self.file}: {path}: {problem}"
        raise ManifestError(message)

    def _take(self, key: str, kind: type[_Kind], name: str) -> _Kind:
        if key not in self._left:
            self.fail(key, "missing")
        value = self._left.pop(key)
        # True is an int to Python, never to a person who writes JSON.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(key, f"expected {name}, got {_describe(value)}")
        return value

    def text(self, key: str) -> str:
        """Take a string, without control characters and not only blanks."""
        value = self._take(key, str, "a text")
        if not value.strip() or any(ord(sign) < 32 and sign != "\n" for sign in value):
            self.fail(key, "expected a text that is not empty")
        return value

    def optional_text(self, key: str) -> str:
        """Take a string that may be absent or empty."""
        if self._left.get(key, "") == "":
            self._left.pop(key, None)
            return ""
        return self.text(key)

    def name(self, key: str) -> str:
        """Take a string that is safe as a file or bundle name."""
        value = self.text(key)
        if not is_safe_name(value):
            self.fail(key, f"{value!r} is not a plain file name")
        return value

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        """Take one of the given strings."""
        value = self.text(key)
        if value not in allowed:
            choices = ", ".join(allowed)
            self.fail(key, f"expected one of {choices}, got {value!r}")
        return value

    def sha256(self, key: str) -> str:
        """Take 64 lower-case hex digits."""
        value = self.text(key)
        if _SHA256.fullmatch(value) is None:
            self.fail(key, "expected 64 hex digits")
        return value

    def version(self, key: str) -> str:
        """Take a version such as ``1.2.0``."""
        value = self.text(key)
        if _VERSION.fullmatch(value) is None:
            self.fail(key, f"expected a version such as 1.2.0, got {value!r}")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """Take a whole number in a range, both ends included."""
        value = self._take(key, int, "a whole number")
        if not low <= value <= high:
            self.fail(key, f"expected {low} to {high}, got {value}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        """Take a number in a range, both ends included."""
        if isinstance(self._left.get(key), float):
            value = self._take(key, float, "a number")
        else:
            value = float(self._take(key, int, "a number"))
        if not (math.isfinite(value) and low <= value <= high):
            self.fail(key, f"expected {low:g} to {high:g}, got {value:g}")
        return value

    def optional_number(self, key: str, low: float, high: float) -> float:
        """Take a number in a range that may be absent and is 0 then."""
        return self.number(key, low, high) if key in self._left else 0.0

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of strings, possibly empty."""
        values = self._take(key, list, "a list of texts")
        for place, value in enumerate(values):
            if not isinstance(value, str) or not value:
                self.fail(f"{key}[{place}]", "expected a text")
        return tuple(values)

    def integers(self, key: str, length: int) -> tuple[int, ...]:
        """Take a list of so many positive whole numbers."""
        values = self._take(key, list, "a list of whole numbers")
        if len(values) != length:
            self.fail(key, f"expected {length} numbers, got {len(values)}")
        for place, value in enumerate(values):
            if type(value) is not int or not 1 <= value <= 100_000:
                self.fail(f"{key}[{place}]", "expected a whole number from 1")
        return tuple(values)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """Take an object as it is."""
        return self._take(key, dict, "an object")

    def fields(self, key: str) -> "JsonFields":
        """Take an object to be read in turn."""
        return JsonFields(
            self._take(key, dict, "an object"), self.file, f"{self.path}.{key}"
        )

    def each(self) -> Iterator[tuple[str, "JsonFields"]]:
        """Take all that is left, an object a key."""
        for key in tuple(self._left):
            yield key, self.fields(key)

    def finish(self) -> None:
        """Refuse what nobody took.

        Raises:
            ManifestError: If a key is left.
        """
        for key in self._left:
            self.fail(key, "unknown key")


def is_safe_name(text: str) -> bool:
    """Return whether a text can be a file name without leaving its folder."""
    return _SAFE_NAME.fullmatch(text) is not None


def check_schema(fields: JsonFields, supported: int) -> None:
    """Take ``schema_version`` and refuse one newer than the program's.

    Raises:
        IncompatibleWeightsError: If it is newer.
    """
    version = fields.integer("schema_version", 1, 1_000_000)
    if version > supported:
        message = (
            f"{fields.file} has schema version {version}; "
            f"this program reads up to {supported}."
        )
        raise IncompatibleWeightsError(message, hint="Update spinaldx.")


def parse_json(content: bytes, file: Path) -> JsonFields:
    """Parse one JSON file whose top is an object.

    Args:
        content: The file's bytes.
        file: Its path, for messages.

    Raises:
        ManifestError: If it is not UTF-8 JSON, is oversized, has NaN or a key
            twice, or its top is not an object.
    """
    if len(content) > _MOST_BYTES:
        message = f"{file}: $: larger than {_MOST_BYTES} bytes"
        raise ManifestError(message)
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_refuse_duplicates,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        message = f"{file}: $: not valid JSON: {error}"
        raise ManifestError(message) from error
    return JsonFields(value, file)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        message = "a key stands twice in one object"
        raise ValueError(message)
    return value


def _refuse_constant(constant: str) -> float:
    message = f"{constant} is not JSON"
    raise ValueError(message)


def _describe(value: object) -> str:
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number")
