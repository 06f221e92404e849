"""The mixture of experts on the device: global expert, local expert and gate answer together."""

import os
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from edgemoe.classes import merge_labels
from edgemoe.device.acceptance import Trial, accept, blend
from edgemoe.device.gate import Gate, sigmoid, weigh
from edgemoe.device.global_expert import GlobalExpert, as_images, softmax
from edgemoe.device.local_expert import LocalExpert, with_bias
from edgemoe.device.profile import Profile, read_profile, write_profile
from edgemoe.device.quantized import quantize
from edgemoe.device.retention import Taps
from edgemoe.device.session import Session
from edgemoe.errors import EdgemoeError

__all__ = ["Answers", "MixtureOfExperts"]

LOCAL_RATE = 2.0  # of a correction's steps, over the squared length of the input
GATE_RATE = 0.5
CORRECTION_STEPS = 10  # at most; each costs a hundredth of an inference
CLEAR = 0.7  # probability of the right class at which a correction needs no further step


@dataclass(frozen=True)
class Answers:
    """What each part says of n images.

    Attributes
    ----------
    labels, global_labels, local_labels : ndarray of str, shape (n,)
        The mixture's answer, and each expert's alone.
    probabilities : ndarray of float32, shape (n, C)
        The mixture's.
    gate : ndarray of float32, shape (n,), in [0, 1]
        The weight of the local expert.
    """

    labels: npt.NDArray[np.str_]
    global_labels: npt.NDArray[np.str_]
    local_labels: npt.NDArray[np.str_]
    probabilities: npt.NDArray[np.float32]
    gate: npt.NDArray[np.float32]


class MixtureOfExperts:
    """A global expert and a user's profile.

    Parameters
    ----------
    ge : GlobalExpert
    profile : Profile

    Raises
    ------
    EdgemoeError
        If the profile was made for another global expert.
    """

    ge: GlobalExpert
    profile: Profile
    _exact: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], float]  # weights as trained, before rounding
    _budget = 0.002  # share of generic accuracy

    def __init__(self, ge: GlobalExpert, profile: Profile) -> None:
        self.ge = ge
        self._use(profile)

    @classmethod
    def load(cls, path: str | os.PathLike[str], ge: GlobalExpert) -> "MixtureOfExperts":
        """Load a profile and bind it to its global expert.

        Raises
        ------
        EdgemoeError
            If the file is no whole profile, or was made for another global expert.
        """
        profile = read_profile(path)
        try:
            return MixtureOfExperts(ge, profile)
        except EdgemoeError as error:
            raise EdgemoeError(f"{os.fspath(path)}: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile atomically."""
        write_profile(path, self._fitted())

    @property
    def classes_(self) -> npt.NDArray[np.str_]:
        """The labels that can be predicted, in the order of `predict_proba`'s columns."""
        return np.array(list(self.ge.classes))

    def explain(self, images: npt.ArrayLike) -> Answers:
        """Return what each part says of uint8 images ``(n, 28, 28)``."""
        return self.explain_taps(self.ge.taps(images))

    def explain_taps(self, taps: Taps) -> Answers:
        """Return the same for images that the global expert has seen already."""
        return self._answers(taps, self._gate(taps))

    def predict(self, images: npt.ArrayLike) -> npt.NDArray[np.str_]:
        """Return the labels ``(n,)`` of uint8 images ``(n, 28, 28)``."""
        return self.explain(images).labels

    def predict_proba(self, images: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return probabilities ``(n, C)`` float32, columns in the order of `classes_`."""
        return self.explain(images).probabilities

    def route(self, images: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the gate's weight of the local expert for each image, ``(n,)`` float32 in [0, 1]."""
        return self._gate(self.ge.taps(images))

    def score(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> float:
        """Return the share of images whose label is predicted."""
        truth = merge_labels(np.atleast_1d(np.asarray(labels)), self.ge.classes)
        predicted = self.predict(images)
        if len(truth) != len(predicted):
            raise EdgemoeError(f"labels: expected {len(predicted)} of them, one for each image, got {len(truth)}")
        return float((predicted == truth).mean())

    def session(self) -> "Session":
        """Return a stateful view: the gate remembers the inputs before."""
        return Session(self)

    def learn(self, image: npt.ArrayLike, label: str) -> Self:
        """Learn from one correction: a few steps of the local expert, one of the gate, and a new acceptance test.

        Parameters
        ----------
        image : ndarray of uint8, shape (28, 28)
        label : str
            What the image shows.

        Raises
        ------
        EdgemoeError
            If the image or the label is unusable; nothing is then changed.
        """
        return self._correct(*self._read_one(image, label))

    def _read_one(self, image: npt.ArrayLike, label: str) -> tuple[Taps, int]:
        array = as_images(image, "image")
        if len(array) != 1:
            raise EdgemoeError(f"image: expected one image, got {len(array)}")
        target = self.ge.classes.index(str(merge_labels([str(label)], self.ge.classes, "label")[0]))
        return self.ge.taps(array), target

    def _correct(self, taps: Taps, target: int) -> Self:
        profile = self._fitted()
        local_weights, gate_weights, bias = self._exact
        pooled, features = self.ge.standardizer.local_inputs(taps), self.ge.standardizer.gate_inputs(taps)

        inputs = with_bias(pooled)[0]
        for _ in range(CORRECTION_STEPS):
            rounded = quantize(local_weights, profile.local.weights.bits).values()
            residual = softmax(taps.logits + (rounded @ inputs)[None])[0]
            if residual[target] >= CLEAR:
                break
            residual[target] -= 1
            step = np.float32(LOCAL_RATE / (inputs @ inputs))
            local_weights = local_weights - step * residual[:, None] * inputs
        doubt = 1 - float(sigmoid(features @ gate_weights + np.float32(bias))[0])
        reach = 1 + float(features[0] @ features[0])
        gate_weights = gate_weights + np.float32(GATE_RATE * doubt / reach) * features[0]
        bias += GATE_RATE * doubt / reach

        local = LocalExpert(quantize(local_weights, profile.local.weights.bits))
        gate = Gate(quantize(gate_weights[None], profile.gate.weights.bits), bias)
        found, before = accept(held_out_trial(self.ge, local, gate), None, self._budget), profile.verdict
        # One correction does not outweigh the samples for which the mixture was declined.
        declined = not before.accepted and before.user_gain is not None
        verdict = replace(found, accepted=found.accepted and not declined, user_gain=before.user_gain)
        self._use(Profile(profile.fingerprint, local, gate, verdict, profile.samples + 1))
        self._exact = local_weights, gate_weights, bias
        return self

    def _use(self, profile: Profile) -> None:
        """Take a profile, with its weights as the starting point of further learning."""
        if profile.fingerprint != self.ge.fingerprint[:16]:
            raise EdgemoeError(
                f"the profile was made for the global expert {profile.fingerprint.hex()[:8]}, "
                f"and this is {self.ge.fingerprint.hex()[:8]} ({self.ge.name})"
            )
        standardizer = self.ge.standardizer
        sizes = len(self.ge.classes), len(standardizer.pooled_mean) + 1, len(standardizer.feature_mean)
        if (*profile.local.weights.codes.shape, profile.gate.weights.codes.shape[1]) != sizes:
            raise EdgemoeError(f"the profile's weights do not fit the global expert {self.ge.name}")
        self.profile = profile
        self._exact = profile.local.weights.values(), profile.gate.weights.values()[0], profile.gate.bias

    def _fitted(self) -> Profile:
        if not hasattr(self, "profile"):
            raise EdgemoeError("not fitted yet: call fit(images, labels) first")
        if self.profile.fingerprint != self.ge.fingerprint[:16]:
            raise EdgemoeError(f"not fitted for the global expert {self.ge.name}: call fit(images, labels) first")
        return self.profile

    def _gate(self, taps: Taps) -> npt.NDArray[np.float32]:
        profile = self._fitted()
        if not profile.verdict.accepted:
            return np.zeros(len(taps), np.float32)
        odds = profile.gate.log_odds(self.ge.standardizer.gate_inputs(taps))
        return weigh(odds, profile.verdict.threshold)

    def _answers(self, taps: Taps, gate: npt.NDArray[np.float32]) -> Answers:
        correction = self._fitted().local.correct(self.ge.standardizer.local_inputs(taps))
        probabilities = blend(taps.logits, correction, gate)
        label = self.ge.label
        return Answers(label(probabilities), label(taps.logits), label(taps.logits + correction), probabilities, gate)


def held_out_trial(ge: GlobalExpert, local: LocalExpert, gate: Gate) -> Trial:
    """Return the retention set's held-out half as local expert and gate see it."""
    taps, labels = ge.held_out
    return Trial(
        taps.logits,
        local.correct(ge.standardizer.local_inputs(taps)),
        gate.log_odds(ge.standardizer.gate_inputs(taps)),
        labels,
    )
