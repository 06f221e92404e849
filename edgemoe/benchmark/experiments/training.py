"""The product's two convex problems with more freedom: priors, importances, other bits and decays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.device.descent import descend, largest_eigenvalue
from edgemoe.device.gate import sigmoid
from edgemoe.device.global_expert import softmax
from edgemoe.device.local_expert import ROUNDING_STEPS, ROUNDING_STRIDE
from edgemoe.device.quantized import QuantizedMatrix, quantize

__all__ = ["Correction", "Logistic"]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Correction:
    """A multinomial regression on top of frozen logits, with a Gaussian prior.

    Attributes
    ----------
    matrix : ndarray of float32, shape (n, P + 1)
        With the bias's constant.
    logits : ndarray of float32, shape (n, C)
    targets : ndarray of float32, shape (n, C)
        Probabilities: one-hot labels, as a rule.
    importance : ndarray of float32, shape (n,)
    trained : ndarray of float32, shape (C, 1)
        1 for the classes to correct; the others stay at the prior's centre.
    center : ndarray of float32, shape (C, P + 1)
    decay : ndarray of float32, shape (C, P + 1) or (1, 1)
        The prior's precision.
    """

    matrix: Array
    logits: Array
    targets: Array
    importance: Array
    trained: Array
    center: Array
    decay: Array

    @property
    def smoothness(self) -> float:
        """A bound on the curvature; see `edgemoe.device.local_expert.curvature`."""
        return 0.5 * largest_eigenvalue(self.matrix, self.importance) + float(self.decay.max())

    def gradient(self, weights: Array) -> Array:
        """Gradient of the summed cross-entropy and the prior's penalty."""
        residual = (softmax(self.logits + self.matrix @ weights.T) - self.targets) * self.importance[:, None]
        slope = self.trained * (residual.T @ self.matrix + self.decay * (weights - self.center))
        return slope.astype(np.float32, copy=False)

    def loss(self, weights: Array) -> float:
        """Return what `gradient` is the gradient of, over the classes trained."""
        likelihood = np.log(np.maximum(softmax(self.logits + self.matrix @ weights.T), 1e-9))
        fit = -((likelihood * self.targets).sum(axis=1) * self.importance).sum()
        return float(fit + 0.5 * (self.decay * (weights - self.center) ** 2).sum())

    def fit(self, steps: int = 150) -> Array:
        """Return the weights ``(C, P + 1)``."""
        return descend(self.gradient, self.center, self.smoothness, steps)

    def round(self, weights: Array, bits: int, unit: Array, straight: bool = True) -> tuple[QuantizedMatrix, Array]:
        """Round what differs from the centre, in units ``(1, P + 1)`` of each input, as the product does.

        Returns
        -------
        kept : QuantizedMatrix
        weights : ndarray of float32, shape (C, P + 1)
        """
        best, lowest = quantize((weights - self.center) / unit, bits), np.inf
        step = np.float32(ROUNDING_STRIDE / self.smoothness)
        for _ in range(ROUNDING_STEPS if straight else 0):
            rounded = quantize((weights - self.center) / unit, bits)
            values = self.center + rounded.values() * unit
            loss = self.loss(values)
            if loss < lowest:
                best, lowest = rounded, loss
            weights = weights - step * self.gradient(values)
        return best, self.center + best.values() * unit


@dataclass(frozen=True)
class Logistic:
    """A logistic regression with a Gaussian prior on its weights and a free bias.

    Attributes
    ----------
    inputs : ndarray of float32, shape (n, F)
    targets, importance : ndarray of float32, shape (n,)
    center : ndarray of float32, shape (F,)
    decay : float
    """

    inputs: Array
    targets: Array
    importance: Array
    center: Array
    decay: float

    @property
    def smoothness(self) -> float:
        """A bound on the curvature, as in `edgemoe.device.gate.fit_gate`."""
        moments = largest_eigenvalue(self.inputs, self.importance) + float(self.importance.sum())
        return 0.25 * moments + self.decay

    def gradient(self, weights: Array) -> Array:
        """Gradient at weights ``(F + 1,)``, the bias last."""
        error = self.importance * (sigmoid(self.inputs @ weights[:-1] + weights[-1]) - self.targets)
        slope = error @ self.inputs + np.float32(self.decay) * (weights[:-1] - self.center)
        return np.concatenate([slope, error.sum(keepdims=True)])

    def loss(self, weights: Array) -> float:
        """Return what `gradient` is the gradient of."""
        odds = self.inputs @ weights[:-1] + weights[-1]
        fit = (self.importance * (np.logaddexp(0, odds) - self.targets * odds)).sum()
        return float(fit + 0.5 * self.decay * ((weights[:-1] - self.center) ** 2).sum())

    def fit(self, steps: int = 100) -> Array:
        """Return the weights ``(F + 1,)``."""
        return descend(self.gradient, np.append(self.center, np.float32(0)), self.smoothness, steps)

    def round(self, weights: Array, bits: int, straight: bool) -> tuple[QuantizedMatrix, Array]:
        """Round what differs from the centre, plainly as the product does, or straight through.

        Straight through, the bias is trained on with the rounded weights.
        """

        def rounded(exact: Array) -> tuple[QuantizedMatrix, Array]:
            kept = quantize((exact[:-1] - self.center)[None], bits)
            return kept, np.append(self.center + kept.values()[0], exact[-1])

        best, values = rounded(weights)
        lowest = self.loss(values)
        step = np.float32(ROUNDING_STRIDE / self.smoothness)
        for _ in range(ROUNDING_STEPS if straight else 0):
            kept, tried = rounded(weights)
            loss = self.loss(tried)
            if loss < lowest:
                best, values, lowest = kept, tried, loss
            weights = weights - step * self.gradient(tried)
        return best, values
