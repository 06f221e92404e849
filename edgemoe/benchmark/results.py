"""From rows to results: means over writers, with intervals."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.tasks import SOURCES

__all__ = ["summarize"]

RESAMPLES = 2000  # of the bootstrap over writers (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13)
HARM = 0.005  # accuracy; a writer's change within it is neither help nor harm
DIGITS = 5  # of accuracies in results.json

Array = npt.NDArray[np.float64]
KEYS = (*SOURCES, *(f"{source}_global" for source in SOURCES))


def summarize(
    rows: Sequence[Mapping[str, Any]], costs: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sum up the rows of a study.

    A writer's figures are the means of their draws, and a method's the means of its writers. The global expert's, with
    which a method is compared, are on the same inputs.

    Parameters
    ----------
    rows : sequence of dict
        As `measure_task` makes them, all of the same methods.
    costs : dict
        For each method, if known, what `measure_cost` found.

    Returns
    -------
    methods : dict
        For each method, accuracies in [0, 1]: ``user_accuracy``, ``generic_accuracy``, ``bystander_accuracy``, each
        with ``_global`` for the global expert's; ``errors_removed`` (share of the global expert's errors on the
        user's characters), ``generic_lost``, ``bystander_lost``; ``ci95`` of all these (bootstrap over the writers);
        ``helped`` and ``harmed`` (shares of writers whose accuracy changed by more than `HARM`); ``worst_change``
        of any writer; ``worst_tenth``: the mean ``user_accuracy`` of the tenth of the writers whom the global expert
        reads worst, and the mean ``user_change`` of the tenth with the least; ``declined`` (share of fits, None
        without an acceptance test); ``bytes``, ``macs`` (means); ``train_seconds``, ``train_peak_bytes``;
        ``stream`` (for each source its accuracies) and ``per_writer``.
    stream : dict
        The global expert's figures on the streams.
    """
    methods = {name: _method(rows, name, costs.get(name, {})) for name in rows[0]["methods"]}
    return methods, _stream([(row["writer"], row["stream"]) for row in rows])


def _method(rows: Sequence[Mapping[str, Any]], name: str, cost: Mapping[str, Any]) -> dict[str, Any]:
    found = [row["methods"][name] for row in rows]
    writers = [row["writer"] for row in rows]
    people = sorted(set(writers))
    table = {key: _by_writer(writers, [row[key] for row in found]) for key in KEYS}
    accepted = None if found[0]["accepted"] is None else _by_writer(writers, [row["accepted"] for row in found])
    picks = np.random.default_rng(0).integers(0, len(people), (RESAMPLES, len(people)))
    means = _figures({key: np.array([np.nanmean(column)]) for key, column in table.items()})
    resampled = _figures({key: np.nanmean(column[picks], axis=1) for key, column in table.items()})
    change = table["user"] - table["user_global"]
    tenth = -(-len(people) // 10)
    seconds = float(np.median([row["seconds"] for row in found]))
    return {
        **{key: round(float(value[0]), DIGITS) for key, value in means.items()},
        "ci95": {key: np.percentile(draws, [2.5, 97.5]).round(DIGITS).tolist() for key, draws in resampled.items()},
        "helped": round(float((change > HARM).mean()), DIGITS),
        "harmed": round(float((change < -HARM).mean()), DIGITS),
        "worst_change": round(float(change.min()), DIGITS),
        "worst_tenth": {
            "user_accuracy": round(float(table["user"][np.argsort(table["user_global"])[:tenth]].mean()), DIGITS),
            "user_change": round(float(np.sort(change)[:tenth].mean()), DIGITS),
        },
        "declined": None if accepted is None else round(float(1 - accepted.mean()), DIGITS),
        "bytes": round(float(np.mean([row["bytes"] for row in found]))),
        "macs": round(float(np.mean([row["macs"] for row in found]))),
        "train_seconds": cost.get("train_seconds", seconds),
        "train_peak_bytes": cost.get("train_peak_bytes"),
        "stream": _stream([(row["writer"], row["methods"][name]["stream"]) for row in rows]),
        "per_writer": [
            {
                "writer": person,
                **{key: _rounded(column[index]) for key, column in table.items()},
                **({} if accepted is None else {"accepted": round(float(accepted[index]), DIGITS)}),
            }
            for index, person in enumerate(people)
        ],
    }


def _figures(mean: Mapping[str, Array]) -> dict[str, Array]:
    """Return the figures that follow from mean accuracies, each of shape (resamples,)."""
    wrong = 1 - mean["user_global"]
    gain = mean["user"] - mean["user_global"]
    removed = np.divide(gain, wrong, out=np.zeros_like(gain), where=wrong > 0)
    return {
        **{f"{source}_accuracy": mean[source] for source in SOURCES},
        **{f"{source}_accuracy_global": mean[f"{source}_global"] for source in SOURCES},
        "errors_removed": removed,
        "generic_lost": mean["generic_global"] - mean["generic"],
        "bystander_lost": mean["bystander_global"] - mean["bystander"],
    }


def _by_writer(writers: Sequence[str], values: Iterable[float | None]) -> Array:
    """Return the mean of each writer's values, in the writers' sorted order.

    None counts for nothing; a writer of whom there is nothing else has NaN: a short stream may lack a source.
    """
    groups: dict[str, list[float]] = {writer: [] for writer in sorted(set(writers))}
    for writer, value in zip(writers, values, strict=True):
        if value is not None:
            groups[writer].append(float(value))
    return np.array([np.mean(group) if group else np.nan for group in groups.values()])


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), DIGITS)


def _stream(figures: Sequence[tuple[str, Mapping[str, Mapping[str, float | None]]]]) -> dict[str, Any]:
    """Return the means over the writers of what `stream_figures` found."""
    writers = [writer for writer, _ in figures]
    means: dict[str, dict[str, float | None]] = {}
    for source in SOURCES:
        means[source] = {}
        for key in figures[0][1][source]:
            values = _by_writer(writers, [found[source][key] for _, found in figures])
            means[source][key] = None if np.isnan(values).all() else _rounded(float(np.nanmean(values)))
    return means
