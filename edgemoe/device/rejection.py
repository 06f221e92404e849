"""Rejection: what a mixture that may decline to answer reads, and how much of it rightly."""

import numpy as np
import numpy.typing as npt

__all__ = ["coverage_curve"]


def coverage_curve(
    confidence: npt.NDArray[np.float32], right: npt.NDArray[np.bool_], thresholds: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return what share is answered at each threshold of `reject`, and what share of that is right.

    The accuracy-rejection curve of Nadeem, Zucker, Hanczar, "Accuracy-rejection curves (ARCs) for comparing
    classification methods with a reject option", JMLR Workshop and Conference Proceedings 8, 2009.

    Parameters
    ----------
    confidence : ndarray of float32, shape (n,), in [0, 1]
        The probability of each answer.
    right : ndarray of bool, shape (n,)
        Whether it is the truth; never, for an input that is no character.
    thresholds : array_like, shape (t,), in [0, 1]

    Returns
    -------
    coverage : ndarray of float64, shape (t,)
    accuracy : ndarray of float64, shape (t,)
        nan where nothing is answered.
    """
    answered = confidence >= np.asarray(thresholds, np.float64)[:, None]
    counts = answered.sum(axis=1)
    hits = (answered & right).sum(axis=1)
    return counts / max(len(right), 1), np.where(counts > 0, hits / np.maximum(counts, 1), np.nan)
