"""The whole training on a user's samples: both parts, and the acceptance test."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgemoe.device.acceptance import THRESHOLDS, Trial, Verdict, accept
from edgemoe.device.gate import fit_gate
from edgemoe.device.global_expert import GlobalExpert
from edgemoe.device.learning import Weights
from edgemoe.device.local_expert import fit_local_expert, settle, with_bias
from edgemoe.device.mixture import held_out_trial
from edgemoe.device.profile import Profile
from edgemoe.device.retention import Taps
from edgemoe.device.symbols import lift, spare_logits

__all__ = ["SIZES", "Size", "base_logits", "cross_validate", "fit_parts", "train", "untrained"]

FOLDS = 3  # of the user's samples, to see each by parts trained without it


@dataclass(frozen=True)
class Size:
    """Bits a weight in a profile."""

    local_bits: int
    gate_bits: int


SIZES = {"compact": Size(local_bits=2, gate_bits=3), "full": Size(local_bits=8, gate_bits=8)}


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
    ge: GlobalExpert, taps: Taps, targets: npt.NDArray[np.int64], size: Size, budget: float, seed: int, symbols: str
) -> tuple[Profile, Weights]:
    """Train local expert and gate, try the mixture, and return the profile and the weights before rounding.

    Parameters
    ----------
    ge : GlobalExpert
    taps : Taps
        Of the user's n samples.
    targets : ndarray of int64, shape (n,)
        Class indices; the spare symbols' follow the global expert's.
    size : Size
    budget : float in [0, 1]
    seed : int
    symbols : str
    """
    spare = len(symbols)
    weights = fit_parts(ge, taps, targets, spare)
    inputs, logits = ge.standardizer.local_inputs(taps), base_logits(taps.logits, targets, spare)
    weights = replace(weights, local=settle(weights.local, inputs, logits, targets, size.local_bits))
    local, gate = weights.rounded(size.local_bits, size.gate_bits, spare)
    ordinary = targets < len(ge.classes)  # of a spare symbol, what the global expert reads says nothing
    right = (taps.logits.argmax(axis=1) == targets)[ordinary]
    recognized = float(right.mean()) if len(right) else 1.0
    user = cross_validate(ge, taps, targets, spare, seed)
    verdict = accept(held_out_trial(ge, local, gate), user, budget, recognized=recognized)
    return Profile(ge.fingerprint[:16], local, gate, verdict, len(targets), budget, symbols), weights


def fit_parts(ge: GlobalExpert, taps: Taps, targets: npt.NDArray[np.int64], spare: int) -> Weights:
    """Return local expert and gate before rounding, trained on a user's samples."""
    scale = ge.standardizer
    local = fit_local_expert(scale.local_inputs(taps), base_logits(taps.logits, targets, spare), targets)
    return Weights(local, *fit_gate(scale.gate_inputs(taps), scale.gate_inputs(ge.generic)))


def base_logits(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], spare: int) -> npt.NDArray[np.float32]:
    """Return the logits that the local expert is trained to correct, `targets` being all that it is taught."""
    return spare_logits(logits, taught(targets, logits.shape[1], spare))


def taught(targets: npt.NDArray[np.int64], classes: int, spare: int) -> npt.NDArray[np.bool_]:
    """Return which of the spare symbols, whose indices follow the classes', are among some targets, ``(S,)``."""
    return np.isin(classes + np.arange(spare), targets)


def cross_validate(ge: GlobalExpert, taps: Taps, targets: npt.NDArray[np.int64], spare: int, seed: int) -> Trial | None:
    """See each of the user's samples by parts that were trained without it, and with others of its class.

    A class given once cannot be judged: without its only sample nothing of it is learnt.
    """
    rng = np.random.default_rng(seed)
    fold = np.empty(len(targets), np.int64)
    for target in np.unique(targets):
        members = rng.permutation(np.flatnonzero(targets == target))
        fold[members] = (np.arange(len(members)) + rng.integers(FOLDS)) % FOLDS
    judged = np.bincount(targets)[targets] > 1
    if not judged.any():
        return None
    logits = spare_logits(taps.logits, np.zeros(spare, bool))
    correction = np.empty_like(logits)
    log_odds = np.empty(len(taps), np.float32)
    for index in np.unique(fold[judged]):
        out, kept = np.flatnonzero(fold == index), np.flatnonzero(fold != index)
        parts = fit_parts(ge, taps[kept], targets[kept], spare)
        plain = with_bias(ge.standardizer.local_inputs(taps[out])) @ parts.local.T
        correction[out] = lift(plain, taught(targets[kept], len(ge.classes), spare))
        log_odds[out] = ge.standardizer.gate_inputs(taps[out]) @ parts.gate + np.float32(parts.bias)
    return Trial(logits[judged], correction[judged], log_odds[judged], targets[judged])
