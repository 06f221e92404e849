"""Methods that store features and compare: the nearest class mean, and nearest neighbours beside the global expert.

They keep one byte a feature and one a label, as if int8 lost no accuracy; distances are measured in float32. A distance
costs one MAC a feature: the inner product, the squared lengths of what is stored being known.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.method import Characters
from edgemoe.benchmark.methods.features import read
from edgemoe.device.global_expert import GlobalExpert, softmax

__all__ = ["fit_knn_per", "fit_nearest_mean"]

Array = npt.NDArray[np.float32]


def squared_distances(queries: Array, stored: Array) -> Array:
    """Return the squared Euclidean distances ``(n, m)`` of ``(n, F)`` from ``(m, F)``."""
    lengths = (queries**2).sum(axis=1)[:, None] + (stored**2).sum(axis=1)
    result: Array = np.maximum(lengths - 2 * queries @ stored.T, 0)
    return result


@dataclass(frozen=True)
class Stored:
    """Features that were stored, with their class indices; a subclass says how they answer."""

    ge: GlobalExpert
    features: str
    unit: bool
    points: Array
    labels: npt.NDArray[np.int64]

    @property
    def bytes(self) -> int:
        """Every feature and every label."""
        return self.points.size + len(self.labels)

    @property
    def macs(self) -> int:
        """One distance to each point."""
        return self.points.size

    def distances(self, characters: Characters) -> Array:
        """Return the squared distance of every character from every point, ``(n, m)``."""
        return squared_distances(read(self.ge, characters, self.features, self.unit), self.points)


class NearestMean(Stored):
    """One mean a class that the user gave."""

    def predict(self, characters: Characters) -> npt.NDArray[np.int64]:
        """Return class indices ``(n,)``."""
        answers: npt.NDArray[np.int64] = self.labels[self.distances(characters).argmin(axis=1)]
        return answers


def fit_nearest_mean(
    ge: GlobalExpert, user: Characters, seed: int, *, features: str = "hidden", unit: bool = True
) -> NearestMean:
    """Answer with the class whose mean over the user's samples is nearest; a class without samples is never answered.

    Prototypes on a frozen encoder, as in Snell, Swersky, Zemel, "Prototypical networks for few-shot learning", NeurIPS
    2017, section 2.2. Which features, and whether they are brought to unit length, was chosen on writers_small.npz by
    edgemoe.benchmark.tune.
    """
    values = read(ge, user, features, unit)
    classes = np.unique(user.labels)
    means = np.stack([values[user.labels == label].mean(axis=0) for label in classes])
    return NearestMean(ge, features, unit, means, classes)


@dataclass(frozen=True)
class KNNPer(Stored):
    """All samples, and how their vote is weighed."""

    neighbours: int
    width: float
    share: float

    def predict(self, characters: Characters) -> npt.NDArray[np.int64]:
        """Return class indices ``(n,)``."""
        squares = self.distances(characters)
        nearest = np.argpartition(squares, self.neighbours - 1, axis=1)[:, : self.neighbours]
        far = np.sqrt(np.take_along_axis(squares, nearest, axis=1))
        votes = np.zeros_like(characters.taps.logits)
        weights = softmax((-far / self.width).astype(np.float32))
        np.add.at(votes, (np.arange(len(votes))[:, None], self.labels[nearest]), weights)
        mixture = (1 - self.share) * softmax(characters.taps.logits) + self.share * votes
        answers: npt.NDArray[np.int64] = mixture.argmax(axis=1)
        return answers


def fit_knn_per(
    ge: GlobalExpert,
    user: Characters,
    seed: int,
    *,
    features: str = "convolution",
    unit: bool = True,
    neighbours: int = 50,
    width: float = 0.1,
    share: float = 0.5,
) -> KNNPer:
    """Mix the global expert's probabilities with a vote of the nearest stored samples.

    Marfoq, Neglia, Vidal, Kameni, "Personalized federated learning through local memorization", arXiv 2111.09360
    (2022), section 3: ``share * kNN + (1 - share) * global``, where a neighbour's vote falls exponentially with its
    distance, here in units of `width` times the samples' root mean square distance from their mean. The parameters were
    chosen on writers_small.npz by edgemoe.benchmark.tune, one set for all writers.
    """
    points = read(ge, user, features, unit)
    spread = float(np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean()))
    return KNNPer(ge, features, unit, points, user.labels, min(neighbours, len(user)), width * max(spread, 1e-9), share)
