"""What an experiment is measured by: errors removed at equal generic loss, and how well the gate tells people apart."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.device.gate import CLOSED, weigh

__all__ = ["Judged", "area_under_curve", "interval", "judge", "threshold_within"]

Array = npt.NDArray[np.float32]
RESAMPLES = 2000  # of the bootstrap over writers (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13)


@dataclass(frozen=True)
class Judged:
    """For each sample, the gate's log-odds and the weights of the local expert at which the mixture is right.

    The probability that a mixture gives a class is linear in the weight, so a class is on top for one interval of it.

    Attributes
    ----------
    log_odds : ndarray of float32, shape (n,)
    before : ndarray of bool, shape (n,)
        Whether the global expert is right.
    low, high : ndarray of float32, shape (n,)
        Right for weights from `low` to `high`, of those from `CLOSED` to 1; never if `low` is the higher.
    """

    log_odds: Array
    before: npt.NDArray[np.bool_]
    low: Array
    high: Array

    def right(self, threshold: float) -> npt.NDArray[np.bool_]:
        """Return whether the mixture is right at a threshold of the gate, by the product's own rule."""
        weight = weigh(self.log_odds, threshold)
        return np.where(weight == 0, self.before, (self.low <= weight) & (weight <= self.high))


def judge(log_odds: Array, first: Array, second: Array, labels: npt.NDArray[np.int64]) -> Judged:
    """Find the weights of the second expert ``(n, C)`` at which its mixture with the first is right."""
    rows = np.arange(len(labels))
    ahead, after = first[rows, labels][:, None] - first, second[rows, labels][:, None] - second
    slope = after - ahead
    with np.errstate(divide="ignore", invalid="ignore"):
        meets = -ahead / slope  # where another class is as likely
    low = np.where(slope > 0, meets, -np.inf).max(axis=1)
    high = np.where(slope < 0, meets, np.inf).min(axis=1)
    never = ((slope == 0) & (ahead < 0)).any(axis=1)
    low = np.where(never, np.float32(2), np.maximum(low, np.float32(CLOSED)))
    return Judged(log_odds, first.argmax(axis=1) == labels, low, np.minimum(high, np.float32(1)))


def threshold_within(trials: list[Judged], budget: float) -> float:
    """Return the lowest threshold at which, and at every higher one, the trials lose no more accuracy than the budget.

    Exact: the loss changes only where an interval of `Judged` begins or ends. Where it is never exceeded, -30.
    """

    def log_odds_of(weight: Array) -> npt.NDArray[np.float64]:
        exact = weight.astype(np.float64)
        return np.log(exact) - np.log1p(-exact)

    positions, changes = [], []
    for trial in trials:
        odds = trial.log_odds.astype(np.float64)
        lost = trial.before & (trial.high < 1)
        positions.append(odds[lost] - log_odds_of(np.maximum(trial.high[lost], np.float32(CLOSED))))
        changes.append(np.ones(lost.sum()))
        won = ~trial.before & (trial.low <= trial.high) & (trial.low < 1)
        positions.append(odds[won] - log_odds_of(trial.low[won]))
        changes.append(-np.ones(won.sum()))
        again = won & (trial.high < 1)
        positions.append(odds[again] - log_odds_of(trial.high[again]))
        changes.append(np.ones(again.sum()))
    where, change = np.concatenate(positions), np.concatenate(changes)
    order = np.argsort(-where, kind="stable")
    loss = np.cumsum(change[order]) / sum(len(trial.before) for trial in trials)
    over = np.flatnonzero(loss > budget + 1e-12)
    if not len(over):
        return -30.0
    edge = where[order[over[0]]]
    higher = where[order][where[order] > edge]
    return float((edge + higher[-1]) / 2 if len(higher) else edge + 1)


def area_under_curve(ours: Array, theirs: Array) -> float:
    """Return the probability that one of ours scores above one of theirs, ties counting half (the ROC's area)."""
    theirs = np.sort(theirs)
    wins = np.searchsorted(theirs, ours, "left") + np.searchsorted(theirs, ours, "right")
    return float(wins.mean() / (2 * len(theirs)))


def interval(gains: npt.NDArray[np.float64], errors: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval over writers of the share of errors removed, ``sum(gains) / sum(errors)``."""
    drawn = np.random.default_rng(0).integers(0, len(gains), (RESAMPLES, len(gains)))
    low, high = np.percentile(gains[drawn].sum(axis=1) / errors[drawn].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)
