"""What the benchmark compares: ways to adapt a frozen global expert to one user."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgemoe.device.global_expert import GlobalExpert
from edgemoe.device.retention import Taps

__all__ = ["Adapted", "Characters", "Method"]


@dataclass(frozen=True)
class Characters:
    """Characters, and what the global expert says of them.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, 28, 28)
    labels : ndarray of int64, shape (n,)
        Class indices.
    taps : Taps
        The int8 expert's logits (n, C) and convolution features (n, F).
    hidden : ndarray of float32, shape (n, H)
        The float32 expert's last hidden layer, which no device keeps: what baselines of the literature read.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    taps: Taps
    hidden: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> "Characters":
        return Characters(self.images[rows], self.labels[rows], self.taps[rows], self.hidden[rows])


class Adapted(Protocol):
    """A recognizer after it has learnt from a user."""

    @property
    def bytes(self) -> int:
        """Bytes kept on the device for this user."""

    @property
    def macs(self) -> int:
        """MACs of one inference on top of the global expert's."""

    def predict(self, characters: Characters) -> npt.NDArray[np.int64]:
        """Return class indices ``(n,)``. Labels may not be looked at, except by a bound that says so."""


Method = Callable[[GlobalExpert, Characters, int], Adapted]
"""Takes the global expert, the user's samples and a seed."""
