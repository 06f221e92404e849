"""What the gate and the local expert read: the global expert's convolution features, centred, scaled and pooled.

The constants are measured on the retention set, so they belong to the global expert and no profile keeps them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.device.retention import RetentionSet, Taps

__all__ = ["Standardizer"]


@dataclass(frozen=True)
class Standardizer:
    """Centres the features and brings them to unit scale.

    One scale for all, not one a feature: with the means folded into a bias, a microcontroller applies the quantized
    weights to the int8 network's own integers and scales once.

    Attributes
    ----------
    feature_map : tuple of int
        Channels, rows and columns of the features.
    feature_mean : ndarray of float32, shape (F,)
    pooled_mean : ndarray of float32, shape (P,)
    feature_scale, pooled_scale : float
    """

    feature_map: tuple[int, int, int]
    feature_mean: npt.NDArray[np.float32]
    pooled_mean: npt.NDArray[np.float32]
    feature_scale: float
    pooled_scale: float

    @classmethod
    def of(cls, retention: RetentionSet, feature_map: Sequence[int]) -> "Standardizer":
        """Measure the retention set."""
        channels, rows, columns = feature_map
        features = retention.taps().features
        pooled = pool(features, (channels, rows, columns))
        return cls(
            (channels, rows, columns),
            features.mean(axis=0),
            pooled.mean(axis=0),
            float(features.std(axis=0).mean()),
            float(pooled.std(axis=0).mean()),
        )

    def gate_inputs(self, taps: Taps) -> npt.NDArray[np.float32]:
        """Return what the gate reads: the features, ``(n, F)``."""
        inputs: npt.NDArray[np.float32] = taps.features - self.feature_mean
        inputs /= np.float32(self.feature_scale)
        return inputs

    def local_inputs(self, taps: Taps) -> npt.NDArray[np.float32]:
        """Return what the local expert reads: the features' means over four quarters of the image, ``(n, P)``."""
        return (pool(taps.features, self.feature_map) - self.pooled_mean) / np.float32(self.pooled_scale)


def pool(features: npt.NDArray[np.float32], feature_map: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Average each channel over the four quarters of its map, which share the middle row and column of an odd one.

    In trials on writers_small.npz a linear local expert removed more errors when it read this than when it read the
    global expert's last hidden layer, which has forgotten what tells one hand from another.

    Returns
    -------
    ndarray of float32, shape (n, P = 4 x channels)
        Channel by channel: top left, top right, bottom left, bottom right.
    """
    maps = features.reshape(-1, *feature_map)
    halves = [(slice(0, (size + 1) // 2), slice(size // 2, size)) for size in feature_map[1:]]
    quarters = [maps[:, :, rows, columns].mean(axis=(2, 3)) for rows in halves[0] for columns in halves[1]]
    pooled: npt.NDArray[np.float32] = np.stack(quarters, axis=2).reshape(len(features), 4 * feature_map[0])
    return pooled
