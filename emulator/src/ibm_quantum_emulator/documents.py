"""Reads TOML and JSON documents so that what is wrong in them is told with file, line and field."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Place = tuple[str | int, ...]
"""Keys and indices from the top of a document to a value."""

Model = TypeVar("Model", bound=BaseModel)
Fields = Callable[[Place, Any], Sequence[str]]
"""Tells the field names allowed in a table, from its place and its value."""

_BLANK = re.compile(r"[ \t\n\r]*")
_JSON = json.JSONDecoder()


class DocumentError(ValueError):
    """A document that cannot be used.

    Args:
        problems: One text for each thing that is wrong.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def load(path: Path, model: type[Model], fields: Fields | None = None) -> Model:
    """Read a file, TOML unless its name ends with ``.json``, as a model.

    Args:
        path: The file.
        model: What it must be.
        fields: Field names to name when an unknown one was found.

    Raises:
        DocumentError: It cannot be read, or is wrong; each problem begins with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError([f"{path}: cannot be read: {error}"]) from error
    is_json = path.suffix.lower() == ".json"
    try:
        document = json.loads(text) if is_json else tomllib.loads(text)
    except json.JSONDecodeError as error:
        raise DocumentError([f"{path}, line {error.lineno}: not JSON: {error.msg}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise DocumentError([f"{path}, line {_toml_error(error, text)}"]) from error
    try:
        return model.model_validate(document)
    except ValidationError as error:
        line_of = json_line if is_json else toml_line
        raise DocumentError(
            [
                f"{path}, line {line_of(text, place)}: {told}"
                for place, told in problems(error, document, fields)
            ]
        ) from error


def validated(document: Any, model: type[Model], fields: Fields | None = None) -> Model:
    """Return a parsed document as a model.

    Raises:
        DocumentError: It is wrong; each problem begins with the field.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise DocumentError([told for _, told in problems(error, document, fields)]) from error


def problems(
    error: ValidationError, document: Any, fields: Fields | None = None
) -> list[tuple[Place, str]]:
    """Return ``(place, text)`` of everything pydantic found wrong."""
    found = []
    for each in error.errors():
        place = _real(each["loc"], document, is_missing=each["type"] == "missing")
        told, value = each["msg"].removeprefix("Value error, "), each["input"]
        if each["type"] == "extra_forbidden" and fields is not None:
            told = (
                f"unknown field; allowed: {', '.join(fields(place[:-1], at(document, place[:-1])))}"
            )
        elif each["type"] == "missing":
            told = "this field is missing"
        elif each["type"] in ("union_tag_invalid", "union_tag_not_found"):
            place = (*place, str(each["ctx"]["discriminator"]).strip("'"))
            told = told if each["type"] == "union_tag_invalid" else "this field is missing"
        elif not isinstance(value, Mapping | list):
            told += f"; it is {value!r}"
        found.append((place, f"{_spelled(place)}: {told}"))
    return found


def toml_line(text: str, place: Place) -> int:
    """Return the line, from 1, where the statement that sets a place begins.

    The standard parser keeps no positions. What it does say is whether the first n lines are a
    document, and what is in it: the shortest beginning that holds the place ends with it.
    """
    lines = text.split("\n")
    for wanted in (place[:length] for length in range(len(place), 0, -1)):
        start = 0
        for number in range(1, len(lines) + 1):
            try:
                document = tomllib.loads("\n".join(lines[:number]))
            except tomllib.TOMLDecodeError:
                continue
            if at(document, wanted) is not None:
                return _first_said(lines, start)
            start = number
    return 1


def json_line(text: str, place: Place) -> int:
    """Return the line, from 1, of the value at a place, or of the nearest thing around it."""
    position = _after_blank(text, 0)
    for part in place:
        found = _json_member(text, position, part)
        if found is None:
            break
        position = found
    return text.count("\n", 0, position) + 1


def _json_member(text: str, position: int, part: str | int) -> int | None:
    """Return where the member of the object or array at a position begins."""
    opening, index = text[position], 0
    position = _after_blank(text, position + 1)
    while opening in "{[" and text[position] not in "}]":
        key: str | int = index
        if opening == "{":
            key, position = _JSON.raw_decode(text, position)
            position = _after_blank(text, _after_blank(text, position) + 1)
        if key == part:
            return position
        _, position = _JSON.raw_decode(text, position)
        position = _after_blank(text, position)
        if text[position] == ",":
            position = _after_blank(text, position + 1)
        index += 1
    return None


def _after_blank(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return position if match is None else match.end()


def _first_said(lines: Sequence[str], start: int) -> int:
    for number in range(start, len(lines)):
        if lines[number].strip() and not lines[number].lstrip().startswith("#"):
            return number + 1
    return start + 1


def _toml_error(error: tomllib.TOMLDecodeError, text: str) -> str:
    told = str(error)
    at = re.search(r"\(at line (\d+), column \d+\)", told)
    # Its other form is "(at end of document)".
    line = int(at[1]) if at else text.count("\n") + 1
    return f"{line}: not TOML: {told}"


def at(document: Any, place: Place) -> Any:
    """Return what is at a place of a document, None when nothing is."""
    for part in place:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _real(loc: Place, document: Any, is_missing: bool) -> Place:
    """Return a pydantic location without the names of union members it puts in between."""
    place: list[str | int] = []
    for position, part in enumerate(loc):
        if isinstance(document, Mapping):
            if part in document:
                document = document[part]
            elif not (is_missing and position == len(loc) - 1):
                continue
        elif isinstance(document, list) and isinstance(part, int) and part < len(document):
            document = document[part]
        else:
            continue
        place.append(part)
    return tuple(place)


def _spelled(place: Place) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.lstrip(".") or "the document"
