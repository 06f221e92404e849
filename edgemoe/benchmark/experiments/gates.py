"""Variants of the gate: what it reads, how it is trained, what it is kept as.

The product's is a discriminant over shipped statistics; most variants are of the logistic gate that it was before,
trained by gradient descent against samples of the retention set.
"""

import numpy as np

from edgemoe.benchmark.experiments.copies import copies_of
from edgemoe.benchmark.experiments.logistic_gate import DECAY, fit_logistic, settle_logistic
from edgemoe.benchmark.experiments.parts import Gate, GateFit
from edgemoe.benchmark.experiments.samples import Bench, Sample
from edgemoe.device.gate import Gate as KeptGate
from edgemoe.device.quantized import quantize
from edgemoe.device.training import teach_gate

__all__ = ["discriminant", "logistic", "product_gate"]


def product_gate(bits: int) -> GateFit:
    """The product's own."""

    def fit(bench: Bench, support: Sample) -> Gate:
        def train() -> KeptGate:
            weights, bias = teach_gate(bench.ge, support.taps)
            return KeptGate(quantize(weights[None], bits), bias)

        gate = support.once(f"gate {bits}", train)
        return Gate(lambda sample: gate.log_odds(bench.ge.standardizer.gate_inputs(sample.taps)), gate.weights.nbytes)

    return fit


def logistic(
    view: str = "features",
    bits: int = 3,
    settled: bool = True,
    decay: float = DECAY,
    negatives: int = 0,
    copies: bool = False,
    stretch: float = 1.0,
) -> GateFit:
    """A logistic gate; with what is set here by default, the product's of before.

    Parameters
    ----------
    view : str
        What it reads; see `Sample.read`.
    bits : int
    settled : bool
        Round by the loss rather than plainly.
    decay : float
        The ridge penalty.
    negatives : int
        Teachers' samples added to the retention set.
    copies : bool
        Learn the copies of the user's samples too.
    stretch : float
        What the log-odds are multiplied by.
    """
    unit = np.float32(np.sqrt(DECAY / decay))  # inputs so much larger have the same effect as a penalty so much smaller

    def fit(bench: Bench, support: Sample) -> Gate:
        ours, theirs, shipped = support.read(view), bench.retained.read(view), 0
        if copies:
            ours = np.concatenate([ours, copies_of(support).read(view)])
        if negatives:
            rows = np.random.default_rng(0).permutation(len(bench.lessons))[:negatives]
            extra = bench.lessons.read(view)[rows]
            theirs, shipped = np.concatenate([theirs, extra]), extra.size // 2  # 4 bits a feature, as the retention set
        weights, bias = fit_logistic(unit * ours, unit * theirs)
        if settled:
            weights, bias = settle_logistic(weights, bias, unit * ours, unit * theirs, bits)
        kept = quantize(weights[None], bits)
        slope, shift = np.float32(stretch) * unit * kept.values()[0], np.float32(stretch * bias)
        return Gate(lambda sample: sample.read(view) @ slope + shift, kept.nbytes, shipped)

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
