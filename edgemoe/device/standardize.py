"""Scales of the features, from the retention set: constants of a global expert, so a profile need not keep them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.device.retention import RetentionSet, Taps

__all__ = ["Standardizer"]


@dataclass(frozen=True)
class Standardizer:
    """Centres the taps and brings them to unit scale.

    One scale a tap, not one a feature: with the mean folded into a bias, a microcontroller then applies the quantized
    weights to the int8 network's own integers and scales once.

    Attributes
    ----------
    hidden_mean : ndarray of float32, shape (H,)
    feature_mean : ndarray of float32, shape (F,)
    hidden_scale, feature_scale : float
    """

    hidden_mean: npt.NDArray[np.float32]
    feature_mean: npt.NDArray[np.float32]
    hidden_scale: float
    feature_scale: float

    @classmethod
    def of(cls, retention: RetentionSet) -> "Standardizer":
        """Measure the retention set."""
        taps = retention.taps()
        means = taps.hidden.mean(axis=0), taps.features.mean(axis=0)
        scales = (
            float(np.sqrt(((tap - m) ** 2).mean())) for tap, m in zip((taps.hidden, taps.features), means, strict=True)
        )
        return cls(*means, *scales)

    def hidden(self, taps: Taps) -> npt.NDArray[np.float32]:
        """Return what the local expert reads, ``(n, H)``."""
        return (taps.hidden - self.hidden_mean) / np.float32(self.hidden_scale)

    def features(self, taps: Taps) -> npt.NDArray[np.float32]:
        """Return what the gate reads, ``(n, F)``."""
        return (taps.features - self.feature_mean) / np.float32(self.feature_scale)
