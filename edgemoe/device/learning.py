"""Learning from one correction at a time, at the cost of some inferences.

The parts are kept exact, as they were before rounding. Where the samples of before are at hand, the local expert moves
a few steps with each correction, towards what the whole training (`Personalizer.fit`) would give, and the gate is found
anew; where they are not, both move towards the correction alone. The acceptance test's threshold is raised whenever the
held-out retention samples ask for it.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgemoe.device.acceptance import THRESHOLDS, Trial, Verdict, confidence_within
from edgemoe.device.gate import Gate, sigmoid
from edgemoe.device.global_expert import GlobalExpert, softmax
from edgemoe.device.local_expert import DECAY, Lesson, LocalExpert, settle, with_bias
from edgemoe.device.quantized import quantize
from edgemoe.device.symbols import spare_logits

__all__ = ["Reference", "Weights", "curvature_inverse", "grow", "guard", "nudge"]

Array = npt.NDArray[np.float32]

CURVATURE = (
    0.25  # of the cross-entropy, per sample; at most 1/2 (Boehning 1992), and half of that converges in practice
)
LOCAL_STEPS = 4  # after each correction, on all samples
CLEAR = 0.7  # probability of the right class at which a correction without replay needs no further step
NUDGES = 10  # such steps, at most
OPENING = 0.5  # of a correction without replay: how far the gate opens towards it
CONFIDENCE = 0.9  # in the generic loss's bound, as the acceptance test asks for


@dataclass(frozen=True)
class Weights:
    """Local expert and gate before rounding, and what learning on needs besides.

    Attributes
    ----------
    local : ndarray of float32, shape (C + S, P + 1)
    gate : ndarray of float32, shape (F,)
    bias : float
        The gate's.
    inverse : ndarray of float32, shape (P + 1, P + 1), or None
        Of the bound on the local expert's curvature, ``CURVATURE * inputs.T @ inputs + DECAY * I``; None until the
        first correction asks for it.
    """

    local: Array
    gate: Array
    bias: float
    inverse: Array | None = None

    def rounded(self, local_bits: int, gate_bits: int, spare: int) -> tuple[LocalExpert, Gate]:
        """Return local expert and gate as a profile keeps them."""
        gate = Gate(quantize(self.gate[None], gate_bits), float(np.float32(self.bias)))
        return LocalExpert(quantize(self.local, local_bits), spare), gate


class Reference:
    """The retention set as learning looks at it again and again: prepared once, 6 MB.

    Parameters
    ----------
    ge : GlobalExpert
    spare : int
        How many symbols there are besides the global expert's classes.
    """

    def __init__(self, ge: GlobalExpert, spare: int) -> None:
        scale = ge.standardizer
        taps, self.labels = ge.held_out
        self.features, self.mean = taps.features, scale.feature_mean
        self.scale = np.float32(scale.feature_scale)
        self.inputs = scale.local_inputs(taps)
        matrix = with_bias(self.inputs)
        self.moment = matrix.T @ matrix / np.float32(len(matrix))
        self.logits = spare_logits(taps.logits, np.zeros(spare, bool))

    def open_to(self, local: LocalExpert, gate: Gate, threshold: float) -> Trial:
        """Return the held-out samples for which the gate opens at a threshold: no others' answers can turn."""
        weights = gate.weights.values()[0] / self.scale
        log_odds = self.features @ weights + np.float32(gate.bias - float(self.mean @ weights))
        rows = np.flatnonzero(log_odds > threshold - 4)  # weight 0.018: a little more than are answered
        return Trial(self.logits[rows], local.correct(self.inputs[rows]), log_odds[rows], self.labels[rows])


def guard(
    reference: Reference, local: LocalExpert, gate: Gate, before: Verdict, budget: float, confidence: float
) -> Verdict:
    """Return a verdict whose threshold is raised until the generic loss is again within the budget, or one step lower.

    The threshold in force was found by the acceptance test from the highest down; here, from the one below it upwards,
    the first at which the loss is shown to be within the budget is taken. What was declined stays so.
    """
    if not before.accepted:
        return before
    n = len(reference.labels)
    place = max(int(np.searchsorted(THRESHOLDS, before.threshold - 1e-6)) - 1, 0)
    trial = reference.open_to(local, gate, float(THRESHOLDS[place]))
    for threshold in map(float, THRESHOLDS[place:]):
        wrong, right = trial.turned(threshold)
        shown = confidence_within(wrong, right, n, budget)
        if shown >= confidence - 1e-9:
            return replace(before, threshold=threshold, generic_loss=(wrong - right) / n, confidence=shown)
    return replace(before, accepted=False, threshold=float(THRESHOLDS[-1]), generic_loss=0.0, confidence=0.0)


def curvature_inverse(moment: Array) -> Array:
    """Return the inverse of ``CURVATURE * moment + DECAY * I``, from the inputs' second moments (P + 1, P + 1)."""
    bound = CURVATURE * moment.astype(np.float64) + DECAY * np.eye(len(moment))
    return np.linalg.inv(bound).astype(np.float32)


def absorb(inverse: Array, inputs: Array, importance: float = 1.0) -> Array:
    """Return the inverse after one more sample (Sherman and Morrison, Annals of Mathematical Statistics 21, 1950)."""
    reached = inverse @ inputs
    bend = np.float32(CURVATURE * importance)
    shrunk: Array = bend / (1 + bend * np.float32(inputs @ reached)) * np.outer(reached, reached)
    return np.asarray(inverse - shrunk, np.float32)


def grow(weights: Weights, lesson: Lesson, gate: tuple[Array, float], bits: int) -> Weights:
    """Move the local expert a few steps towards what training on all samples would give, and take the gate as given.

    Of the weights on the way those are kept that, rounded, have the lowest loss.

    Parameters
    ----------
    weights : Weights
    lesson : Lesson
        Of all samples, the new one among them.
    gate : ndarray of float32, shape (F,), and float
        Weights and bias, of all samples.
    bits : int
        Of the local expert's weights as kept.
    """
    return Weights(settle(weights.local, lesson, bits, LOCAL_STEPS), *gate)


def nudge(weights: Weights, inputs: Array, features: Array, logits: Array, target: int, bits: int) -> Weights:
    """Move the parts towards one correction alone, where the samples learnt before are not at hand.

    The inverse of their curvature keeps what they taught: it moves the local expert least where they were many (the
    update of a Laplace approximation, as in Ritter, Botev, Barber, "Online structured Laplace approximations", 2018).

    Parameters
    ----------
    weights : Weights
        With `inverse`.
    inputs, features, logits : ndarray of float32, shapes (P + 1,), (F,) and (C + S,)
    target : int
    bits : int
    """
    assert weights.inverse is not None
    inverse = absorb(weights.inverse, inputs)
    reach, local = inverse @ inputs, weights.local
    for _ in range(NUDGES):
        residual = softmax((logits + quantize(local, bits).values() @ inputs)[None])[0]
        if residual[target] >= CLEAR:
            break
        residual[target] -= 1
        local = local - np.outer(residual, reach)
    doubt = 1 - float(sigmoid(features @ weights.gate + np.float32(weights.bias)))
    opening = OPENING * doubt / (1 + float(features @ features))
    return Weights(local, weights.gate + np.float32(opening) * features, weights.bias + opening, inverse)
