"""The mixture of experts on the device: global expert, local expert and gate answer together."""

import os
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edgemoe.classes import merge_labels
from edgemoe.device.acceptance import Trial, mix
from edgemoe.device.folded import Folded, fold
from edgemoe.device.gate import Gate, weigh
from edgemoe.device.global_expert import GlobalExpert, as_images, softmax
from edgemoe.device.learning import CONFIDENCE, Reference, Weights, curvature_inverse, guard, nudge
from edgemoe.device.local_expert import LocalExpert, with_bias
from edgemoe.device.profile import Profile, read_profile, write_profile
from edgemoe.device.retention import Taps
from edgemoe.device.session import Session
from edgemoe.device.symbols import spare_logits
from edgemoe.errors import EdgemoeError

__all__ = ["UNDO", "Answers", "MixtureOfExperts", "held_out_trial"]

AT_ONCE = 500  # held-out samples: 2 MB of features
UNDO = 20  # corrections that can be taken back, of some 120 KB each


@dataclass(frozen=True)
class Answers:
    """What each part says of n images.

    Attributes
    ----------
    labels, global_labels, local_labels : ndarray of str, shape (n,)
        The mixture's answer, and each expert's alone. A rejected answer is "".
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
    _weights: Weights  # before rounding
    _reference: Reference | None
    _confidence = CONFIDENCE
    _cache: tuple[Profile, Folded] | None = None  # a profile and its parts, folded
    _history: deque[Any]  # what `undo` goes back to

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
        """The labels that can be predicted, in the order of `predict_proba`'s columns: spare symbols come last."""
        return np.array(list(self.ge.classes + self._symbols))

    def explain(self, images: npt.ArrayLike, reject: float = 0.0) -> Answers:
        """Return what each part says of uint8 images ``(n, 28, 28)``; `reject` is `predict`'s."""
        return self.explain_taps(self.ge.taps(images), reject)

    def explain_taps(self, taps: Taps, reject: float = 0.0) -> Answers:
        """Return the same for images that the global expert has seen already."""
        return self._answers(taps, self._gate(taps), reject)

    def predict(self, images: npt.ArrayLike, reject: float = 0.0) -> npt.NDArray[np.str_]:
        """Return the labels ``(n,)`` of uint8 images ``(n, 28, 28)``.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, 28, 28)
        reject : float in [0, 1]
            Where the mixture's probability of its own answer is lower, the label is "" (Chow, "On optimum recognition
            error and reject tradeoff", IEEE Trans. Information Theory 16, 1970).
        """
        return self._labels(self.predict_proba(images), reject)

    def predict_proba(self, images: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return probabilities ``(n, C)`` float32, columns in the order of `classes_`."""
        taps = self.ge.taps(images)
        return self._mix(taps, self._gate(taps))

    def route(self, images: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the gate's weight of the local expert for each image, ``(n,)`` float32 in [0, 1]."""
        return self._gate(self.ge.taps(images))

    def score(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> float:
        """Return the share of images whose label is predicted."""
        truth = merge_labels(np.atleast_1d(np.asarray(labels)), self.classes_.tolist())
        predicted = self.predict(images)
        if len(truth) != len(predicted):
            raise EdgemoeError(f"labels: expected {len(predicted)} of them, one for each image, got {len(truth)}")
        return float((predicted == truth).mean())

    def session(self) -> "Session":
        """Return a stateful view: the gate remembers the inputs before."""
        return Session(self)

    def learn(self, image: npt.ArrayLike, label: str) -> Self:
        """Learn from one correction, at the cost of some inferences; generic accuracy stays within the budget.

        The samples of before are not at hand: what they taught is guarded by the weights alone. A `Personalizer` has
        them, and learns better. A mixture that was declined stays so until a personalizer is trained again.

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
        _, taps, target = self._read_one(image, label)
        self._learn_alone(taps, target)
        return self

    def undo(self) -> Self:
        """Take back the last correction: everything is, bit by bit, as it was before; up to `UNDO` in a row.

        Raises
        ------
        EdgemoeError
            If there is none that could be taken back.
        """
        self._fitted()
        if not self._history:
            raise EdgemoeError("no correction to take back")
        vars(self).update(self._history.pop())
        return self

    @property
    def _symbols(self) -> str:
        return self._fitted().symbols

    def _read_one(self, image: npt.ArrayLike, label: str) -> tuple[npt.NDArray[np.uint8], Taps, int]:
        array = as_images(image, "image")
        if len(array) != 1:
            raise EdgemoeError(f"image: expected one image, got {len(array)}")
        classes = self.classes_.tolist()
        target = classes.index(str(merge_labels([str(label)], classes, "label")[0]))
        return array[0].copy(), self.ge.taps(array), target

    def _learn_alone(self, taps: Taps, target: int) -> None:
        profile, weights = self._fitted(), self._weights
        if weights.inverse is None:  # other people's inputs stand for the user's, which are not at hand
            moment = np.float32(profile.samples) * self._held_out().moment
            weights = replace(weights, inverse=curvature_inverse(moment))
        scale = self.ge.standardizer
        inputs = with_bias(scale.local_inputs(taps))[0]
        taught = profile.local.taught | (np.arange(len(profile.symbols)) == target - len(self.ge.classes))
        logits, bits = spare_logits(taps.logits, taught)[0], profile.local.weights.bits
        self._step(nudge(weights, inputs, scale.gate_inputs(taps)[0], logits, target, bits), profile.samples + 1)

    def _step(self, weights: Weights, samples: int, **changes: Any) -> None:
        """Take weights that learnt from a correction, under a threshold that keeps the budget."""
        before = self._fitted()
        local, gate = weights.rounded(before.local.weights.bits, before.gate.weights.bits, len(before.symbols))
        verdict = guard(self._held_out(), local, gate, before.verdict, before.budget, self._confidence)
        profile = replace(before, local=local, gate=gate, verdict=verdict, samples=samples)
        self._remember()
        vars(self).update(profile=profile, _weights=weights, **changes)

    def _remember(self) -> None:
        """Make the present state one that `undo` goes back to."""
        self._history.append({"profile": self.profile, "_weights": self._weights})

    def _held_out(self) -> Reference:
        if self._reference is None:
            self._reference = Reference(self.ge, len(self._symbols))
        return self._reference

    def _use(self, profile: Profile) -> None:
        """Take a profile, with its weights as the starting point of further learning."""
        if profile.fingerprint != self.ge.fingerprint[:16]:
            raise EdgemoeError(
                f"the profile was made for the global expert {profile.fingerprint.hex()[:8]}, "
                f"and this is {self.ge.fingerprint.hex()[:8]} ({self.ge.name})"
            )
        standardizer = self.ge.standardizer
        rows = len(self.ge.classes) + len(profile.symbols)
        sizes = rows, len(standardizer.pooled_mean) + 1, len(standardizer.feature_mean)
        fits = (*profile.local.weights.codes.shape, profile.gate.weights.codes.shape[1]) == sizes
        if not fits or set(profile.symbols) & set(self.ge.classes):
            raise EdgemoeError(f"the profile's weights do not fit the global expert {self.ge.name}")
        self.profile = profile
        local, gate = profile.local.weights.values(), profile.gate.weights.values()[0]
        self._weights = Weights(local, gate, profile.gate.bias)
        self._reference = None
        self._history = deque(maxlen=UNDO)

    def _fitted(self) -> Profile:
        if not hasattr(self, "profile"):
            raise EdgemoeError("not fitted yet: call fit(images, labels) first")
        if self.profile.fingerprint != self.ge.fingerprint[:16]:
            raise EdgemoeError(f"not fitted for the global expert {self.ge.name}: call fit(images, labels) first")
        return self.profile

    def _folded(self) -> Folded:
        profile = self._fitted()
        if self._cache is None or self._cache[0] is not profile:
            self._cache = profile, fold(profile, self.ge.standardizer)
        return self._cache[1]

    def _gate(self, taps: Taps) -> npt.NDArray[np.float32]:
        verdict = self._fitted().verdict
        if not verdict.accepted:
            return np.zeros(len(taps), np.float32)
        return weigh(self._folded().log_odds(taps), verdict.threshold)

    def _local_logits(self, taps: Taps) -> npt.NDArray[np.float32]:
        folded = self._folded()
        return spare_logits(taps.logits, folded.taught) + folded.correct(taps)

    def _mix(self, taps: Taps, gate: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        of_global = spare_logits(taps.logits, np.zeros(len(self._symbols), bool))
        if not gate.any():  # the local expert need not run
            return softmax(of_global)
        # Both experts' rows in one array: for few images a call of numpy's costs more than its arithmetic.
        both = softmax(np.concatenate([of_global, self._local_logits(taps)]))
        return mix(both[: len(taps)], both[len(taps) :], gate)

    def _labels(self, probabilities: npt.NDArray[np.float32], reject: float) -> npt.NDArray[np.str_]:
        if not 0 <= reject <= 1:
            raise EdgemoeError(f"reject {reject!r}: expected a probability between 0 and 1")
        labels: npt.NDArray[np.str_] = self.classes_[probabilities.argmax(axis=1)]
        if reject:
            labels[probabilities.max(axis=1) < reject] = ""
        return labels

    def _answers(self, taps: Taps, gate: npt.NDArray[np.float32], reject: float = 0.0) -> Answers:
        probabilities = self._mix(taps, gate)
        of_local = self.classes_[self._local_logits(taps).argmax(axis=1)]
        return Answers(self._labels(probabilities, reject), self.ge.label(taps.logits), of_local, probabilities, gate)

    def __getstate__(self) -> dict[str, object]:
        # The parts are folded anew where the mixture is used.
        return {name: value for name, value in vars(self).items() if name != "_cache"}


def held_out_trial(ge: GlobalExpert, local: LocalExpert, gate: Gate) -> Trial:
    """Return the retention set's held-out part as local expert and gate see it, read a little at a time."""
    retention, scale = ge.retention, ge.standardizer
    rows = range(retention.held_out.start, retention.held_out.stop)
    logits, corrections, log_odds = [], [], []
    for part in (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)):
        taps = retention.taps(slice(part.start, part.stop))
        logits.append(spare_logits(taps.logits, np.zeros(local.spare, bool)))
        corrections.append(local.correct(scale.local_inputs(taps)))
        log_odds.append(gate.log_odds(scale.gate_inputs(taps)))
    labels = retention.labels[retention.held_out].astype(np.int64)
    return Trial(np.concatenate(logits), np.concatenate(corrections), np.concatenate(log_odds), labels)
