"""Variants of the local expert: what it reads, how it is trained, what it is kept as."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.experiments.augment import augmented
from edgemoe.benchmark.experiments.parts import Local
from edgemoe.benchmark.experiments.priors import MakePrior, no_prior, plain_correction
from edgemoe.benchmark.experiments.samples import Bench, Sample
from edgemoe.benchmark.experiments.training import Correction
from edgemoe.device.descent import descend, largest_eigenvalue
from edgemoe.device.global_expert import softmax
from edgemoe.device.local_expert import fit_local_expert, round_local_expert, with_bias
from edgemoe.device.quantized import quantize

__all__ = ["first_guesses", "linear", "low_rank", "normal", "product_local", "ridge"]

Array = npt.NDArray[np.float32]
LocalFit = Callable[[Bench, Sample], Local]
USUAL = 128  # inputs: a view with more of them gets a stronger decay, for the correction to be as large beforehand


def product_local(bits: int) -> LocalFit:
    """The product's own."""

    def fit(bench: Bench, support: Sample) -> Local:
        inputs, logits = support.read("quarters"), support.taps.logits
        exact = fit_local_expert(inputs, logits, support.labels)
        return matrix_local(round_local_expert(exact, inputs, logits, support.labels, bits).values(), "quarters", bits)

    return fit


def matrix_local(weights: Array, view: str, bits: int, shipped: int = 0) -> Local:
    """Return a linear local expert of weights ``(C, P + 1)``, already rounded to `bits`."""
    kept = quantize(weights, bits).nbytes  # of that shape, whatever the values
    return Local(lambda sample: with_bias(sample.read(view)) @ weights.T, kept, shipped)


def linear(
    view: str = "quarters",
    bits: int = 2,
    decay: float = 1.0,
    straight: bool = True,
    prior: MakePrior = no_prior,
    retention: float = 0.0,
    copies: int = 0,
    strength: float = 1.0,
    late: bool = False,
    bags: int = 0,
    confused: bool = False,
    smoothing: float = 0.0,
) -> LocalFit:
    """A linear correction.

    Parameters
    ----------
    view : str
        What it reads; see `Sample.read`.
    bits : int
    decay : float
        The ridge penalty, for `USUAL` inputs.
    straight : bool
        Round by the loss (straight through) rather than plainly.
    prior : callable
        What other writers have taught.
    retention : float
        Weight of all generic samples together, with their own labels, against all of the user's.
    copies : int
        Distorted copies of each of the user's samples; all forms of a sample weigh 1 together.
    strength : float
        How distorted, against what `augment` says.
    late : bool
        Train on the user's samples alone, and take copies and generic samples into account when rounding.
    bags : int
        Average over so many bootstrap samples of the user's.
    confused : bool
        Correct only the classes of the user's samples that the global expert misreads, and what it reads instead.
    smoothing : float
        Share of each label spread over all classes.
    """

    def fit(bench: Bench, support: Sample) -> Local:
        known = prior(bench, view)
        seen = augmented(support, copies, strength)
        importance = np.full(len(seen), 1 / (1 + copies), np.float32)
        matrix, logits = with_bias(seen.read(view)), seen.taps.logits
        problem = plain_correction(matrix, logits, seen.labels)
        targets, trained = problem.targets, problem.trained
        if smoothing:
            targets = (1 - smoothing) * targets + np.float32(smoothing / targets.shape[1])
        if confused:
            guesses = support.taps.logits.argmax(axis=1)
            wrong = guesses != support.labels
            trained = np.zeros_like(trained)
            trained[np.concatenate([guesses[wrong], support.labels[wrong]])] = 1
        if retention:
            old = bench.retained
            matrix = np.concatenate([matrix, with_bias(old.read(view))])
            logits = np.concatenate([logits, old.taps.logits])
            targets = np.concatenate([targets, np.eye(targets.shape[1], dtype=np.float32)[old.labels]])
            share = np.full(len(old), retention * len(support) / len(old), np.float32)
            importance = np.concatenate([importance, share])
        scale = decay * max(1.0, (matrix.shape[1] - 1) / USUAL)
        precision = np.broadcast_to(scale * known.decay, (1, 1) if known.decay.size == 1 else known.center.shape)
        whole = Correction(matrix, logits, targets, importance, trained, known.center, precision.astype(np.float32))
        plain = plain_correction(with_bias(support.read(view)), support.taps.logits, support.labels, decay)
        weights = plain.fit() if late else whole.fit()
        if bags:
            rng = np.random.default_rng(0)
            draws = [np.bincount(rng.integers(0, len(seen), len(seen)), minlength=len(seen)) for _ in range(bags)]
            parts = [_weighted(whole, importance * draw.astype(np.float32)).fit() for draw in draws]
            weights = np.mean(parts, axis=0, dtype=np.float32)
        kept, values = whole.round(weights, bits, known.unit, straight)
        return Local(lambda sample: with_bias(sample.read(view)) @ values.T, kept.nbytes, known.shipped)

    return fit


def _weighted(problem: Correction, importance: Array) -> Correction:
    return Correction(
        problem.matrix, problem.logits, problem.targets, importance, problem.trained, problem.center, problem.decay
    )


def low_rank(rank: int, bits: int, view: str = "quarters", rounds: int = 4) -> LocalFit:
    """Cut the trained weights to a rank by SVD, retrain both factors in turn, and round them.

    The right factor is rounded first, and the left one retrained on what is then read.
    """

    def fit(bench: Bench, support: Sample) -> Local:
        matrix, logits = with_bias(support.read(view)), support.taps.logits
        problem = plain_correction(matrix, logits, support.labels)
        left, values, right = np.linalg.svd(problem.fit(), full_matrices=False)
        root = np.sqrt(values[:rank])
        first = (left[:, :rank] * root).astype(np.float32)
        second = (right[:rank] * root[:, None]).astype(np.float32)

        def residual(first: Array, second: Array) -> Array:
            scores = logits + (matrix @ second.T) @ first.T
            return softmax(scores.astype(np.float32, copy=False)) - problem.targets

        # Half of each factor's squares is the penalty: at its minimum, the nuclear norm of their product.
        def refit_left(first: Array, second: Array, steps: int) -> Array:
            read = matrix @ second.T
            smooth = 0.5 * largest_eigenvalue(read, problem.importance) + 1

            def slope(factor: Array) -> Array:
                return (problem.trained * (residual(factor, second).T @ read + factor)).astype(np.float32, copy=False)

            return descend(slope, first, smooth, steps)

        def refit_right(first: Array, second: Array, steps: int) -> Array:
            smooth = 0.5 * largest_eigenvalue(matrix, problem.importance) * float(np.linalg.norm(first, 2) ** 2) + 1

            def slope(factor: Array) -> Array:
                return ((residual(first, factor) @ first).T @ matrix + factor).astype(np.float32, copy=False)

            return descend(slope, second, smooth, steps)

        for _ in range(rounds):
            first = refit_left(first, second, 30)
            second = refit_right(first, second, 30)
        rows = quantize(second, bits)
        columns = quantize(refit_left(first, rows.values(), 60), bits)
        weights = columns.values() @ rows.values()
        return Local(lambda sample: with_bias(sample.read(view)) @ weights.T, rows.nbytes + columns.nbytes)

    return fit


def ridge(bits: int, decay: float = 10.0, gain: float = 4.0) -> LocalFit:
    """Regress what the global expert's probabilities lack on the inputs, in closed form."""

    def fit(bench: Bench, support: Sample) -> Local:
        matrix, logits = with_bias(support.read("quarters")), support.taps.logits
        problem = plain_correction(matrix, logits, support.labels)
        lacking = problem.targets - softmax(logits)
        moments = matrix.T @ matrix + decay * np.eye(matrix.shape[1], dtype=np.float32)
        weights = gain * problem.trained * np.linalg.solve(moments, matrix.T @ lacking).T
        return matrix_local(quantize(weights.astype(np.float32), bits).values(), "quarters", bits)

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
        return matrix_local(quantize(weights, bits).values(), "quarters", bits, shipped)

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

        return Local(correct, local.kept, local.shipped)

    return fit
