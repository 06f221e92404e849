"""The acceptance test: the gate's threshold is raised until generic accuracy holds, or the mixture is declined."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgemoe.device.gate import weigh
from edgemoe.device.global_expert import softmax

__all__ = ["Trial", "Verdict", "accept", "blend"]

ENOUGH = 20  # user samples from which on the user side is judged too; below, chance alone decides
THRESHOLDS = np.arange(0, 12.25, 0.25, dtype=np.float32)
"""Log-odds, from the gate's own even odds to what no input reaches, in steps far finer than its error."""


@dataclass(frozen=True)
class Trial:
    """Samples that neither local expert nor gate was trained on, as the parts see them.

    Attributes
    ----------
    logits : ndarray of float32, shape (n, C)
        The global expert's.
    correction : ndarray of float32, shape (n, C)
        The local expert's.
    log_odds : ndarray of float32, shape (n,)
        The gate's, before any threshold.
    labels : ndarray of int, shape (n,)
        The true class indices.
    """

    logits: npt.NDArray[np.float32]
    correction: npt.NDArray[np.float32]
    log_odds: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    @cached_property
    def _experts(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Both experts' probabilities, which no threshold changes."""
        return softmax(self.logits), softmax(self.logits + self.correction)

    def gain(self, threshold: float) -> float:
        """Return the mixture's accuracy less the global expert's."""
        right = mix(*self._experts, weigh(self.log_odds, threshold)).argmax(1) == self.labels
        return float(right.mean() - (self.logits.argmax(1) == self.labels).mean())


@dataclass(frozen=True)
class Verdict:
    """What the acceptance test found.

    Attributes
    ----------
    accepted : bool
        False: the global expert answers alone.
    threshold : float
        Log-odds taken off the gate's.
    generic_loss : float
        Accuracy lost on held-out generic samples, in [-1, 1].
    user_gain : float or None
        Accuracy gained on held-out user samples; None if there were too few to tell.
    confidence : float
        With which the generic loss was shown to be within the budget, in [0, 1].
    wanted : int or None
        How many more samples would help, where the mixture is declined for want of gain; None if none are known to.
    """

    accepted: bool
    threshold: float
    generic_loss: float
    user_gain: float | None
    confidence: float = 0.0
    wanted: int | None = None


def blend(
    logits: npt.NDArray[np.float32], correction: npt.NDArray[np.float32], gate: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Mix the two experts' probabilities ``(n, C)`` by the gate's weight of the local expert ``(n,)``.

    The mixture of experts' own rule (Jacobs, Jordan, Nowlan, Hinton, "Adaptive mixtures of local experts", Neural
    Computation 3, 1991): the gate's weight is the probability that the local expert is the one to ask.
    """
    return mix(softmax(logits), softmax(logits + correction), gate)


def mix(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], gate: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Mix probabilities ``(n, C)`` by the weight ``(n,)`` of the second."""
    weight = gate[:, None]
    return (1 - weight) * first + weight * second


def accept(generic: Trial, user: Trial | None, budget: float) -> Verdict:
    """Choose the threshold, or decline.

    A threshold is allowed if at it, and at every higher one, the generic loss is within the budget; the lowest one
    allowed is taken. If the user's held-out samples then lose accuracy, the mixture is declined. The gain is
    underrated, since parts trained without some of the samples know less than those that are kept: an estimate of no
    gain is not held against the mixture.

    Parameters
    ----------
    generic : Trial
        The retention set's held-out half.
    user : Trial or None
        The user's samples, each as parts trained without it see it.
    budget : float in [0, 1]
        The generic accuracy that may be lost.
    """
    threshold, loss = float(THRESHOLDS[-1]), 0.0
    if -generic.gain(threshold) > budget + 1e-9:  # a gate that is sure of the wrong inputs
        return Verdict(False, threshold, 0.0, None)
    for candidate in THRESHOLDS[::-1]:
        found = -generic.gain(float(candidate))
        if found > budget + 1e-9:
            break
        threshold, loss = float(candidate), found
    if user is None or len(user.labels) < ENOUGH:
        return Verdict(True, threshold, loss, None)
    gain = user.gain(threshold)
    return Verdict(gain >= 0, threshold, loss if gain >= 0 else 0.0, gain)
