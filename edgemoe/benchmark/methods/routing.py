"""The global expert as it is, and two ways to choose between it and our local expert without a trained gate."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.method import Characters
from edgemoe.benchmark.methods.mixture import Local, fit_local
from edgemoe.device.global_expert import GlobalExpert, softmax

__all__ = ["fit_global", "fit_oracle", "fit_threshold"]


@dataclass(frozen=True)
class Global:
    """The global expert: nothing is learnt, nothing is kept."""

    bytes: int = 0
    macs: int = 0

    def predict(self, characters: Characters) -> npt.NDArray[np.int64]:
        """Return class indices ``(n,)``."""
        answers: npt.NDArray[np.int64] = characters.taps.logits.argmax(axis=1)
        return answers


def fit_global(ge: GlobalExpert, user: Characters, seed: int) -> Global:
    """Learn nothing."""
    return Global()


@dataclass(frozen=True)
class Routed:
    """Our local expert, asked where the global expert is less sure than `threshold`; without one, where it is wrong."""

    local: Local
    threshold: float | None

    @property
    def bytes(self) -> int:
        """The local expert's; the threshold is everybody's and no user's."""
        return self.local.bytes

    @property
    def macs(self) -> int:
        """The local expert's, as if it ran on every input."""
        return self.local.macs

    def predict(self, characters: Characters) -> npt.NDArray[np.int64]:
        """Return class indices ``(n,)``; without a threshold, the labels are looked at."""
        logits = characters.taps.logits
        answers = logits.argmax(axis=1)
        if self.threshold is None:
            return np.where(answers == characters.labels, answers, self.local.predict(characters))
        kept = softmax(logits).max(axis=1) >= self.threshold
        return np.where(kept, answers, self.local.predict(characters))


def fit_threshold(ge: GlobalExpert, user: Characters, seed: int, *, threshold: float = 0.9) -> Routed:
    """Ask our local expert where the global expert's largest probability is below a threshold.

    The baseline of Hendrycks and Gimpel, "A baseline for detecting misclassified and out-of-distribution examples",
    arXiv 1610.02136 (2017), section 2. The threshold was chosen on writers_small.npz by edgemoe.benchmark.tune.
    """
    return Routed(fit_local(ge, user, seed), threshold)


def fit_oracle(ge: GlobalExpert, user: Characters, seed: int) -> Routed:
    """Ask whichever of the global and our local expert is right: a bound on every gate, which no device can reach."""
    return Routed(fit_local(ge, user, seed), None)
