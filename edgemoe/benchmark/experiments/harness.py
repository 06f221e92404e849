"""Runs experiments on the same writers and samples, and compares each with the product's own parts."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.experiments.figures import Judged, area_under_curve, interval, judge, threshold_within
from edgemoe.benchmark.experiments.parts import HEADER, Mixture
from edgemoe.benchmark.experiments.registry import EXPERIMENTS, Experiment
from edgemoe.benchmark.experiments.samples import Bench, Sample
from edgemoe.device.global_expert import softmax

__all__ = ["BUDGET", "compare", "measure"]

BUDGET = 0.001  # of generic accuracy: what variants may lose to be compared on one axis

Row = dict[str, Any]
Rows = npt.NDArray[np.float64]


def tried_on(mixture: Mixture, sample: Sample, blends: str) -> tuple[Judged, float]:
    """Return the mixture's answers at every weight, and the local expert's accuracy alone."""
    logits, correction = sample.taps.logits, mixture.local.correct(sample)
    second = logits + correction
    scale = softmax if blends == "probabilities" else np.asarray
    alone = float((second.argmax(axis=1) == sample.labels).mean())
    return judge(mixture.gate.log_odds(sample), scale(logits), scale(second), sample.labels), alone


def measure(bench: Bench, experiment: Experiment) -> tuple[Row, dict[str, Rows]]:
    """Fit an experiment for every user, and try it on the user's other samples, on bystanders and on people in general.

    Returns
    -------
    figures : dict
        Shares in [0, 1]: ``removed`` and ``lost`` at the product's own rule (threshold 0, no acceptance test),
        ``removed_equal`` at the one threshold for all users at which generic loss is `BUDGET`.
    users : dict of str to ndarray
        One entry a user and draw: errors before (``errors``), accuracy gained at either threshold.
    """
    rows: dict[str, list[float]] = {key: [] for key in ("errors", "own", "alone", "auc", "auc_bystanders")}
    ours, theirs, neighbours = [], [], []
    mixture: Mixture
    for user in bench.users:
        mixture = experiment.fit(bench, user.support)
        mine, alone = tried_on(mixture, user.rest, experiment.blends)
        generic, _ = tried_on(mixture, bench.generic, experiment.blends)
        near, _ = tried_on(mixture, user.bystanders, experiment.blends)
        rows["errors"].append(1 - mine.before.mean())
        rows["alone"].append(alone)
        rows["auc"].append(area_under_curve(mine.log_odds, generic.log_odds))
        rows["auc_bystanders"].append(area_under_curve(mine.log_odds, near.log_odds))
        ours.append(mine)
        theirs.append(generic)
        neighbours.append(near)
    threshold = threshold_within(theirs, BUDGET)
    errors = np.array(rows["errors"])
    own, equal = _gains(ours, 0), _gains(ours, threshold)
    figures = {
        "removed": own.sum() / errors.sum(),
        "lost": -_gains(theirs, 0).mean(),
        "removed_equal": equal.sum() / errors.sum(),
        "lost_equal": -_gains(theirs, threshold).mean(),
        "threshold": threshold,
        "bystanders_lost": -_gains(neighbours, 0).mean(),
        "local_accuracy": np.mean(rows["alone"]),
        "auc": np.mean(rows["auc"]),
        "auc_bystanders": np.mean(rows["auc_bystanders"]),
        "profile_bytes": HEADER + mixture.local.kept + mixture.gate.kept,
        "bundle_bytes": mixture.local.shipped + mixture.gate.shipped,
    }
    return {key: round(float(value), 5) for key, value in figures.items()}, {
        "errors": errors, "own": own, "equal": equal,
    }  # fmt: skip


def _gains(trials: list[Judged], threshold: float) -> Rows:
    return np.array([trial.right(threshold).mean() - trial.before.mean() for trial in trials])


def compare(bench: Bench, names: Iterable[str]) -> dict[str, Row]:
    """Measure experiments, and each one's difference from the product's own parts of the same size.

    Returns
    -------
    dict of str to dict
        What `measure` returns, and ``gained``, the share of errors removed more than by the product's parts at equal
        generic loss, with its 95 % bootstrap interval over the writers, paired, ``gained_low`` and ``gained_high``.
    """

    @cache
    def once(name: str) -> tuple[Row, dict[str, Rows]]:
        return measure(bench, EXPERIMENTS[name])

    table = {}
    for name in names:
        experiment = EXPERIMENTS[name]
        base, (row, users) = once(experiment.size)[1], once(name)
        more = _by_writer(bench, users["equal"] - base["equal"])
        errors = _by_writer(bench, users["errors"])
        low, high = interval(more, errors)
        gained = {"gained": more.sum() / errors.sum(), "gained_low": low, "gained_high": high}
        gained = {key: round(float(value), 5) for key, value in gained.items()}
        table[name] = {"tried": experiment.tried, "size": experiment.size, **row, **gained}
    return table


def _by_writer(bench: Bench, values: Rows) -> Rows:
    names = np.array([user.name for user in bench.users])
    return np.array([values[names == name].mean() for name in np.unique(names)])
