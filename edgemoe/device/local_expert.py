"""The local expert: a linear correction of the global expert's logits, read from its pooled features."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgemoe.device.eigenvalue import largest_eigenvalue
from edgemoe.device.global_expert import softmax
from edgemoe.device.quantized import QuantizedMatrix, quantize
from edgemoe.device.symbols import lift

__all__ = [
    "Lesson",
    "LocalExpert",
    "correction_gradient",
    "fit_local_expert",
    "given_classes",
    "settle",
    "with_bias",
]

DECAY = 1.0  # weight of the ridge penalty against one sample's cross-entropy; chosen on writers_small.npz
EPOCHS = 8  # of 4, 8 and 12: what longer training gains, rounding takes; chosen, as STRIDE and SLOWER, there too
BATCH = 4  # samples that a microcontroller multiplies by a weight while it has it at hand
STRIDE = 4.0  # of the first steps, in units of one over the inputs' mean squared length
SLOWER = 8  # epochs after which a step is half as long
ROUNDING_STEPS = 16
ROUNDING_STRIDE = 4.0  # of a safe gradient step: shorter ones seldom carry a weight to its next code


@dataclass(frozen=True)
class LocalExpert:
    """What the user's own characters taught.

    Attributes
    ----------
    weights : QuantizedMatrix, shape (C, P + 1)
        One row a class, the spare symbols' last; the last column is the bias.
    spare : int
        How many spare symbols there are, S of the C rows.
    """

    weights: QuantizedMatrix
    spare: int = 0

    @property
    def taught(self) -> npt.NDArray[np.bool_]:
        """Which of the spare symbols were taught, ``(S,)``."""
        return np.asarray(self.weights.codes[len(self.weights.codes) - self.spare :].any(axis=1))

    def correct(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return what to add to the logits ``(n, C)``, from `Standardizer.local_inputs` ``(n, P)``."""
        return lift(with_bias(inputs) @ self.weights.values().T, self.taught)


def with_bias(inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Append the constant input 1 that a bias reads."""
    return np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], axis=1)


@dataclass(frozen=True)
class Lesson:
    """What a local expert is taught.

    Attributes
    ----------
    inputs : ndarray of float32, shape (n, P + 1)
        With the bias's constant.
    logits : ndarray of float32, shape (n, C)
        The global expert's.
    targets : ndarray of int64, shape (n,)
        Class indices.
    importance : ndarray of float32, shape (n,)
        The weight of each sample's cross-entropy.
    given : ndarray of float32, shape (C, 1)
        1 for each class that the user gave samples of; the others are left uncorrected, 0.
    """

    inputs: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    importance: npt.NDArray[np.float32]
    given: npt.NDArray[np.float32]

    @cached_property
    def curvature(self) -> float:
        """A bound on the loss's curvature.

        The Hessian of the cross-entropy is at most half of the inputs' second moments (Boehning, "Multinomial logistic
        regression algorithm", Annals of the Institute of Statistical Mathematics 44, 1992).
        """
        return 0.5 * largest_eigenvalue(self.inputs, self.importance) + DECAY

    def plus(self, other: "Lesson") -> "Lesson":
        """Return this lesson and another one."""
        inputs, logits, targets, importance = (
            np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("inputs", "logits", "targets", "importance")
        )
        return Lesson(inputs, logits, targets, importance, np.maximum(self.given, other.given))

    @property
    def moment(self) -> npt.NDArray[np.float32]:
        """The inputs' second moments ``(P + 1, P + 1)``, each sample by its importance."""
        return np.asarray((self.inputs * self.importance[:, None]).T @ self.inputs, np.float32)


def correction_gradient(weights: npt.NDArray[np.float32], lesson: Lesson, decay: float) -> npt.NDArray[np.float32]:
    """Gradient, with respect to the weights, of the corrected logits' summed cross-entropy and the ridge penalty.

    The loss is ``sum(-importance * log softmax(logits + inputs @ weights.T)[target]) + decay / 2 * sum(weights**2)``.

    Parameters
    ----------
    weights : ndarray, shape (C, P + 1)
    lesson : Lesson
    decay : float
    """
    residual = softmax(lesson.logits + lesson.inputs @ weights.T)
    residual[np.arange(len(lesson.targets)), lesson.targets] -= 1
    return (residual * lesson.importance[:, None]).T @ lesson.inputs + np.float32(decay) * weights


def fit_local_expert(lesson: Lesson) -> npt.NDArray[np.float32]:
    """Train the correction: multinomial logistic regression on top of the frozen logits.

    Gradient descent in small batches, in place: a microcontroller needs memory for the weights alone. The steps shrink
    as 1 / (1 + epoch / SLOWER), and the order is a fixed one that keeps like samples apart (see `order_of`). It ends
    near the optimum, not at it: of what a solver takes off the loss, with samples of five writers of writers_small.npz,
    it takes off 91 to 99.9 %, and 98 % in the middle case.

    Returns
    -------
    ndarray of float32, shape (C, P + 1)
    """
    n, given = len(lesson.targets), lesson.given
    weights = np.zeros((lesson.logits.shape[1], lesson.inputs.shape[1]), np.float32)
    length = float(lesson.importance @ (lesson.inputs**2).sum(axis=1)) / float(lesson.importance.sum())
    order = order_of(n)
    for epoch in range(EPOCHS):
        step = np.float32(STRIDE / length / (1 + epoch / SLOWER))
        for start in range(0, n, BATCH):
            rows = order[start : start + BATCH]
            inputs = lesson.inputs[rows]
            residual = softmax(lesson.logits[rows] + inputs @ weights.T)
            residual[np.arange(len(rows)), lesson.targets[rows]] -= 1
            residual *= (step * lesson.importance[rows])[:, None]
            kept = 1 - step * np.float32(DECAY * len(rows) / n)
            weights = kept * weights - given * (residual.T @ inputs)
    return weights


def order_of(n: int) -> npt.NDArray[np.int64]:
    """Return 0 to n - 1 in steps of the golden section, which spreads any run of neighbours evenly (Knuth, 6.4)."""
    stride = max(1, round(n * 0.618034))
    while math.gcd(stride, n) > 1:
        stride += 1
    return np.arange(n) * stride % n


def settle(
    weights: npt.NDArray[np.float32], lesson: Lesson, bits: int, steps: int = ROUNDING_STEPS
) -> npt.NDArray[np.float32]:
    """Move trained weights so that rounding them to a few bits raises the loss least.

    The gradient is taken at the rounded weights and applied to the exact ones (the straight-through estimator of
    Courbariaux, Bengio, David, "BinaryConnect", NeurIPS 2015, section 2); of all rounded weights on the way, those with
    the lowest loss are kept.

    Parameters
    ----------
    weights : ndarray of float32, shape (C, P + 1)
        From `fit_local_expert`, with the same lesson.
    lesson : Lesson
    bits : int, 2 to 8
    steps : int

    Returns
    -------
    ndarray of float32, shape (C, P + 1)
        Before rounding: where learning goes on from.
    """
    rows = np.arange(len(lesson.targets))
    step = np.float32(ROUNDING_STRIDE / lesson.curvature)
    best, lowest = weights, np.inf
    for _ in range(steps):
        values = quantize(weights, bits).values()
        likelihood = softmax(lesson.logits + lesson.inputs @ values.T)[rows, lesson.targets]
        fit = -float(lesson.importance @ np.log(np.maximum(likelihood, 1e-9)))
        loss = fit + DECAY / 2 * float((values**2).sum())
        if loss < lowest:
            best, lowest = weights, loss
        weights = weights - step * lesson.given * correction_gradient(values, lesson, DECAY)
    return best


def given_classes(classes: int, targets: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return 1 for each class that the user gave samples of, else 0, ``(C, 1)``."""
    given = np.zeros((classes, 1), np.float32)
    given[targets] = 1
    return given
