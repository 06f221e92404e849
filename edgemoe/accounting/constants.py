"""Reads constants from JSON: each has a value, a unit and a source, and what is wrong with one is named.

``{"value": 1.8, "unit": "V", "source": "..."}``; where the value is null, the constant is not known.
"""

import json
import math
import os
from typing import Any

from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded

__all__ = ["constant", "of_type", "positive", "read_object", "unless_unknown"]

_LIMIT = 100_000  # bytes of a file


def read_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file that holds one JSON object."""
    place = os.fspath(path)
    try:
        content = json.loads(read_bounded(path, _LIMIT))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise EdgemoeError(f"{place}: is not JSON ({error})") from error
    found: dict[str, Any] = of_type(content, dict, place, "the file")
    return found


def of_type(value: Any, kind: type, place: str, field: str) -> Any:
    """Return a value if it is of a type, and else name it."""
    if not isinstance(value, kind):
        raise EdgemoeError(f"{place}: {field}: is missing or no {kind.__name__}")
    return value


def positive(entry: dict[str, Any], key: str, name: str, place: str) -> float:
    """Return a number above 0."""
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise EdgemoeError(f"{place}: {name}.{key}: is missing or no positive number")
    return float(value)


def constant(entries: dict[str, Any], name: str, unit: str, place: str) -> float:
    """Return a constant's value, which has to be above 0 and to have this unit and a source."""
    entry = of_type(entries.get(name), dict, place, name)
    if entry.get("unit") != unit:
        raise EdgemoeError(f"{place}: {name}.unit: must be {unit}")
    of_type(entry.get("source"), str, place, f"{name}.source")
    return positive(entry, "value", name, place)


def unless_unknown(entries: dict[str, Any], name: str, unit: str, place: str) -> float | None:
    """Return a constant's value; None where it is left out or its value is null: not known, which is not 0."""
    entry = entries.get(name)
    if entry is None or (isinstance(entry, dict) and "value" in entry and entry["value"] is None):
        return None
    return constant(entries, name, unit, place)
