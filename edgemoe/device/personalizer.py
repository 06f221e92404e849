"""The on-device trainer, as a scikit-learn estimator."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edgemoe.classes import merge_labels
from edgemoe.device.acceptance import Trial, accept
from edgemoe.device.gate import Gate, fit_gate
from edgemoe.device.global_expert import GlobalExpert, as_images
from edgemoe.device.local_expert import LocalExpert, fit_local_expert, round_local_expert, with_bias
from edgemoe.device.mixture import MixtureOfExperts, held_out_trial
from edgemoe.device.profile import Profile
from edgemoe.device.quantized import quantize
from edgemoe.device.retention import Taps
from edgemoe.errors import EdgemoeError

__all__ = ["SIZES", "Personalizer", "Size"]

FOLDS = 3  # of the user's samples, to see each by parts trained without it


@dataclass(frozen=True)
class Size:
    """Bits a weight in a profile."""

    local_bits: int
    gate_bits: int


SIZES = {"compact": Size(local_bits=2, gate_bits=3), "full": Size(local_bits=8, gate_bits=8)}


class Personalizer(MixtureOfExperts):
    """A mixture that is trained on the user's own characters.

    Follows scikit-learn's estimator conventions. Only numpy and onnxruntime are needed.

    Parameters
    ----------
    ge : GlobalExpert
    size : {"compact", "full"}
        How many bits the profile's weights take.
    budget : float in [0, 1]
        The generic accuracy that personalization may cost, on the retention set's held-out half.
    seed : int
        Draws the folds in which the user's samples are held out.

    Examples
    --------
    >>> from edgemoe import Personalizer, load_global_expert
    >>> from edgemoe.simulator import simulated_samples
    >>> images, labels = simulated_samples(seed=7, per_class=5)
    >>> moe = Personalizer(load_global_expert()).fit(images, labels)
    >>> moe.predict(images[:3]).shape
    (3,)
    """

    def __init__(self, ge: GlobalExpert, size: str = "compact", budget: float = 0.002, seed: int = 0) -> None:
        self.ge = ge
        self.size = size
        self.budget = budget
        self.seed = seed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters."""
        return {"ge": self.ge, "size": self.size, "budget": self.budget, "seed": self.seed}

    def set_params(self, **params: Any) -> "Personalizer":
        """Set some of the constructor's parameters."""
        for name, value in params.items():
            if name not in self.get_params():
                raise EdgemoeError(f"Personalizer has no parameter {name!r}; it has {', '.join(self.get_params())}")
            if name == "ge" and value is not self.ge:
                vars(self).pop("_support", None)  # samples as another expert saw them
            setattr(self, name, value)
        return self

    def fit(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> "Personalizer":
        """Train local expert and gate on the user's samples, try the mixture, and keep the profile.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, 28, 28)
            Ink 255 on 0.
        labels : sequence of str, length n
            One character each; merged onto the global expert's classes by the EMNIST rule.

        Raises
        ------
        EdgemoeError
            If images or labels are unusable; an earlier profile then stays as it was.
        """
        taps, targets = self._read(images, labels)
        self._train(taps, targets)
        return self

    def partial_fit(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> "Personalizer":
        """Add samples to those learnt from so far, and train on all of them."""
        self._train(*self._with_support(*self._read(images, labels)))
        return self

    def learn(self, image: npt.ArrayLike, label: str) -> Self:
        """Learn from one correction, as a mixture does, and keep it for `partial_fit`."""
        taps, target = self._read_one(image, label)
        self._correct(taps, target)
        self._support = self._with_support(taps, np.array([target]))
        return self

    def _with_support(self, taps: Taps, targets: npt.NDArray[np.int64]) -> tuple[Taps, npt.NDArray[np.int64]]:
        """Return samples together with those learnt from before."""
        if not hasattr(self, "_support"):
            return taps, targets
        before, known = self._support
        joined = (np.concatenate([getattr(part, tap) for part in (before, taps)]) for tap in vars(taps))
        return Taps(*joined), np.concatenate([known, targets])

    def _read(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Taps, npt.NDArray[np.int64]]:
        if self.size not in SIZES:
            raise EdgemoeError(f"size {self.size!r}: expected {' or '.join(SIZES)}")
        if not 0 <= self.budget <= 1:
            raise EdgemoeError(f"budget {self.budget!r}: expected a share of accuracy between 0 and 1")
        array = as_images(images)
        names = np.asarray(labels)
        if names.ndim != 1 or len(names) != len(array):
            raise EdgemoeError(f"labels: expected {len(array)} of them, one for each image, got shape {names.shape}")
        if not len(array):
            raise EdgemoeError("images: not one sample to learn from")
        if not all(isinstance(name, str) for name in names):  # a class index is no digit
            raise EdgemoeError(f"labels: expected characters (str), got {names.dtype}")
        merged = merge_labels(names, self.ge.classes)
        targets = np.array([self.ge.classes.index(label) for label in merged], np.int64)
        return self.ge.taps(array), targets

    def _train(self, taps: Taps, targets: npt.NDArray[np.int64]) -> None:
        size = SIZES[self.size]
        local_weights, gate_weights, bias = self._fit_parts(taps, targets)
        inputs = self.ge.standardizer.local_inputs(taps)
        local = LocalExpert(round_local_expert(local_weights, inputs, taps.logits, targets, size.local_bits))
        gate = Gate(quantize(gate_weights[None], size.gate_bits), bias)
        verdict = accept(held_out_trial(self.ge, local, gate), self._cross_validate(taps, targets), self.budget)
        self._use(Profile(self.ge.fingerprint[:16], local, gate, verdict, len(targets)))
        self._support = taps, targets
        self._budget = self.budget

    def _fit_parts(
        self, taps: Taps, targets: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], float]:
        scale = self.ge.standardizer
        local = fit_local_expert(scale.local_inputs(taps), taps.logits, targets)
        return (local, *fit_gate(scale.gate_inputs(taps), scale.gate_inputs(self.ge.generic)))

    def _cross_validate(self, taps: Taps, targets: npt.NDArray[np.int64]) -> Trial | None:
        """See each of the user's samples by parts that were trained without it, and with others of its class.

        A class given once cannot be judged: without its only sample nothing of it is learnt.
        """
        rng = np.random.default_rng(self.seed)
        fold = np.empty(len(targets), np.int64)
        for target in np.unique(targets):
            members = rng.permutation(np.flatnonzero(targets == target))
            fold[members] = (np.arange(len(members)) + rng.integers(FOLDS)) % FOLDS
        judged = np.bincount(targets)[targets] > 1
        if not judged.any():
            return None
        correction = np.empty_like(taps.logits)
        log_odds = np.empty(len(taps), np.float32)
        for index in np.unique(fold[judged]):
            out, kept = np.flatnonzero(fold == index), np.flatnonzero(fold != index)
            local, gate, bias = self._fit_parts(taps[kept], targets[kept])
            correction[out] = with_bias(self.ge.standardizer.local_inputs(taps[out])) @ local.T
            log_odds[out] = self.ge.standardizer.gate_inputs(taps[out]) @ gate + np.float32(bias)
        return Trial(taps.logits[judged], correction[judged], log_odds[judged], targets[judged])
