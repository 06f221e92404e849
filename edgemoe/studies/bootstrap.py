"""How sure a difference between two networks is that were tried on the same images."""

import numpy as np
import numpy.typing as npt

__all__ = ["paired_interval"]

RESAMPLES = 2000


def paired_interval(gains: npt.NDArray[np.float64]) -> list[float]:
    """Return mean and 95 % bootstrap interval of paired differences.

    Efron and Tibshirani, "An introduction to the bootstrap" (1993), section 13.3: the percentile interval.

    Parameters
    ----------
    gains : ndarray of float64, shape (n,)
        For each image 1 where the first network alone is right, -1 where the other is, and 0 else.

    Returns
    -------
    list of float
        Mean, lower and upper end, to five places.
    """
    rng = np.random.default_rng(0)
    means = [gains[rng.integers(0, len(gains), len(gains))].mean() for _ in range(RESAMPLES)]
    return [round(float(x), 5) for x in (gains.mean(), *np.quantile(means, (0.025, 0.975)))]
