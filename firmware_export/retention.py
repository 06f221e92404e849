"""The retention set as a microcontroller keeps it in flash."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.device.retention import RetentionSet
from edgemoe.errors import EdgemoeError
from firmware_export.layers import Network

__all__ = ["PackedRetention", "pack_retention", "samples_that_fit"]

_TOP = 15  # the largest code of 4 bits


@dataclass(frozen=True)
class PackedRetention:
    """Generic samples, with their features in 4 bits.

    Attributes
    ----------
    features : ndarray of uint8, shape (n, (F + 1) // 2)
        Two codes a byte, the first one in the lower half.
    logits : ndarray of uint8, shape (n, C)
        The network's codes.
    labels : ndarray of uint8, shape (n,)
        Class indices.
    step : int
        The network's steps in one of the features'.
    training : int
        How many of them, the first ones, the gate's log-odds are measured against; the others are held out.
    """

    features: npt.NDArray[np.uint8]
    logits: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    step: int
    training: int

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(self.labels)

    @property
    def nbytes(self) -> int:
        """Bytes of flash."""
        return self.features.nbytes + self.logits.nbytes + self.labels.nbytes

    def macros(self) -> dict[str, tuple[object, str]]:
        """Return what edgemoe_model.h has to define besides the counts, with a comment each."""
        return {"EM_RETAINED_STEP": (f"{self.step}u", "the network's steps in one of the retained features'")}

    def arrays(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Return the arrays of em_model.c, flat, by name."""
        return {
            "em_retained_features": self.features.ravel(),
            "em_retained_logits": self.logits.ravel(),
            "em_retained_labels": self.labels,
        }


def pack_retention(retention: RetentionSet, network: Network) -> PackedRetention:
    """Pack a retention set whose features have 4 bits, as `record_retention` makes it.

    Parameters
    ----------
    retention : RetentionSet
        All of it is kept; see `samples_that_fit`.
    network : Network
        The integer network whose codes it holds.

    Raises
    ------
    EdgemoeError
        If the logits are not this network's codes, the features have more than 4 bits, or their step is not a whole
        number of the network's.
    """
    step = retention.scales["features"] / network.feature_step
    if abs(step - round(step)) > 1e-4 or not 1 <= round(step) <= 255 // _TOP or retention.zeros["features"]:
        raise EdgemoeError(f"retention set: a step of its features is {step:.3f} of the network's, not 1 to 17 of them")
    if retention.codes["features"].max(initial=0) > _TOP:
        raise EdgemoeError("retention set: its features have more than 4 bits")
    zero = int(network.dense[-1].zero)
    if abs(retention.scales["logits"] / network.logit_step - 1) > 1e-6 or retention.zeros["logits"] != zero:
        raise EdgemoeError("retention set: its logits are not the network's codes")
    features = retention.codes["features"]
    pairs = np.pad(features, ((0, 0), (0, features.shape[1] % 2)))
    packed = (pairs[:, 0::2] | pairs[:, 1::2] << 4).astype(np.uint8)
    labels = retention.labels.astype(np.uint8)
    return PackedRetention(packed, retention.codes["logits"], labels, round(step), retention.training.stop)


def samples_that_fit(network: Network, flash: int) -> int:
    """Return how many samples of a retention set fit into so many bytes of flash."""
    return flash // ((network.features + 1) // 2 + network.classes + 1)
