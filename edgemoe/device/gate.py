"""The gating network: how likely an input is the user's, from the global expert's convolution features."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.device.quantized import QuantizedMatrix

__all__ = ["Gate", "calibrate", "fit_gate", "sigmoid", "weigh"]

Array = npt.NDArray[np.float32]

CLOSED = 0.02  # a weight that could change no answer but that of two equal logits
ROUNDS = 25  # of Newton's method at most; ten are enough for most users
DOUBT = 0.1  # samples' worth of evidence against a steep gate: where the two sides do not overlap, none is too steep


def sigmoid(values: Array) -> Array:
    """Return 1 / (1 + exp(-values)), without overflow."""
    result: Array = 0.5 * (1 + np.tanh(0.5 * values))
    return result


def weigh(log_odds: Array, threshold: float) -> Array:
    """Return the local expert's weight ``(n,)`` in [0, 1]; below `CLOSED` it is 0, and the local expert need not run.

    Without this, where the int8 network gives two classes the same logit, the least weight would choose between them.
    """
    weight = sigmoid(log_odds - np.float32(threshold))
    return np.where(weight < CLOSED, np.float32(0), weight)


@dataclass(frozen=True)
class Gate:
    """A linear gate.

    Attributes
    ----------
    weights : QuantizedMatrix, shape (1, F)
    bias : float
    """

    weights: QuantizedMatrix
    bias: float

    def log_odds(self, inputs: Array) -> Array:
        """Return the log-odds ``(n,)`` that an input is the user's rather than anyone's, from standardized features."""
        result: Array = inputs @ self.weights.values()[0] + np.float32(self.bias)
        return result


def fit_gate(user: Array, generic: Array, precision: Array) -> tuple[Array, float]:
    """Find the direction that tells the user's samples from generic ones, and the log-odds along it.

    Fisher's linear discriminant ("The use of multiple measurements in taxonomic problems", Annals of Eugenics 7, 1936):
    the mean of the user's samples, times the inverse covariance. The covariance is that of many thousands of generic
    samples, measured beforehand, so that what takes time is done already. A sample is scored by a direction found
    without it, since one's own share in the mean is no evidence; slope and shift of the log-odds are then those of a
    logistic regression on the scores (Platt, "Probabilistic outputs for support vector machines", 1999).

    Parameters
    ----------
    user : ndarray of float32, shape (n, F)
        Standardized features of the user's samples.
    generic : ndarray of float32, shape (m, F)
        Those of the retention set's first part, `GlobalExpert.generic`.
    precision : ndarray of float32, shape (F, F)
        The inverse covariance of generic samples, `Standardizer.precision`.

    Returns
    -------
    weights : ndarray of float32, shape (F,)
    bias : float
    """
    n, mean = len(user), user.mean(axis=0)
    direction = precision @ mean
    if n > 1:
        own = ((user @ precision) * user).sum(axis=1)
        scores = (n * (user @ direction) - own) / (n - 1)
    else:  # halfway between nothing in common and itself
        scores = 0.5 * (user @ direction)
    slope, shift = calibrate(scores, generic @ direction)
    return np.float32(slope) * direction, shift


def calibrate(user: Array, generic: Array) -> tuple[float, float]:
    """Return slope and shift of the log-odds that a score is the user's, both sides weighing the same.

    Newton's method, with steps halved until none raises the loss. Of two to eight samples, the user's may score lower
    than other people's: each is judged by few that show other characters. A gate that took this for a rule would open
    for whatever is least like the user's, so that a slope is never negative: both are then 0, and nothing is known.

    Parameters
    ----------
    user, generic : ndarray of float32, shapes (n,) and (m,)
        Scores.
    """
    sides = np.concatenate([user, generic]).astype(np.float64)
    middle, spread = sides.mean(), sides.std() or 1.0
    scores = (sides - middle) / spread
    truth = np.repeat([1.0, 0.0], [len(user), len(generic)])
    importance = np.where(truth > 0, 1.0, len(user) / len(generic))

    def loss(slope: float, shift: float) -> float:
        odds = slope * scores + shift
        return float(importance @ (np.logaddexp(0, odds) - truth * odds)) + DOUBT / 2 * slope**2

    slope = shift = 0.0
    lowest = loss(slope, shift)
    for _ in range(ROUNDS):
        chance = 0.5 * (1 + np.tanh(0.5 * (slope * scores + shift)))
        error, bend = importance * (chance - truth), importance * chance * (1 - chance) + 1e-9
        down, across = error @ scores + DOUBT * slope, error.sum()
        first, both, second = bend @ scores**2 + DOUBT, bend @ scores, bend.sum()
        whole = first * second - both**2
        step = (second * down - both * across) / whole, (first * across - both * down) / whole
        found = loss(slope - step[0], shift - step[1])
        while found > lowest and max(map(abs, step)) > 1e-9:
            step = step[0] / 2, step[1] / 2
            found = loss(slope - step[0], shift - step[1])
        if found >= lowest:
            break
        slope, shift, lowest = slope - step[0], shift - step[1], found
    return (slope / spread, shift - slope * middle / spread) if slope > 0 else (0.0, 0.0)
