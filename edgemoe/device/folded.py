"""Local expert and gate folded into one matrix, which reads the global expert's features as they are.

Both are linear in the convolution features, and so are centring, scaling and pooling. With these taken into the
weights, an inference multiplies the features by the gate's column, and by the others if the gate opens. Training and
the acceptance test keep to the parts themselves.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgemoe.device.profile import Profile
from edgemoe.device.retention import Taps
from edgemoe.device.standardize import Standardizer
from edgemoe.device.statistics import pool

__all__ = ["Folded", "fold"]


@dataclass(frozen=True)
class Folded:
    """Corrections and the gate's log-odds as a linear function of the features: ``codes * scales`` and a bias.

    Attributes
    ----------
    codes : ndarray of int16, shape (F, C + S + 1)
        One column a class, then one a spare symbol; the last column is the gate's.
    scales : ndarray of float64, shape (C + S + 1,)
        0 where all codes are, as of a class without corrections.
    bias : ndarray of float64, shape (C + S + 1,)
    taught : ndarray of bool, shape (S,)
        Which of the spare symbols were taught.
    """

    codes: npt.NDArray[np.int16]
    scales: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    taught: npt.NDArray[np.bool_]

    def log_odds(self, taps: Taps) -> npt.NDArray[np.float32]:
        """Return `Gate.log_odds` ``(n,)``: an image's are the same bits in any batch, which sessions count on."""
        _, _, weights, bias = self._parts
        return np.asarray(taps.features @ weights + bias)

    def correct(self, taps: Taps) -> npt.NDArray[np.float32]:
        """Return `LocalExpert.correct` ``(n, C + S)``, spare symbols without `symbols.lift`."""
        weights, bias, _, _ = self._parts
        return np.asarray(taps.features @ weights + bias)

    @cached_property
    def _parts(self) -> tuple[npt.NDArray[np.float32], ...]:
        """The local expert's columns and biases and the gate's, in single precision, each in one piece of memory."""
        weights = np.asarray(self.codes * self.scales, np.float32, order="F")
        bias = self.bias.astype(np.float32)
        return weights[:, :-1], bias[:-1], weights[:, -1], bias[-1]


def fold(profile: Profile, standardizer: Standardizer) -> Folded:
    """Fold centring, scaling and pooling into a profile's weights; no code is lost by it."""
    local, gate = profile.local.weights, profile.gate.weights
    channels, rows, columns = standardizer.feature_map
    means = pool(np.eye(rows * columns, dtype=np.float32), (1, rows, columns))
    size = round(1 / float(means.max()))  # features in a quarter: all quarters have as many
    codes = local.codes[:, :-1].astype(np.float64)
    spread = codes.reshape(-1, channels, 4) @ (means > 0).T.astype(np.float64)
    local_scales = np.broadcast_to(local.scales.astype(np.float64), len(codes))
    gate_scales = gate.scales.astype(np.float64) / standardizer.feature_scale
    centre = codes @ standardizer.pooled_mean.astype(np.float64) / standardizer.pooled_scale
    gate_centre = gate_scales * (gate.codes @ standardizer.feature_mean.astype(np.float64))
    return Folded(
        np.concatenate([spread.reshape(len(codes), -1), gate.codes]).T.astype(np.int16),
        np.concatenate([local_scales / (size * standardizer.pooled_scale), gate_scales]),
        np.concatenate([local_scales * (local.codes[:, -1] - centre), profile.gate.bias - gate_centre]),
        profile.local.taught,
    )
