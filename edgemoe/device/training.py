"""The whole training on a user's samples: both parts, and the acceptance test."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgemoe.device.acceptance import THRESHOLDS, Trial, Verdict, accept
from edgemoe.device.gate import fit_gate
from edgemoe.device.global_expert import GlobalExpert
from edgemoe.device.learning import Weights
from edgemoe.device.local_expert import Lesson, fit_local_expert, given_classes, settle, with_bias
from edgemoe.device.mixture import held_out_trial
from edgemoe.device.profile import Profile
from edgemoe.device.retention import Taps
from edgemoe.device.support import Own
from edgemoe.device.symbols import lift, spare_logits

__all__ = ["SIZES", "Size", "cross_validate", "fit_parts", "teach", "teach_gate", "train", "untrained"]

FOLDS = 3  # of the user's samples, to see each by parts trained without it


@dataclass(frozen=True)
class Size:
    """Bits a weight in a profile."""

    local_bits: int
    gate_bits: int


SIZES = {"compact": Size(local_bits=2, gate_bits=5), "full": Size(local_bits=8, gate_bits=8)}


def untrained(ge: GlobalExpert, size: Size, budget: float, symbols: str) -> Profile:
    """Return a profile that knows nothing: the global expert answers alone."""
    scale = ge.standardizer
    rows, columns = len(ge.classes) + len(symbols), len(scale.pooled_mean) + 1
    nothing = Weights(np.zeros((rows, columns), np.float32), np.zeros(len(scale.feature_mean), np.float32), 0.0)
    local, gate = nothing.rounded(size.local_bits, size.gate_bits, len(symbols))
    return Profile(
        ge.fingerprint[:16], local, gate, Verdict(False, float(THRESHOLDS[-1]), 0.0, None), 0, budget, symbols
    )


def train(
    ge: GlobalExpert,
    own: Own,
    size: Size,
    budget: float,
    confidence: float,
    seed: int,
    symbols: str,
) -> tuple[Profile, Weights]:
    """Train local expert and gate, try the mixture, and return the profile and the weights before rounding.

    Parameters
    ----------
    ge : GlobalExpert
    own : Own
    size : Size
    budget : float in [0, 1]
    confidence : float in [0.5, 1)
    seed : int
    symbols : str
    """
    taps, targets = own.taps, own.targets
    weights, lesson = fit_parts(ge, own, np.arange(len(targets)))
    weights = replace(weights, local=settle(weights.local, lesson, size.local_bits))
    local, kept = weights.rounded(size.local_bits, size.gate_bits, own.spare)
    ordinary = targets < len(ge.classes)  # of a spare symbol, what the global expert reads says nothing
    right = (taps.logits.argmax(axis=1) == targets)[ordinary]
    recognized = float(right.mean()) if len(right) else 1.0
    user = cross_validate(ge, own, seed)
    verdict = accept(held_out_trial(ge, local, kept), user, budget, confidence, recognized)
    return Profile(ge.fingerprint[:16], local, kept, verdict, len(targets), budget, symbols), weights


def fit_parts(ge: GlobalExpert, own: Own, rows: npt.NDArray[np.int64]) -> tuple[Weights, Lesson]:
    """Return local expert and gate before rounding, trained on some of a user's samples, and what the first learnt."""
    lesson = teach(ge, own, rows)
    return Weights(fit_local_expert(lesson), *teach_gate(ge, own.taps[rows])), lesson


def teach(ge: GlobalExpert, own: Own, rows: npt.NDArray[np.int64]) -> Lesson:
    """Return a lesson of some of a user's samples, each followed by its copies; all forms of one weigh 1 together."""
    targets = own.targets[rows]
    count = len(own.copies) // len(own.taps)
    copies = own.copies[(rows[:, None] * count + np.arange(count)).ravel()]

    def forms(first: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        together = np.concatenate([first[:, None], others.reshape(len(rows), count, first.shape[1])], axis=1)
        return together.reshape(len(rows) * (1 + count), -1)

    read = ge.standardizer.local_inputs
    return Lesson(
        with_bias(forms(read(own.taps[rows]), read(copies))),
        base_logits(forms(own.taps.logits[rows], copies.logits), targets, own.spare),
        np.repeat(targets, 1 + count),
        np.full(len(rows) * (1 + count), 1 / (1 + count), np.float32),
        given_classes(len(ge.classes) + own.spare, targets),
    )


def teach_gate(ge: GlobalExpert, taps: Taps) -> tuple[npt.NDArray[np.float32], float]:
    """Return weights and bias of the gate for a user's samples, which their copies have no part in."""
    scale = ge.standardizer
    return fit_gate(scale.gate_inputs(taps), scale.gate_inputs(ge.generic), scale.precision)


def base_logits(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], spare: int) -> npt.NDArray[np.float32]:
    """Return the logits that the local expert is trained to correct, `targets` being all that it is taught."""
    return spare_logits(logits, taught(targets, logits.shape[1], spare))


def taught(targets: npt.NDArray[np.int64], classes: int, spare: int) -> npt.NDArray[np.bool_]:
    """Return which of the spare symbols, whose indices follow the classes', are among some targets, ``(S,)``."""
    return np.isin(classes + np.arange(spare), targets)


def cross_validate(ge: GlobalExpert, own: Own, seed: int) -> Trial | None:
    """See each of the user's samples by parts trained without it and its copies, and with others of its class.

    A class given once cannot be judged: without its only sample nothing of it is learnt.
    """
    taps, targets, spare = own.taps, own.targets, own.spare
    fold = np.empty(len(targets), np.int64)
    for target in np.unique(targets):  # a class's samples take turns, and the classes begin at different folds
        members = np.flatnonzero(targets == target)
        fold[members] = (np.arange(len(members)) + target + seed) % FOLDS
    judged = np.bincount(targets)[targets] > 1
    if not judged.any():
        return None
    logits = spare_logits(taps.logits, np.zeros(spare, bool))
    correction = np.empty_like(logits)
    log_odds = np.empty(len(taps), np.float32)
    for index in np.unique(fold[judged]):
        out, kept = np.flatnonzero(fold == index), np.flatnonzero(fold != index)
        parts, _ = fit_parts(ge, own, kept)
        plain = with_bias(ge.standardizer.local_inputs(taps[out])) @ parts.local.T
        correction[out] = lift(plain, taught(targets[kept], len(ge.classes), spare))
        log_odds[out] = ge.standardizer.gate_inputs(taps[out]) @ parts.gate + np.float32(parts.bias)
    return Trial(logits[judged], correction[judged], log_odds[judged], targets[judged])
