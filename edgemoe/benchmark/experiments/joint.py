"""Variants in which the local expert and the gate know of each other."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.experiments.parts import Fit, Gate, GateFit, LocalFit, Mixture
from edgemoe.benchmark.experiments.samples import Bench, Sample
from edgemoe.device.gate import sigmoid

__all__ = ["calibrated", "platt", "trusting"]

Array = npt.NDArray[np.float32]
FOLDS = 3  # as in the product's cross-validation


def out_of_fold(bench: Bench, support: Sample, local: LocalFit, gate: GateFit) -> tuple[Array, Array]:
    """Return correction ``(n, C)`` and log-odds ``(n,)`` of each support sample by parts trained without it."""
    turn = np.empty(len(support), np.int64)
    for label in np.unique(support.labels):
        members = np.flatnonzero(support.labels == label)
        turn[members] = (np.arange(len(members)) + label) % FOLDS
    correction, log_odds = np.empty_like(support.taps.logits), np.empty(len(support), np.float32)
    for fold in np.unique(turn):
        out, kept = support[np.flatnonzero(turn == fold)], support[np.flatnonzero(turn != fold)]
        correction[turn == fold] = local(bench, kept).correct(out)
        log_odds[turn == fold] = gate(bench, kept).log_odds(out)
    return correction, log_odds


def trusting(local: LocalFit, gate: GateFit) -> Fit:
    """Add to the log-odds how much oftener the local expert was right than the global one, by the class that it says.

    Out of fold, with two samples of each outcome added.
    """

    def fit(bench: Bench, support: Sample) -> Mixture:
        correction, _ = support.once((local, gate), lambda: out_of_fold(bench, support, local, gate))
        logits, classes = support.taps.logits, support.taps.logits.shape[1]
        first, second = logits.argmax(axis=1), (logits + correction).argmax(axis=1)
        old, new = (np.bincount(second, answers == support.labels, classes) for answers in (first, second))
        trust: Array = np.log((new + 2) / (old + 2)).astype(np.float32)
        parts = Mixture(local(bench, support), gate(bench, support))

        def log_odds(sample: Sample) -> Array:
            said = (sample.taps.logits + parts.local.correct(sample)).argmax(axis=1)
            trusted: Array = parts.gate.log_odds(sample) + trust[said]
            return trusted

        return Mixture(parts.local, Gate(log_odds, parts.gate.kept + classes, parts.gate.shipped))

    return fit


def calibrated(local: LocalFit, gate: GateFit) -> Fit:
    """Scale and shift the log-odds by a logistic fit to those of samples that the gate was not trained on (Platt).

    The user's out of fold; other people's from the retention set's held-out half, which the acceptance test would then
    have to do without.
    """

    def fit(bench: Bench, support: Sample) -> Mixture:
        _, ours = support.once((local, gate), lambda: out_of_fold(bench, support, local, gate))
        parts = Mixture(local(bench, support), gate(bench, support))
        taps, labels = bench.ge.held_out
        slope, shift = platt(ours, parts.gate.log_odds(Sample(bench.ge, taps, labels)))
        inner = parts.gate.log_odds
        return Mixture(parts.local, replace(parts.gate, log_odds=lambda sample: slope * inner(sample) + shift))

    return fit


def platt(ours: Array, theirs: Array) -> tuple[np.float32, np.float32]:
    """Return slope and shift of the logistic regression that tells two sides apart, both weighing the same.

    Each step is Newton's with the bound on the curvature, a quarter a sample (Boehning 1992).
    """
    odds = np.column_stack([np.concatenate([ours, theirs]), np.ones(len(ours) + len(theirs))])
    truth = np.repeat([1.0, 0.0], [len(ours), len(theirs)])
    weight = np.where(truth > 0, 0.5 / len(ours), 0.5 / len(theirs))
    bound = (odds * weight[:, None]).T @ odds / 4
    values = np.array([1.0, 0.0])
    for _ in range(500):
        values = values - np.linalg.solve(bound, odds.T @ (weight * (sigmoid(odds @ values) - truth)))
    return np.float32(values[0]), np.float32(values[1])
