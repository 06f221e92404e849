"""Every constant behind the figures, with its source, as the data files beside this one state it."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgemoe.files import read_bounded

__all__ = ["cited_constants"]

_LIMIT = 100_000  # bytes of a file


def cited_constants(more: Iterable[str | os.PathLike[str]] = ()) -> list[dict[str, Any]]:
    """List the constants of the shipped files, and of files that a user gave, which have been read before.

    Returns
    -------
    list of dict
        ``file`` (its name), ``name``, ``value`` (None: not known), ``unit``, ``source``; one for each object that has
        a value and a unit.
    """
    found: list[dict[str, Any]] = []

    def walk(file: str, name: str, entry: Any) -> None:
        if isinstance(entry, dict) and {"value", "unit"} <= entry.keys():
            found.append({"file": file, "name": name} | {key: entry.get(key) for key in ("value", "unit", "source")})
        elif isinstance(entry, dict | list):
            for key, inner in entry.items() if isinstance(entry, dict) else enumerate(entry, 1):
                walk(file, f"{name} {key}".removeprefix("constants").strip().replace("_", " "), inner)

    shipped = sorted(Path(__file__).parent.glob("*.json"))
    for path in [*shipped, *map(Path, more)]:
        walk(path.stem, "", json.loads(read_bounded(path, _LIMIT)))
    return found
