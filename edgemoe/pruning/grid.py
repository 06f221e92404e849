"""A codebook's values as integers times one scale, which int8 weights are."""

import numpy as np
import numpy.typing as npt

__all__ = ["nearest_grid"]

SCALES = 1000  # tried for a codebook; four times as many bring the error down by less than a hundredth


def nearest_grid(
    values: npt.NDArray[np.floating], counts: npt.NDArray[np.int64], largest: int
) -> tuple[np.float32, npt.NDArray[np.float32]]:
    """Return the scale with which integers stand best for a codebook's values, and these integers.

    The largest value need not become the largest integer: the squared error is least with some smaller scale or larger
    one, of which many are tried, and the best is then the least-squares fit to its integers.

    Parameters
    ----------
    values : ndarray of float, shape (k,)
    counts : ndarray of int, shape (k,)
        How often each value occurs.
    largest : int
        What no integer exceeds in magnitude, 63 for weights of 7 bits.

    Returns
    -------
    (float32, ndarray of float32, shape (k,))
        Scale x integer is about the value. Values that lie on such a grid come back, to rounding.
    """
    high = np.abs(values).max()
    if not high:
        return np.float32(1), np.zeros(len(values), np.float32)
    scales = high / np.linspace(largest / 2, largest + 0.49, SCALES)[:, None]
    integers = np.rint(values / scales)
    best = integers[((values - scales * integers) ** 2 @ counts).argmin()]
    return np.float32(counts @ (values * best) / (counts @ (best * best))), best.astype(np.float32)
