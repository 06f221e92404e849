"""Accelerated gradient descent, for the convex problems of the methods that the mixture is compared with."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["descend"]

Array = npt.NDArray[np.float32]


def descend(gradient: Callable[[Array], Array], start: Array, smoothness: float, steps: int) -> Array:
    """Minimize a smooth convex function by Nesterov's method, with a fixed step of 1 / smoothness.

    Momentum (k - 1) / (k + 2), and started afresh whenever it points uphill (O'Donoghue and Candes, "Adaptive restart
    for accelerated gradient schemes", 2015, section 3.2). No line search and no history.

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
