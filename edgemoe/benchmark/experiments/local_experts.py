"""Variants of the local expert: what it reads, how it is trained, what it is kept as."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.descent import descend
from edgemoe.benchmark.experiments.copies import copies_of
from edgemoe.benchmark.experiments.parts import Local, LocalFit
from edgemoe.benchmark.experiments.priors import MakePrior, plain_lesson
from edgemoe.benchmark.experiments.samples import Bench, Sample
from edgemoe.device.distort import COPIES
from edgemoe.device.eigenvalue import largest_eigenvalue
from edgemoe.device.global_expert import softmax
from edgemoe.device.local_expert import (
    DECAY,
    Lesson,
    fit_local_expert,
    given_classes,
    settle,
    with_bias,
)
from edgemoe.device.quantized import quantize
from edgemoe.device.training import teach

__all__ = ["Linear", "first_guesses", "low_rank", "normal", "product_local", "ridge"]

Array = npt.NDArray[np.float32]
USUAL = 128  # inputs: a view with more of them gets a stronger decay, for the correction to be as large beforehand


def product_weights(bench: Bench, support: Sample) -> tuple[Array, Lesson]:
    """Return the product's own weights before rounding, and what they were trained on."""

    def train() -> tuple[Array, Lesson]:
        lesson = teach(bench.ge, support.own, np.arange(len(support)))
        return fit_local_expert(lesson), lesson

    return support.once("weights", train)


def product_local(bits: int) -> LocalFit:
    """The product's own."""

    def fit(bench: Bench, support: Sample) -> Local:
        values = support.once(
            f"local {bits}", lambda: quantize(settle(*product_weights(bench, support), bits), bits).values()
        )
        return matrix_local(values, bits)

    return fit


def matrix_local(weights: Array, bits: int, shipped: int = 0) -> Local:
    """Return a linear local expert of weights ``(C, P + 1)``, already rounded to `bits`."""
    kept = quantize(weights, bits).nbytes
    return Local(lambda sample: with_bias(sample.read("quarters")) @ weights.T, kept, shipped)


@dataclass(frozen=True)
class Linear:
    """A linear correction; called with the bench and a user's samples, it returns a `Local`.

    Attributes
    ----------
    view : str
        What it reads; see `Sample.read`.
    bits : int
    settled : bool
        Round by the loss rather than plainly.
    decay : float
        The ridge penalty, for `USUAL` inputs.
    copies : int
        Distorted copies of each of the user's samples; all forms of a sample weigh 1 together.
    strength : float
        How distorted, against the product's.
    retention : float
        Weight of all generic samples together, with their own labels, against all of the user's.
    prior : callable or None
        Where other writers let it start from.
    confused : bool
        Correct only the classes of the user's samples that the global expert misreads, and what it reads instead.
    """

    view: str = "quarters"
    bits: int = 2
    settled: bool = True
    decay: float = DECAY
    copies: int = COPIES
    strength: float = 1.0
    retention: float = 0.0
    prior: MakePrior | None = None
    confused: bool = False

    def __call__(self, bench: Bench, support: Sample) -> Local:
        """Train it."""
        weights, lesson = support.once(replace(self, bits=0, settled=True), lambda: self._train(bench, support))
        if self.settled:
            weights = settle(weights, lesson, self.bits)
        kept = quantize(weights, self.bits)
        values, shipped = kept.values(), 0
        if self.prior is not None:
            start = self.prior(bench)
            values, shipped = start.center + values, start.shipped
        return Local(lambda sample: with_bias(sample.read(self.view)) @ values.T, kept.nbytes, shipped)

    def _train(self, bench: Bench, support: Sample) -> tuple[Array, Lesson]:
        lesson = self._lesson(bench, support)
        return fit_local_expert(lesson), lesson

    def _lesson(self, bench: Bench, support: Sample) -> Lesson:
        forms, copies = 1 + self.copies, copies_of(support, self.copies, self.strength)

        def with_copies(first: Array, others: Array) -> Array:
            together = [first[:, None], others.reshape(len(first), self.copies, first.shape[1])]
            return np.concatenate(together, axis=1).reshape(len(first) * forms, -1)

        inputs = with_copies(support.read(self.view), copies.read(self.view))
        logits = with_copies(support.taps.logits, copies.taps.logits)
        targets, importance = np.repeat(support.labels, forms), np.full(len(inputs), 1 / forms, np.float32)
        given = given_classes(logits.shape[1], targets)
        if self.confused:
            guesses = support.taps.logits.argmax(axis=1)
            wrong = guesses != support.labels
            given = given_classes(logits.shape[1], np.concatenate([guesses[wrong], support.labels[wrong]]))
        if self.retention:
            old = bench.retained
            inputs, logits = np.concatenate([inputs, old.read(self.view)]), np.concatenate([logits, old.taps.logits])
            share = np.full(len(old), self.retention * len(support) / len(old), np.float32)
            targets, importance = np.concatenate([targets, old.labels]), np.concatenate([importance, share])
        matrix = with_bias(inputs)
        if self.prior is not None:  # what is trained is the difference from it, on top of what it corrects
            logits = logits + matrix @ self.prior(bench).center.T
        # A stronger ridge penalty and a lower importance of all samples are one problem.
        decay = self.decay * max(1.0, inputs.shape[1] / USUAL)
        return Lesson(matrix, logits, targets, importance * np.float32(DECAY / decay), given)


def low_rank(rank: int, bits: int, rounds: int = 4) -> LocalFit:
    """Cut the trained weights to a rank by SVD, retrain both factors in turn, and round them.

    The right factor is rounded first, and the left one retrained on what is then read.
    """

    def fit(bench: Bench, support: Sample) -> Local:
        weights, lesson = product_weights(bench, support)
        left, values, right = np.linalg.svd(weights, full_matrices=False)
        root = np.sqrt(values[:rank])
        first = (left[:, :rank] * root).astype(np.float32)
        second = (right[:rank] * root[:, None]).astype(np.float32)
        rows = np.arange(len(lesson.targets))

        def residual(read: Array, first: Array) -> Array:
            lacking = softmax(lesson.logits + read @ first.T)
            lacking[rows, lesson.targets] -= 1
            return lacking * lesson.importance[:, None]

        # Half of each factor's squares is the penalty: at its minimum, the nuclear norm of their product.
        def refit_left(first: Array, second: Array, steps: int) -> Array:
            read = lesson.inputs @ second.T

            def slope(factor: Array) -> Array:
                return np.asarray(lesson.given * (residual(read, factor).T @ read + factor), np.float32)

            return descend(slope, first, 0.5 * largest_eigenvalue(read, lesson.importance) + 1, steps)

        def refit_right(first: Array, second: Array, steps: int) -> Array:
            def slope(factor: Array) -> Array:
                lacking = residual(lesson.inputs @ factor.T, first)
                return np.asarray((lacking @ first).T @ lesson.inputs + factor, np.float32)

            smooth = (lesson.curvature - DECAY) * float(np.linalg.norm(first, 2) ** 2) + 1
            return descend(slope, second, smooth, steps)

        for _ in range(rounds):
            first = refit_left(first, second, 30)
            second = refit_right(first, second, 30)
        kept = quantize(second, bits)
        columns = quantize(refit_left(first, kept.values(), 60), bits)
        product = columns.values() @ kept.values()
        return replace(matrix_local(product, bits), kept=kept.nbytes + columns.nbytes)

    return fit


def ridge(bits: int, decay: float, gain: float) -> LocalFit:
    """Regress what the global expert's probabilities lack on the inputs, in closed form."""

    def fit(bench: Bench, support: Sample) -> Local:
        lesson = plain_lesson(support)
        lacking = np.eye(lesson.logits.shape[1], dtype=np.float32)[lesson.targets] - softmax(lesson.logits)
        moments = lesson.moment + decay * np.eye(len(lesson.moment), dtype=np.float32)
        weights = gain * lesson.given * np.linalg.solve(moments, lesson.inputs.T @ lacking).T
        return matrix_local(quantize(weights.astype(np.float32), bits).values(), bits)

    return fit


def normal(bits: int, taught: bool = False, kappa: float = 5.0, sharpness: float = 0.3) -> LocalFit:
    """Classes as normal distributions of one covariance (LDA), whose means move towards the user's.

    The correction is the log-likelihood ratio of moved and generic means. Means and covariance are the retention set's,
    or, if `taught`, the covariance is that of the teachers' samples and ships.

    Parameters
    ----------
    bits : int
    taught : bool
    kappa : float
        How many user samples the generic mean is worth.
    sharpness : float
        What the ratio is multiplied by: inputs depend on each other more than the covariance says.
    """

    def fit(bench: Bench, support: Sample) -> Local:
        old, source = bench.retained, bench.lessons if taught else bench.retained
        classes, read = len(bench.ge.classes), support.read("quarters")
        means, _ = _class_means(old.read("quarters"), old.labels, classes)
        own, _ = _class_means(source.read("quarters"), source.labels, classes)
        spread = source.read("quarters") - own[source.labels]
        covariance = spread.T @ spread / len(spread)
        covariance += 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance), dtype=np.float32)
        mine, counts = _class_means(read, support.labels, classes)
        moved = (counts * mine + kappa * means) / (counts + kappa)
        inverse = np.linalg.inv(covariance)
        slopes = (moved - means) @ inverse
        biases = -0.5 * ((moved @ inverse) * moved - (means @ inverse) * means).sum(axis=1)
        weights = sharpness * np.where(counts > 0, np.column_stack([slopes, biases]), 0).astype(np.float32)
        shipped = len(covariance) * (len(covariance) + 1) // 2 if taught else 0  # a byte an entry
        return matrix_local(quantize(weights, bits).values(), bits, shipped)

    return fit


def _class_means(values: Array, labels: npt.NDArray[np.int64], classes: int) -> tuple[Array, Array]:
    members = np.eye(classes, dtype=np.float32)[labels]
    counts = members.sum(axis=0)[:, None]
    return members.T @ values / np.maximum(counts, 1), counts


def first_guesses(inner: LocalFit, count: int) -> LocalFit:
    """Correct only the classes that the global expert finds likeliest, and rule the others out."""

    def fit(bench: Bench, support: Sample) -> Local:
        local = inner(bench, support)

        def correct(sample: Sample) -> Array:
            logits = sample.taps.logits
            edge = -np.sort(-logits, axis=1)[:, count - 1 : count]
            return np.where(logits >= edge, local.correct(sample), np.float32(-30))

        return replace(local, correct=correct)

    return fit
