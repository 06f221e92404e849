"""Drawing the samples to learn from."""

import numpy as np
import numpy.typing as npt

from edgemoe.errors import EdgemoeError

__all__ = ["draw_shots"]


def draw_shots(
    labels: npt.NDArray[np.str_], shots: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draw the samples to learn from at random, and leave at least half of each class untouched.

    Parameters
    ----------
    labels : ndarray of str, shape (n,)
    shots : int
        How many of each class, at most; never more than half of what there is.
    seed : int

    Returns
    -------
    chosen, rest : ndarray of int64
        Rows in ascending order.

    Raises
    ------
    EdgemoeError
        If no class has two samples.
    """
    rng = np.random.default_rng(seed)
    taken = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        order = rng.permutation(np.flatnonzero(labels == label))
        taken[order[: min(shots, len(order) // 2)]] = True
    if not taken.any():
        raise EdgemoeError("no class has two samples, one to learn from and one to leave")
    return np.flatnonzero(taken), np.flatnonzero(~taken)
