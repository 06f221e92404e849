"""Sessions: the gate remembers who wrote the inputs before."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgemoe.device.gate import weigh
from edgemoe.device.retention import Taps

if TYPE_CHECKING:
    from edgemoe.device.mixture import MixtureOfExperts

__all__ = ["Session"]

SWITCH = 1 / 20  # probability that the next input is another person's: runs of 20 on average
CAUTION = 0.25  # share of the threshold that a session asks for; of 0, 1/4, 1/2, 3/4, 1, on writers_small.npz
EVIDENCE = 4.0  # log-odds that one input may add to a session's memory, so that no outlier flips it


class Session:
    """A mixture whose gate remembers: inputs come in runs from one person.

    A two-state hidden Markov model's forward filter over the gate's log-odds (Rabiner, "A tutorial on hidden Markov
    models", Proc. IEEE 77, 1989, section III.A). It is causal: an answer never depends on inputs that come later.
    """

    def __init__(self, mixture: "MixtureOfExperts") -> None:
        self._mixture = mixture
        self._user = 0.5  # probability that the person before was the user

    def route(self, images: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the gate's weight for each image in order, and remember them."""
        return self.weigh(self._mixture.ge.taps(images))

    def predict(self, images: npt.ArrayLike, reject: float = 0.0) -> npt.NDArray[np.str_]:
        """Return the labels of images in order, and remember them; `reject` is `MixtureOfExperts.predict`'s."""
        mixture = self._mixture
        taps = mixture.ge.taps(images)
        return mixture._labels(mixture._mix(taps, self.weigh(taps)), reject)

    def weigh(self, taps: Taps) -> npt.NDArray[np.float32]:
        """Return the gate's weight for what the global expert handed out of each image in order, and remember them."""
        mixture = self._mixture
        verdict = mixture._fitted().verdict
        if not verdict.accepted:
            return np.zeros(len(taps), np.float32)
        odds = mixture._folded().log_odds(taps)
        return weigh(np.array(list(self._filter(odds)), np.float32), CAUTION * verdict.threshold)

    def _filter(self, odds: npt.NDArray[np.float32]) -> Iterator[float]:
        """Yield the log-odds that the person is the user, all inputs so far considered.

        The acceptance test's threshold is no evidence about the person. It says how sure one has to be before the local
        expert is asked, so it is taken off what the memory says, and never goes into it. Only a part of it is: the
        memory itself keeps the gate closed in most of other people's runs.
        """
        for value in odds:
            before = self._user * (1 - SWITCH) + (1 - self._user) * SWITCH
            now = math.log(before / (1 - before)) + float(np.clip(value, -EVIDENCE, EVIDENCE))
            self._user = 1 / (1 + math.exp(-now))
            yield now
