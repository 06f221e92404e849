"""What other writers teach once for all users: priors that would ship with the global expert."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.experiments.samples import Bench
from edgemoe.benchmark.experiments.training import Correction, Logistic
from edgemoe.device.gate import DECAY as GATE_DECAY
from edgemoe.device.local_expert import with_bias
from edgemoe.device.quantized import QuantizedMatrix, quantize

__all__ = [
    "MakePrior",
    "Prior",
    "average_gate",
    "average_weights",
    "class_spread",
    "input_spread",
    "no_prior",
    "plain_correction",
    "pooled_weights",
    "teach",
]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prior:
    """A Gaussian prior of a local expert's weights.

    Attributes
    ----------
    center : ndarray of float32, shape (C, P + 1)
    decay : ndarray of float32, shape (C, P + 1) or (1, 1)
        Precision, as a multiple of the experiment's own.
    unit : ndarray of float32, shape (1, P + 1)
        In which the weights of each input are rounded.
    shipped : int
        Bytes that the bundle grows by.
    """

    center: Array
    decay: Array
    unit: Array
    shipped: int


MakePrior = Callable[[Bench, str], Prior]

_MEMORY: dict[tuple[int, str, str], Array] = {}


def _once(bench: Bench, what: str, view: str, make: Callable[[], Array]) -> Array:
    """Learn from the teachers once a run."""
    key = id(bench), what, view
    if key not in _MEMORY:
        _MEMORY[key] = make()
    return _MEMORY[key]


def plain_correction(matrix: Array, logits: Array, labels: npt.NDArray[np.int64], decay: float = 1.0) -> Correction:
    """Return the product's own problem: no prior knowledge, every sample weighing the same."""
    trained = np.zeros((logits.shape[1], 1), np.float32)
    trained[labels] = 1
    return Correction(
        matrix,
        logits,
        np.eye(logits.shape[1], dtype=np.float32)[labels],
        np.ones(len(labels), np.float32),
        trained,
        np.zeros((logits.shape[1], matrix.shape[1]), np.float32),
        np.full((1, 1), decay, np.float32),
    )


def teach(bench: Bench, view: str) -> Array:
    """Return the weights that each teacher's own samples lead to, ``(teachers, C, P + 1)``."""

    def fits() -> Array:
        return np.stack(
            [plain_correction(with_bias(s.read(view)), s.taps.logits, s.labels).fit() for s in bench.teachers]
        )

    return _once(bench, "weights", view, fits)


def _shape(bench: Bench, view: str) -> tuple[int, int]:
    return len(bench.ge.classes), bench.retained.read(view).shape[1] + 1


def no_prior(bench: Bench, view: str) -> Prior:
    """Return zero, with the same precision for every weight."""
    classes, inputs = _shape(bench, view)
    one = np.ones((1, inputs), np.float32)
    return Prior(np.zeros((classes, inputs), np.float32), one[:, :1], one, 0)


def average_weights(bits: int) -> MakePrior:
    """Start from the mean of the teachers' weights (Reptile's update at a learning rate of 1, with each task solved
    to the end: Nichol, Achiam, Schulman, arXiv 1803.02999, section 2), shipped in a few bits."""

    def make(bench: Bench, view: str) -> Prior:
        return _around(bench, view, quantize(teach(bench, view).mean(axis=0), bits))

    return make


def pooled_weights(bits: int, decay: float = 10.0, rank: int | None = None) -> MakePrior:
    """Start from one correction fitted to all teachers' samples together, of low rank if asked."""

    def make(bench: Bench, view: str) -> Prior:
        def fit() -> Array:
            lessons = bench.lessons
            return plain_correction(with_bias(lessons.read(view)), lessons.taps.logits, lessons.labels, decay).fit()

        weights = _once(bench, f"pooled {decay}", view, fit)
        if rank is None:
            return _around(bench, view, quantize(weights, bits))
        left, values, right = np.linalg.svd(weights, full_matrices=False)
        root = np.sqrt(values[:rank])[:, None]
        first, second = quantize(left[:, :rank].T * root, bits), quantize(right[:rank] * root, bits)
        flat = no_prior(bench, view)
        return Prior(first.values().T @ second.values(), flat.decay, flat.unit, first.nbytes + second.nbytes)

    return make


def _around(bench: Bench, view: str, center: QuantizedMatrix) -> Prior:
    flat = no_prior(bench, view)
    return Prior(center.values(), flat.decay, flat.unit, center.nbytes)


def input_spread(bench: Bench, view: str) -> Prior:
    """Expect of each input's weights the spread that teachers' have, and round in that unit: a byte an input."""
    spread = np.sqrt((teach(bench, view) ** 2).mean(axis=(0, 1)))[None]
    unit = spread / np.sqrt((spread**2).mean())
    center = np.zeros(_shape(bench, view), np.float32)
    return Prior(center, (1 / unit**2).astype(np.float32), unit.astype(np.float32), spread.size)


def class_spread(bench: Bench, view: str) -> Prior:
    """Expect of each class's weights the spread that teachers' have: a byte a class."""
    spread = np.sqrt((teach(bench, view) ** 2).mean(axis=(0, 2)))[:, None]
    relative = spread / np.sqrt((spread**2).mean())
    flat = no_prior(bench, view)
    decay = np.broadcast_to(1 / np.maximum(relative, 0.2) ** 2, flat.center.shape).astype(np.float32)
    return Prior(flat.center, decay, flat.unit, spread.size)


def average_gate(bits: int) -> Callable[[Bench, str], tuple[Array, int]]:
    """Start the gate from one that tells all teachers from the retention set, shipped in a few bits."""

    def make(bench: Bench, view: str) -> tuple[Array, int]:
        def fit() -> Array:
            ours, theirs = bench.lessons.read(view), bench.retained.read(view)
            inputs = np.concatenate([ours, theirs])
            targets = np.repeat(np.array([1, 0], np.float32), [len(ours), len(theirs)])
            importance = np.where(targets > 0, 0.5 * len(theirs) / len(ours), 0.5).astype(np.float32)
            return Logistic(inputs, targets, importance, np.zeros(inputs.shape[1], np.float32), GATE_DECAY).fit()[:-1]

        kept = quantize(_once(bench, "gate", view, fit)[None], bits)
        return kept.values()[0], kept.nbytes

    return make
