"""The global expert as the firmware computes it: what C is compared with, and what it trains with."""

from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgemoe.device.global_expert import GlobalExpert, as_images
from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.device.profile import Profile
from edgemoe.device.retention import RetentionSet, Taps
from firmware_export.layers import Network
from firmware_export.network import read_network
from firmware_export.reference import run_network

__all__ = ["IntegerExpert"]


class IntegerExpert(GlobalExpert):
    """A global expert whose network runs in the firmware's integers, with the part of its retention set kept there.

    Parameters
    ----------
    ge : GlobalExpert
    retained : int
        Samples of its retention set that the device keeps: the first ones, drawn at random as they all are.
    """

    def __init__(self, ge: GlobalExpert, retained: int) -> None:
        whole = ge.retention
        kept = RetentionSet(
            {tap: codes[:retained] for tap, codes in whole.codes.items()}, whole.scales, whole.zeros,
            whole.labels[:retained],
        )  # fmt: skip
        super().__init__(replace(ge.bundle, retention=kept), "int8")

    @cached_property
    def network(self) -> Network:
        """Its layers."""
        return read_network(self.graph)

    def codes(self, images: npt.ArrayLike) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Return the codes of features ``(n, F)`` and logits ``(n, C)`` of images ``(n, 28, 28)``."""
        return run_network(self.network, as_images(images))

    def taps(self, images: npt.ArrayLike) -> Taps:
        """Run the integers on uint8 images ``(n, 28, 28)``."""
        features, logits = (part.astype(np.float32) for part in self.codes(images))
        zero = np.float32(self.network.dense[-1].zero)
        return Taps(
            np.float32(self.network.logit_step) * (logits - zero), np.float32(self.network.feature_step) * features
        )

    def answers(self, images: npt.ArrayLike, profile: Profile | None) -> npt.NDArray[np.int64]:
        """Return the class index of each image's answer ``(n,)``; spare symbols follow the classes."""
        if profile is None:
            return np.asarray(self.codes(images)[1].argmax(axis=1))
        return np.asarray(MixtureOfExperts(self, profile).predict_proba(images).argmax(axis=1))
