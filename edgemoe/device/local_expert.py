"""The local expert: a linear correction of the global expert's logits, read from its last hidden layer."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.device.descent import descend, largest_eigenvalue
from edgemoe.device.global_expert import softmax
from edgemoe.device.quantized import QuantizedMatrix

__all__ = ["LocalExpert", "correction_gradient", "fit_local_expert", "with_bias"]

DECAY = 1.0  # weight of the ridge penalty against one sample's cross-entropy; chosen on writers_small.npz
STEPS = 150


@dataclass(frozen=True)
class LocalExpert:
    """What the user's own characters taught.

    Attributes
    ----------
    weights : QuantizedMatrix, shape (C, H + 1)
        One row a class; the last column is the bias.
    """

    weights: QuantizedMatrix

    def correct(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return what to add to the logits ``(n, C)``, from standardized hidden activations ``(n, H)``."""
        return with_bias(inputs) @ self.weights.values().T


def with_bias(inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Append the constant input 1 that a bias reads."""
    return np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], axis=1)


def correction_gradient(
    weights: npt.NDArray[np.float32],
    inputs: npt.NDArray[np.float32],
    logits: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    decay: float,
) -> npt.NDArray[np.float32]:
    """Gradient, with respect to the weights, of the corrected logits' summed cross-entropy and the ridge penalty.

    The loss is ``sum(-log softmax(logits + inputs @ weights.T)[target]) + decay / 2 * sum(weights**2)``.

    Parameters
    ----------
    weights : ndarray, shape (C, H + 1)
    inputs : ndarray, shape (n, H + 1)
        With the bias's constant.
    logits : ndarray, shape (n, C)
        The global expert's.
    targets : ndarray of int64, shape (n,)
    decay : float
    """
    residual = softmax(logits + inputs @ weights.T)
    residual[np.arange(len(targets)), targets] -= 1
    return residual.T @ inputs + np.float32(decay) * weights


def fit_local_expert(
    inputs: npt.NDArray[np.float32],
    logits: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
) -> npt.NDArray[np.float32]:
    """Train the correction on the user's samples: multinomial logistic regression on top of the frozen logits.

    Classes that the user gave no sample of are left uncorrected.

    Parameters
    ----------
    inputs : ndarray of float32, shape (n, H)
        Standardized hidden activations.
    logits : ndarray of float32, shape (n, C)
    targets : ndarray of int64, shape (n,)
        Class indices.

    Returns
    -------
    ndarray of float32, shape (C, H + 1)
    """
    matrix = with_bias(inputs)
    given = np.zeros((logits.shape[1], 1), np.float32)
    given[targets] = 1
    # The Hessian of the cross-entropy is at most half of the inputs' second moments (Boehning, "Multinomial logistic
    # regression algorithm", 1992).
    smoothness = 0.5 * largest_eigenvalue(matrix, np.ones(len(matrix), np.float32)) + DECAY
    return descend(
        lambda weights: given * correction_gradient(weights, matrix, logits, targets, DECAY),
        np.zeros((logits.shape[1], matrix.shape[1]), np.float32),
        smoothness,
        STEPS,
    )
