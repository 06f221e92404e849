"""The trainer: accelerated gradient descent for the two convex problems that the device solves."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["descend", "largest_eigenvalue"]

Array = npt.NDArray[np.float32]


def descend(gradient: Callable[[Array], Array], start: Array, smoothness: float, steps: int) -> Array:
    """Minimize a smooth convex function by Nesterov's method, with a fixed step of 1 / smoothness.

    Momentum (k - 1) / (k + 2), and started afresh whenever it points uphill (O'Donoghue and Candes, "Adaptive restart
    for accelerated gradient schemes", 2015, section 3.2). No line search and no history: a microcontroller can do the
    same steps in the same order.

    Parameters
    ----------
    gradient : callable
        Takes an array like `start` and returns the gradient there.
    start : ndarray of float32
    smoothness : float
        A bound on the curvature (the gradient's Lipschitz constant).
    steps : int
    """
    point = ahead = start
    age = 1
    for _ in range(steps):
        slope = gradient(ahead)
        new = ahead - slope / np.float32(smoothness)
        if float(np.vdot(slope, new - point)) > 0:
            age = 1
        else:
            age += 1
        ahead = new + np.float32((age - 1) / (age + 2)) * (new - point)
        point = new
    return point


def largest_eigenvalue(matrix: Array, weights: Array, rounds: int = 20) -> float:
    """Return a close estimate of the largest eigenvalue of ``matrix.T @ diag(weights) @ matrix``.

    Power iteration (Golub and Van Loan, Matrix Computations, 7.3.1) from the mean and the longest row together, so that
    no symmetry hides the direction, with 5 % on top for what the rounds have not reached.
    """
    if not matrix.any():
        return 0.0
    heaviest = matrix[np.argmax(weights * (matrix**2).sum(axis=1))]
    vector = heaviest + weights @ matrix / weights.sum()
    value = 0.0
    for _ in range(rounds):
        length = np.linalg.norm(vector)
        if length == 0:
            break
        vector = vector / length
        vector = (weights * (matrix @ vector)) @ matrix
        value = float(np.linalg.norm(vector))
    return 1.05 * value
