"""The retention set: quantized features of generic samples, shipped with a global expert.

The gate's log-odds are measured against its first eighth, and the mixture is tried on the rest, the held-out part. What
the gate learns is not in it: see `edgemoe.device.statistics`. It holds what the device side reads of the samples, as
integers of 8 bits or fewer; no image can be read back from it as such.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["RetentionSet", "Taps"]


@dataclass(frozen=True)
class Taps:
    """What a global expert says of n images, and the features that local expert and gate read.

    Attributes
    ----------
    logits : ndarray of float32, shape (n, C)
    features : ndarray of float32, shape (n, F)
        The pooled convolution features.
    """

    logits: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> "Taps":
        return Taps(self.logits[rows], self.features[rows])


@dataclass(frozen=True)
class RetentionSet:
    """Taps of generic samples as uint8 codes: value = scale x (code - zero).

    Attributes
    ----------
    codes : dict of str to ndarray of uint8
        For each tap, shape (n, C) or (n, F).
    scales, zeros : dict of str to float, and to int
    labels : ndarray of uint8, shape (n,)
        Class indices.
    """

    codes: dict[str, npt.NDArray[np.uint8]]
    scales: dict[str, float]
    zeros: dict[str, int]
    labels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def training(self) -> slice:
        """The rows that the gate's log-odds are measured against.

        An eighth: 200 samples serve the gate nearly as well as 1,000, while the acceptance test shows more with every
        one that it has.
        """
        return slice(0, len(self) // 8)

    @property
    def held_out(self) -> slice:
        """The rows that the mixture is tried on."""
        return slice(len(self) // 8, len(self))

    def taps(self, rows: slice = slice(None)) -> Taps:
        """Return the values: those that the global expert computed, as closely as the codes keep them."""
        values = {
            tap: np.float32(self.scales[tap]) * (codes[rows].astype(np.float32) - self.zeros[tap])
            for tap, codes in self.codes.items()
        }
        return Taps(**values)
