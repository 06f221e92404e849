"""A gate trained by gradient descent against generic samples: what the product's discriminant is compared with."""

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.descent import descend
from edgemoe.device.eigenvalue import largest_eigenvalue
from edgemoe.device.gate import sigmoid
from edgemoe.device.quantized import quantize

__all__ = ["DECAY", "fit_logistic", "gate_gradient", "settle_logistic"]

DECAY = 10.0  # weight of the ridge penalty against one generic sample's cross-entropy; chosen on writers_small.npz
STEPS = 100
ROUNDING_STEPS = 40
ROUNDING_STRIDE = 4.0  # of a safe gradient step: shorter ones seldom carry a weight to its next code


def gate_gradient(
    weights: npt.NDArray[np.float32],
    inputs: npt.NDArray[np.float32],
    users: npt.NDArray[np.float32],
    importance: npt.NDArray[np.float32],
    decay: float,
) -> npt.NDArray[np.float32]:
    """Gradient of the weighted logistic loss and the ridge penalty, which leaves the bias free.

    The loss is ``sum(importance * (log(1 + exp(s)) - users * s)) + decay / 2 * sum(weights[:-1]**2)`` with
    ``s = inputs @ weights[:-1] + weights[-1]``.

    Parameters
    ----------
    weights : ndarray, shape (F + 1,)
        The bias last.
    inputs : ndarray, shape (n, F)
    users : ndarray, shape (n,)
        1 for the user's samples, 0 for generic ones.
    importance : ndarray, shape (n,)
    decay : float
    """
    error = importance * (sigmoid(inputs @ weights[:-1] + weights[-1]) - users)
    return np.concatenate([error @ inputs + np.float32(decay) * weights[:-1], error.sum(keepdims=True)])


def fit_logistic(
    user: npt.NDArray[np.float32], generic: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], float]:
    """Train the gate to tell the user's samples from the retention set's, both sides weighing the same.

    Parameters
    ----------
    user : ndarray of float32, shape (n, F)
        Standardized features of the user's samples.
    generic : ndarray of float32, shape (m, F)
        Those of the retention set's training half.

    Returns
    -------
    weights : ndarray of float32, shape (F,)
    bias : float
    """
    inputs, users, importance = sides(user, generic)
    weights = descend(
        lambda w: gate_gradient(w, inputs, users, importance, DECAY),
        np.zeros(inputs.shape[1] + 1, np.float32),
        curvature(inputs, importance),
        STEPS,
    )
    return weights[:-1], float(weights[-1])


def settle_logistic(
    weights: npt.NDArray[np.float32],
    bias: float,
    user: npt.NDArray[np.float32],
    generic: npt.NDArray[np.float32],
    bits: int,
    steps: int = ROUNDING_STEPS,
) -> tuple[npt.NDArray[np.float32], float]:
    """Move a trained gate so that rounding its weights raises the loss least, as `local_expert.settle` does.

    Parameters
    ----------
    weights, bias
        From `fit_logistic`.
    user, generic
        As in `fit_logistic`.
    bits : int, 2 to 8
    steps : int

    Returns
    -------
    weights : ndarray of float32, shape (F,)
        Before rounding.
    bias : float
        The one that goes with the rounded weights.
    """
    inputs, users, importance = sides(user, generic)
    step = np.float32(ROUNDING_STRIDE / curvature(inputs, importance))
    exact: npt.NDArray[np.float32] = np.append(weights, np.float32(bias)).astype(np.float32)
    best, lowest = exact, np.inf
    for _ in range(steps):
        values = np.append(quantize(exact[None, :-1], bits).values(), exact[-1])
        odds = inputs @ values[:-1] + values[-1]
        fit = float(importance @ (np.logaddexp(np.float32(0), odds) - users * odds))
        loss = fit + DECAY / 2 * float((values[:-1] ** 2).sum())
        if loss < lowest:
            best, lowest = exact, loss
        exact = exact - step * gate_gradient(values, inputs, users, importance, DECAY)
    return best[:-1], float(best[-1])


def sides(
    user: npt.NDArray[np.float32], generic: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return inputs, who of them is the user's (1 or 0), and importances: both sides weigh the same."""
    users = np.repeat(np.array([1, 0], np.float32), [len(user), len(generic)])
    importance = np.where(users > 0, np.float32(0.5 * len(generic) / len(user)), np.float32(0.5))
    return np.concatenate([user, generic]), users, importance


def curvature(inputs: npt.NDArray[np.float32], importance: npt.NDArray[np.float32]) -> float:
    """Return a bound on the loss's curvature.

    The logistic loss curves at most by a quarter; the constant input of the bias adds the importances' sum.
    """
    return 0.25 * (largest_eigenvalue(inputs, importance) + float(importance.sum())) + DECAY
