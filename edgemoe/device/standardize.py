"""What the gate and the local expert read: the global expert's convolution features, centred, scaled and pooled.

The constants come from the generic statistics, so they belong to the global expert and no profile keeps them.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgemoe.device.retention import Taps
from edgemoe.device.statistics import Statistics, pool

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
    statistics : Statistics
        Of the features.
    """

    feature_map: tuple[int, int, int]
    statistics: Statistics

    @property
    def feature_mean(self) -> npt.NDArray[np.float32]:
        """The features' means ``(F,)``."""
        return self.statistics.mean

    @cached_property
    def pooled_mean(self) -> npt.NDArray[np.float32]:
        """The means ``(P,)`` of what the local expert reads."""
        mean: npt.NDArray[np.float32] = pool(self.feature_mean[None], self.feature_map)[0]
        return mean

    @property
    def feature_scale(self) -> float:
        """The features' standard deviation, on average."""
        return self.statistics.feature_scale

    @property
    def pooled_scale(self) -> float:
        """The same of what the local expert reads."""
        return self.statistics.pooled_scale

    @cached_property
    def precision(self) -> npt.NDArray[np.float32]:
        """The inverse covariance ``(F, F)`` of the gate's inputs."""
        precision: npt.NDArray[np.float32] = self.statistics.inverse * np.float32(self.feature_scale**2)
        return precision

    def gate_inputs(self, taps: Taps) -> npt.NDArray[np.float32]:
        """Return what the gate reads: the features, ``(n, F)``."""
        inputs: npt.NDArray[np.float32] = taps.features - self.feature_mean
        inputs /= np.float32(self.feature_scale)
        return inputs

    def local_inputs(self, taps: Taps) -> npt.NDArray[np.float32]:
        """Return what the local expert reads: the features' means over four quarters of the image, ``(n, P)``."""
        return (pool(taps.features, self.feature_map) - self.pooled_mean) / np.float32(self.pooled_scale)
