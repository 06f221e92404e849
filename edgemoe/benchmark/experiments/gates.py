"""Variants of the gate: what it reads, how it is trained, what it is kept as."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.experiments.augment import augmented
from edgemoe.benchmark.experiments.parts import Gate
from edgemoe.benchmark.experiments.samples import Bench, Sample
from edgemoe.benchmark.experiments.training import Logistic
from edgemoe.device.gate import DECAY, fit_gate
from edgemoe.device.quantized import quantize

__all__ = ["discriminant", "logistic", "product_gate"]

Array = npt.NDArray[np.float32]
GateFit = Callable[[Bench, Sample], Gate]


def product_gate(bits: int) -> GateFit:
    """The product's own."""

    def fit(bench: Bench, support: Sample) -> Gate:
        weights, bias = fit_gate(support.read("features"), bench.retained.read("features"))
        kept = quantize(weights[None], bits)
        return Gate(lambda sample: sample.read("features") @ kept.values()[0] + np.float32(bias), kept.nbytes)

    return fit


def logistic(
    view: str = "features",
    bits: int = 3,
    decay: float = DECAY,
    balance: float = 0.5,
    straight: bool = False,
    start: Callable[[Bench, str], tuple[Array, int]] | None = None,
    negatives: int = 0,
    copies: int = 0,
    stretch: float = 1.0,
    class_balance: bool = False,
) -> GateFit:
    """A logistic gate.

    Parameters
    ----------
    view : str
        What it reads; see `Sample.read`.
    bits : int
    decay : float
        The ridge penalty.
    balance : float
        The user's samples' share of the importance.
    straight : bool
        Round by the loss (straight through) rather than plainly.
    start : callable or None
        The prior's centre, and the bytes that it takes in the bundle.
    negatives : int
        Teachers' samples added to the retention set, all together with half of its weight.
    copies : int
        Distorted copies of each of the user's samples; all forms of a sample weigh 1 together.
    stretch : float
        What the log-odds are multiplied by.
    class_balance : bool
        Let every class weigh the same among the generic samples, as it does among the user's.
    """

    def fit(bench: Bench, support: Sample) -> Gate:
        ours, old = augmented(support, copies).read(view), bench.retained
        theirs, strength = old.read(view), np.ones(len(old))
        if class_balance:
            strength = 1 / np.bincount(old.labels)[old.labels]
            strength *= len(old) / strength.sum()
        shipped = 0
        if negatives:
            rows = np.random.default_rng(0).permutation(len(bench.lessons))[:negatives]
            extra = bench.lessons.read(view)[rows]
            theirs = np.concatenate([theirs, extra])
            strength = np.concatenate([strength, np.full(len(extra), 0.5 * len(old) / len(extra))])
            shipped = extra.size // 2  # in 4 bits a feature, as in the retention set
        inputs = np.concatenate([ours, theirs])
        targets = np.repeat(np.array([1, 0], np.float32), [len(ours), len(theirs)])
        total = strength.sum()
        importance = np.concatenate([np.full(len(ours), balance * total / len(ours)), (1 - balance) * strength])
        center = np.zeros(inputs.shape[1], np.float32)
        if start is not None:
            center, size = start(bench, view)
            shipped += size
        problem = Logistic(inputs, targets, importance.astype(np.float32), center, decay)
        kept, weights = problem.round(problem.fit(), bits, straight)
        weights = np.float32(stretch) * weights
        return Gate(lambda sample: sample.read(view) @ weights[:-1] + weights[-1], kept.nbytes, shipped)

    return fit


def discriminant(bits: int = 3, shrink: float = 0.1) -> GateFit:
    """User and others as two normal distributions of one covariance, the retention set's, shrunk a little."""

    def fit(bench: Bench, support: Sample) -> Gate:
        theirs, ours = bench.retained.read("features"), support.read("features")
        middle = theirs.mean(axis=0)
        covariance = np.cov(theirs.T).astype(np.float32) * (1 - shrink)
        covariance += shrink * np.trace(covariance) / len(covariance) * np.eye(len(covariance), dtype=np.float32)
        kept = quantize(np.linalg.solve(covariance, ours.mean(axis=0) - middle)[None].astype(np.float32), bits)
        bias = -float(kept.values()[0] @ (ours.mean(axis=0) + middle) / 2)
        return Gate(lambda sample: sample.read("features") @ kept.values()[0] + np.float32(bias), kept.nbytes)

    return fit
