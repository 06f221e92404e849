"""What other writers teach once for all users: where a local expert could start from, shipped with the global one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.experiments.samples import Bench, Sample
from edgemoe.device.local_expert import DECAY, Lesson, fit_local_expert, given_classes, with_bias
from edgemoe.device.quantized import quantize

__all__ = ["MakePrior", "Prior", "average_weights", "plain_lesson", "pooled_weights"]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prior:
    """A start for a local expert that reads the quarters.

    Attributes
    ----------
    center : ndarray of float32, shape (C, P + 1)
        Weights that the profile's are added to.
    shipped : int
        Bytes that the bundle grows by.
    """

    center: Array
    shipped: int


MakePrior = Callable[[Bench], Prior]


def plain_lesson(sample: Sample, decay: float = DECAY) -> Lesson:
    """Return a lesson of samples without copies; a stronger ridge penalty is a lower importance of them all."""
    return Lesson(
        with_bias(sample.read("quarters")),
        sample.taps.logits,
        sample.labels,
        np.full(len(sample), DECAY / decay, np.float32),
        given_classes(sample.taps.logits.shape[1], sample.labels),
    )


def average_weights(bits: int) -> MakePrior:
    """Start from the mean of the teachers' weights (Reptile's update at a learning rate of 1, with each task solved
    to the end: Nichol, Achiam, Schulman, arXiv 1803.02999, section 2), shipped in a few bits."""

    def make(bench: Bench) -> Prior:
        def fit() -> Array:
            taught = [fit_local_expert(plain_lesson(teacher)) for teacher in bench.teachers]
            return np.asarray(np.mean(taught, axis=0), np.float32)

        kept = quantize(bench.lessons.once("average", fit), bits)
        return Prior(kept.values(), kept.nbytes)

    return make


def pooled_weights(bits: int, rank: int | None = None, decay: float = 10.0) -> MakePrior:
    """Start from one correction fitted to all teachers' samples together, of low rank if asked."""

    def make(bench: Bench) -> Prior:
        weights = bench.lessons.once("pooled", lambda: fit_local_expert(plain_lesson(bench.lessons, decay)))
        if rank is None:
            kept = quantize(weights, bits)
            return Prior(kept.values(), kept.nbytes)
        left, values, right = np.linalg.svd(weights, full_matrices=False)
        root = np.sqrt(values[:rank])[:, None]
        first, second = quantize(left[:, :rank].T * root, bits), quantize(right[:rank] * root, bits)
        return Prior(first.values().T @ second.values(), first.nbytes + second.nbytes)

    return make
