"""Variants in which the local expert and the gate know of each other."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.experiments.parts import Fit, Gate, GateFit, Local, LocalFit, Mixture
from edgemoe.benchmark.experiments.priors import plain_correction
from edgemoe.benchmark.experiments.samples import Bench, Sample
from edgemoe.benchmark.experiments.training import Correction, Logistic
from edgemoe.device.gate import DECAY, sigmoid
from edgemoe.device.global_expert import softmax
from edgemoe.device.local_expert import with_bias

__all__ = ["alternating", "calibrated", "evidence", "out_of_fold", "tempered", "trusting"]

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


def trusting(local: LocalFit, gate: GateFit, guess: str) -> Fit:
    """Add to the log-odds how much oftener the local expert was right than the global one, class by class.

    Out of fold, with two samples of each outcome added. The class is the one that the `guess` expert, "local" or
    "global", predicts.
    """

    def fit(bench: Bench, support: Sample) -> Mixture:
        correction, _ = out_of_fold(bench, support, local, gate)
        logits = support.taps.logits
        first, second = logits.argmax(axis=1), (logits + correction).argmax(axis=1)
        said = second if guess == "local" else first
        classes = logits.shape[1]
        old, new = (np.bincount(said, answers == support.labels, classes) for answers in (first, second))
        trust: Array = np.log((new + 2) / (old + 2)).astype(np.float32)
        parts = Mixture(local(bench, support), gate(bench, support))

        def log_odds(sample: Sample) -> Array:
            scores = sample.taps.logits
            if guess == "local":
                scores = scores + parts.local.correct(sample)
            trusted: Array = parts.gate.log_odds(sample) + trust[scores.argmax(axis=1)]
            return trusted

        return Mixture(parts.local, Gate(log_odds, parts.gate.kept + classes, parts.gate.shipped))

    return fit


def calibrated(local: LocalFit, gate: GateFit) -> Fit:
    """Scale and shift the log-odds by a logistic fit to those of samples that the gate was not trained on (Platt).

    The user's out of fold; other people's from the retention set's held-out half, which the acceptance test would then
    have to do without.
    """

    def fit(bench: Bench, support: Sample) -> Mixture:
        _, ours = out_of_fold(bench, support, local, gate)
        parts = Mixture(local(bench, support), gate(bench, support))
        taps, labels = bench.ge.held_out
        theirs = parts.gate.log_odds(Sample(bench.ge, taps, labels))
        inputs = np.concatenate([ours, theirs])[:, None]
        targets = np.repeat(np.array([1, 0], np.float32), [len(ours), len(theirs)])
        importance = np.where(targets > 0, 0.5 / len(ours), 0.5 / len(theirs)).astype(np.float32)
        slope, shift = Logistic(inputs, targets, importance, np.zeros(1, np.float32), 0.0).fit(1000)
        inner = parts.gate.log_odds
        return Mixture(parts.local, replace(parts.gate, log_odds=lambda sample: slope * inner(sample) + shift))

    return fit


def tempered(local: LocalFit, gate: GateFit) -> Fit:
    """Scale the correction by what fits the user's samples best out of fold."""

    def fit(bench: Bench, support: Sample) -> Mixture:
        correction, _ = out_of_fold(bench, support, local, gate)
        rows = np.arange(len(support))

        def likelihood(factor: float) -> float:
            shares = softmax(support.taps.logits + np.float32(factor) * correction)[rows, support.labels]
            return float(np.log(np.maximum(shares, 1e-9)).mean())

        best = np.float32(max((0.5, 0.7, 1.0, 1.4, 2.0), key=likelihood))
        part = local(bench, support)
        return Mixture(Local(lambda sample: best * part.correct(sample), part.kept, part.shipped), gate(bench, support))

    return fit


def evidence(local: LocalFit, gate: GateFit, share: float) -> Fit:
    """Add to the log-odds a share of the log of how much likelier the correction finds the input.

    With a local expert that is a likelihood ratio class by class, the whole ratio is the sum over the classes of the
    global expert's probability times it: the input's own likelihood under the user against that under anyone.
    """

    def fit(bench: Bench, support: Sample) -> Mixture:
        parts = Mixture(local(bench, support), gate(bench, support))

        def log_odds(sample: Sample) -> Array:
            correction = parts.local.correct(sample)
            top = correction.max(axis=1, keepdims=True)
            ratio = (softmax(sample.taps.logits) * np.exp(correction - top)).sum(axis=1)
            found: Array = np.log(np.maximum(ratio, 1e-30)) + top[:, 0]
            return parts.gate.log_odds(sample) + np.float32(share) * found

        return Mixture(parts.local, replace(parts.gate, log_odds=log_odds))

    return fit


def alternating(bits: int, gate_bits: int, rounds: int) -> Fit:
    """Train both for the likelihood of the mixture's answers, by expectation and maximization in turn.

    Jordan and Jacobs, "Hierarchical mixtures of experts and the EM algorithm", Neural Computation 6, 1994, section 4:
    the local expert learns each sample, generic ones too, by the share it is answerable for, and the gate learns the
    shares.
    """

    def fit(bench: Bench, support: Sample) -> Mixture:
        old = bench.retained
        ours, theirs = len(support), len(old)
        matrix = with_bias(np.concatenate([support.read("quarters"), old.read("quarters")]))
        logits = np.concatenate([support.taps.logits, old.taps.logits])
        labels = np.concatenate([support.labels, old.labels])
        inputs = np.concatenate([support.read("features"), old.read("features")])
        weight = np.repeat(np.array([1, ours / theirs], np.float32), [ours, theirs])  # both sides the same
        share = np.repeat(np.array([1, 0], np.float32), [ours, theirs])
        trained = plain_correction(matrix[:ours], logits[:ours], support.labels).trained
        base = plain_correction(matrix, logits, labels)
        rows, before = np.arange(len(labels)), softmax(logits)[np.arange(len(labels)), labels]
        gate_weight = weight * np.float32(0.5 * theirs / ours)
        for turn in range(rounds + 1):
            local = Correction(matrix, logits, base.targets, weight * share, trained, base.center, base.decay)
            gate = Logistic(inputs, share, gate_weight, np.zeros(inputs.shape[1], np.float32), DECAY)
            exact, odds = local.fit(), gate.fit()
            if turn < rounds:
                after = softmax(logits + matrix @ exact.T)[rows, labels]
                prior = sigmoid(inputs @ odds[:-1] + odds[-1])
                share = prior * after / np.maximum(prior * after + (1 - prior) * before, 1e-9)
        kept, values = local.round(exact, bits, np.ones((1, matrix.shape[1]), np.float32))
        kept_gate, gate_values = gate.round(odds, gate_bits, False)
        return Mixture(
            Local(lambda sample: with_bias(sample.read("quarters")) @ values.T, kept.nbytes),
            Gate(lambda sample: sample.read("features") @ gate_values[:-1] + gate_values[-1], kept_gate.nbytes),
        )

    return fit
