"""Ours: the local expert alone, and the mixture in both sizes and both ways of routing.

`bytes` is the profile's, header and checksum included; `macs` are those that `edgemoe.accounting.parts` counts, as if
the local expert ran on every input.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.accounting.parts import profile_parts
from edgemoe.benchmark.method import Characters
from edgemoe.device.global_expert import GlobalExpert
from edgemoe.device.personalizer import Personalizer
from edgemoe.device.profile import Profile

__all__ = ["Local", "Mixture", "fit_local", "fit_mixture"]


def indices(ge: GlobalExpert, labels: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """Return the class indices of labels that the global expert knows."""
    index = {label: i for i, label in enumerate(ge.classes)}
    return np.array([index[label] for label in labels], np.int64)


def personalized(ge: GlobalExpert, user: Characters, seed: int, size: str) -> Personalizer:
    """Fit our mixture on the user's images, as an application would."""
    return Personalizer(ge, size=size, seed=seed).fit(user.images, np.array(list(ge.classes))[user.labels])


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture; with `stream`, the characters are one session's inputs in order, and each call is a new one."""

    moe: Personalizer
    stream: bool

    @property
    def profile(self) -> Profile:
        """What was learnt, with the acceptance test's verdict."""
        return self.moe.profile

    @property
    def bytes(self) -> int:
        """The profile's size."""
        return len(self.moe.profile.to_bytes())

    @property
    def macs(self) -> int:
        """Those of the local expert and the gate."""
        return sum(part.macs for part in profile_parts(self.moe.profile))

    def predict(self, characters: Characters) -> npt.NDArray[np.int64]:
        """Return class indices ``(n,)``."""
        if self.stream:
            return indices(self.moe.ge, self.moe.session().predict(characters.images))
        return indices(self.moe.ge, self.moe.explain_taps(characters.taps).labels)


def fit_mixture(ge: GlobalExpert, user: Characters, seed: int, *, size: str, stream: bool) -> Mixture:
    """Train the mixture in one of the Personalizer's sizes, routed by sample or by session."""
    return Mixture(personalized(ge, user, seed, size), stream)


@dataclass(frozen=True)
class Local:
    """Our local expert without the gate; `moe` is the mixture that it was trained in."""

    moe: Personalizer

    @property
    def bytes(self) -> int:
        """The profile's size without the gate."""
        return len(self.moe.profile.to_bytes()) - profile_parts(self.moe.profile)[1].bytes

    @property
    def macs(self) -> int:
        """Those of the local expert."""
        return profile_parts(self.moe.profile)[0].macs

    def predict(self, characters: Characters) -> npt.NDArray[np.int64]:
        """Return class indices ``(n,)``."""
        return indices(self.moe.ge, self.moe.explain_taps(characters.taps).local_labels)


def fit_local(ge: GlobalExpert, user: Characters, seed: int) -> Local:
    """Train our local expert, in the compact size, to answer alone."""
    return Local(personalized(ge, user, seed, "compact"))
