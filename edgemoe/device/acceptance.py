"""The acceptance test: the gate's threshold is raised until generic accuracy holds, or the mixture is declined."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgemoe.device.gate import weigh
from edgemoe.device.global_expert import softmax
from edgemoe.device.session import SWITCH

__all__ = ["Trial", "Verdict", "accept", "confidence_within", "mix"]

ENOUGH = 20  # user samples from which on the user side is judged too
RECOGNIZED = 0.2  # the least share of his samples that an expert reads of any writer; the worst of 160 real ones: 0.45
CERTAIN = 0.99  # confidence in the user's gain that is asked for where fewer are recognized
REMEMBERED = math.log((1 - SWITCH) / SWITCH)  # log-odds that a session adds once it is sure of the user
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
    def _changeable(
        self,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Both experts' probabilities, log-odds and labels of the samples whose answer the mixture may change.

        These are the ones that the gate may open for at the lowest threshold, and whose experts do not agree.
        """
        rows = np.flatnonzero(weigh(self.log_odds, float(THRESHOLDS[0])) > 0)
        rows = rows[self.logits[rows].argmax(1) != (self.logits[rows] + self.correction[rows]).argmax(1)]
        logits = self.logits[rows]
        return softmax(logits), softmax(logits + self.correction[rows]), self.log_odds[rows], self.labels[rows]

    def turned(self, threshold: float) -> tuple[int, int]:
        """Return how many answers turn wrong and how many turn right, mixture against global expert.

        Parameters
        ----------
        threshold : float, at least `THRESHOLDS`' lowest
        """
        first, second, log_odds, labels = self._changeable
        before = first.argmax(1) == labels
        after = mix(first, second, weigh(log_odds, threshold)).argmax(1) == labels
        return int((before & ~after).sum()), int((after & ~before).sum())


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
        How many more samples would help, where no gain is seen; None if one is, or if none are known to.
    """

    accepted: bool
    threshold: float
    generic_loss: float
    user_gain: float | None
    confidence: float = 0.0
    wanted: int | None = None


def mix(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], gate: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Mix two experts' probabilities ``(n, C)`` by the gate's weight of the second ``(n,)``.

    The mixture of experts' own rule (Jacobs, Jordan, Nowlan, Hinton, "Adaptive mixtures of local experts", Neural
    Computation 3, 1991): the gate's weight is the probability that the second expert is the one to ask.
    """
    weight = gate[:, None]
    return (1 - weight) * first + weight * second


def accept(
    generic: Trial, user: Trial | None, budget: float, confidence: float = 0.9, recognized: float = 1.0
) -> Verdict:
    """Choose the threshold, or decline.

    A threshold is allowed if at it, and at every higher one, the generic loss is within the budget with the confidence
    asked for; the lowest one allowed is taken. Since they are tried from the highest down, and none after the first
    that fails, each may be tried at the full level (fixed-sequence testing: Angelopoulos et al., "Learn then test",
    arXiv 2110.01052, section 2.3).

    The user's held-out samples decline it where they show a loss with the same confidence, as they come or within a
    session, where the gate knows who wrote the ones before: by the exact one-sided sign test of the answers that turn
    (McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12, 1947). They are judged by parts that learnt from fewer samples than the user gave, and so
    underrate: of 160 fits to writers_small.npz, with an earlier gate, all eleven that showed no gain did gain. Where no
    loss is shown, the mixture is therefore taken on trust, unless the labels do not seem to be the images': see
    `RECOGNIZED`.

    Parameters
    ----------
    generic : Trial
        The retention set's held-out part.
    user : Trial or None
        The user's samples, each as parts trained without it see it.
    budget : float in [0, 1]
        The generic accuracy that may be lost.
    confidence : float in [0.5, 1)
        One-sided, over draws of other generic samples; 0.5 asks only that the held-out ones keep to the budget. The
        user's loss is shown with the same.
    recognized : float in [0, 1]
        The share of the user's samples that the global expert reads as labelled.
    """
    threshold, lost, gained, shown = math.nan, 0, 0, 0.0
    n = len(generic.labels)
    for candidate in map(float, THRESHOLDS[::-1]):
        wrong, right = generic.turned(candidate)
        found = confidence_within(wrong, right, n, budget)
        if found < confidence - 1e-9:
            break
        threshold, lost, gained, shown = candidate, wrong, right, found
    if math.isnan(threshold):  # a gate that is sure of the wrong inputs, or a retention set too small for the budget
        return Verdict(False, float(THRESHOLDS[-1]), 0.0, None)
    readable, gain, wanted = recognized >= RECOGNIZED, None, None
    accepted = readable
    if user is not None and len(user.labels) >= ENOUGH:
        alone, remembered = user.turned(threshold), user.turned(max(threshold - REMEMBERED, float(THRESHOLDS[0])))
        gain = (alone[1] - alone[0]) / len(user.labels)
        harmed = any(sign_test(right, wrong) >= confidence for wrong, right in (alone, remembered))
        wrong, right = alone if gain else remembered
        accepted = not harmed and (readable or sign_test(wrong, right) >= CERTAIN)
        wanted = samples_wanted(wrong, right, len(user.labels)) if readable and right <= wrong else None
    return Verdict(accepted, threshold, (lost - gained) / n if accepted else 0.0, gain, shown, wanted)


def confidence_within(wrong: int, right: int, n: int, budget: float) -> float:
    """Return the confidence that accuracy falls by less than a budget, of n paired answers some of which turned.

    One less the p-value of Tango's score test ("Equivalence test and confidence interval for the difference in
    proportions for the paired-sample design", Statistics in Medicine 17, 1998, section 2) of the hypothesis that it
    falls by the budget or more.

    Parameters
    ----------
    wrong, right : int
        How many answers turned wrong, and right.
    n : int
    budget : float in [0, 1]
    """
    # The share of answers that turn right is estimated under the hypothesis that `budget` more turn wrong.
    slope = (2 * n - wrong + right) * budget - wrong - right
    share = (math.sqrt(slope**2 + 8 * n * right * budget * (1 - budget)) - slope) / (4 * n)
    variance = n * (2 * share + budget * (1 - budget))
    excess = n * budget - (wrong - right)
    if variance <= 0:
        return 0.5 if excess <= 0 else 1.0
    return 0.5 * math.erfc(-excess / math.sqrt(2 * variance))


def sign_test(wrong: int, right: int) -> float:
    """Return the confidence that right answers are the likelier of those that turn (the sign test, one-sided)."""
    turned = wrong + right
    return math.fsum(math.comb(turned, k) / 2**turned for k in range(right))


def samples_wanted(wrong: int, right: int, n: int) -> int | None:
    """Return how many more samples it would take to see a gain, if the next ones are as those of now.

    Of those that turn right one more is assumed, among two more samples (Laplace's rule of succession): a user of whom
    nothing was misread so far may still be misread one day. Enough are wanted for two more to turn right than wrong.

    Returns
    -------
    int or None
        None if more are expected to turn wrong than right.
    """
    rate = (right + 1) * n - wrong * (n + 2)  # of answers gained a sample, times n (n + 2)
    return None if rate <= 0 else max(1, -(-2 * n * (n + 2) // rate) - n)
