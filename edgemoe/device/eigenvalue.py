"""The largest eigenvalue of inputs' second moments: what bounds a loss's curvature, and so the length of a step."""

import numpy as np
import numpy.typing as npt

__all__ = ["largest_eigenvalue"]

Array = npt.NDArray[np.float32]


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
