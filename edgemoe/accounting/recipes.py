"""What the benchmark records of other ways to adapt a recognizer: their accuracies, bytes and training recipes.

``methods.json`` beside this file is taken from the benchmark's record and from its methods' own defaults by
``python3 -m edgemoe.benchmark.recipes``: a base install has neither.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded

__all__ = ["ACCURACIES", "COMPARED", "Recipes", "read_recipes", "summary"]

COMPARED = ("global", "full-finetune", "lora", "last-layer", "knn-per", "mixture", "mixture-session")
"""The methods that are set beside each other, by their names in the benchmark."""

ACCURACIES = ("user_accuracy", "generic_accuracy", "bystander_accuracy")
"""What is recorded of each, a mean over writers in [0, 1]."""

_LIMIT = 20 * 2**20  # bytes of a record


@dataclass(frozen=True)
class Recipes:
    """The benchmark's record, as far as a comparison of costs needs it.

    Attributes
    ----------
    benchmark : mapping
        ``expert``, ``fingerprint``, ``writers``, ``shots``, ``samples`` (that a user gave, the mean over writers),
        ``command``.
    accuracies : mapping of str to mapping
        `ACCURACIES` and ``bytes`` by method; a method that was not measured is left out.
    parameters : mapping of str to mapping
        How each method that learns by gradient descent does it: ``steps``; or ``epochs``, ``minibatch`` and ``rank``;
        of one that keeps samples, which ``features``.
    """

    benchmark: Mapping[str, Any]
    accuracies: Mapping[str, Mapping[str, float]]
    parameters: Mapping[str, Mapping[str, Any]]


def read_recipes(path: str | os.PathLike[str] | None = None) -> Recipes:
    """Read the shipped table; with `path`, the accuracies from that record of ``edgemoe benchmark --out``.

    Raises
    ------
    EdgemoeError
        If the file cannot be read or lacks a field.
    """
    shipped = _read(Path(__file__).with_name("methods.json"))
    found = shipped if path is None else summary(_read(path), os.fspath(path))
    return Recipes(found["benchmark"], found["accuracies"], shipped["parameters"])


def summary(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Take ``benchmark`` and ``accuracies`` from a benchmark's record, which `place` names in errors.

    A user gave as many samples as kNN-Per keeps labels, one byte each.

    Raises
    ------
    EdgemoeError
        If a field is missing or of another kind.
    """

    def field(entry: Any, name: str, kind: Any, where: str) -> Any:
        value = entry.get(name) if isinstance(entry, Mapping) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise EdgemoeError(f"{place}: {where}{name}: is missing or of another kind")
        return value

    methods = field(record, "methods", Mapping, "")
    expert = field(record, "global_expert", Mapping, "")
    accuracies: dict[str, dict[str, float]] = {}
    for name in COMPARED:
        if name not in methods:
            continue
        where = f"methods.{name}."
        accuracies[name] = {key: field(methods[name], key, int | float, where) for key in (*ACCURACIES, "bytes")}
        if not all(0 <= accuracies[name][key] <= 1 for key in ACCURACIES):
            raise EdgemoeError(f"{place}: {where}user_accuracy: accuracies are shares between 0 and 1")
        for key in ACCURACIES:  # a session reads fewer inputs of others: what it changes of them is what counts
            alone = methods[name].get(f"{key}_global")
            if isinstance(alone, int | float) and "global" in accuracies:
                accuracies[name][key] = round(accuracies["global"][key] + accuracies[name][key] - alone, 5)
    if "knn-per" not in methods:
        raise EdgemoeError(f"{place}: methods.knn-per: is missing, which tells how many samples a user gave")
    labels = [field(methods["knn-per"], key, int | float, "methods.knn-per.") for key in ("bytes", "macs")]
    samples = labels[0] - labels[1]
    if not (math.isfinite(samples) and samples >= 1):
        raise EdgemoeError(f"{place}: methods.knn-per: {samples:,} labels are kept, and not at least one")
    benchmark = {
        "expert": field(expert, "name", str, "global_expert."),
        "fingerprint": field(expert, "fingerprint", str, "global_expert."),
        "writers": field(record, "writers", int, ""),
        "shots": field(record, "shots", int, ""),
        "samples": round(samples),
        "command": field(record, "command", str, ""),
    }
    return {"benchmark": benchmark, "accuracies": accuracies}


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        content = json.loads(read_bounded(path, _LIMIT))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise EdgemoeError(f"{os.fspath(path)}: is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise EdgemoeError(f"{os.fspath(path)}: is no JSON object")
    return content
