"""The on-device trainer, as a scikit-learn estimator."""

import os
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edgemoe.device.distort import COPIES
from edgemoe.device.global_expert import GlobalExpert, as_images
from edgemoe.device.learning import CONFIDENCE, Weights, grow
from edgemoe.device.local_expert import Lesson
from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.device.support import Sample, Support, read_support, samples_of, see, write_support
from edgemoe.device.symbols import check_symbols
from edgemoe.device.training import SIZES, teach, teach_gate, train, untrained
from edgemoe.errors import EdgemoeError

__all__ = ["SIZES", "Personalizer"]

GROWTH = 2  # of the number of samples, after which all is trained anew; chosen on writers_small.npz


class Personalizer(MixtureOfExperts):
    """A mixture that is trained on the user's own characters.

    Follows scikit-learn's estimator conventions. Only numpy and onnxruntime are needed.

    Parameters
    ----------
    ge : GlobalExpert
    size : {"compact", "full"}
        How many bits the profile's weights take.
    budget : float in [0, 1]
        The generic accuracy that personalization may cost.
    confidence : float in [0.5, 1)
        With which the retention set's held-out part must show that it costs no more; see `acceptance.accept`.
    seed : int
        Turns the folds in which the user's samples are held out.
    symbols : str
        Spare symbols: characters that may be taught although the global expert has no class for them.
    copies : int
        Distorted copies that the local expert learns each sample with, 0 to 16. Each costs an inference; the firmware,
        where that is dear, makes none. If another number is set, the next sample or training has all copies made anew.

    Examples
    --------
    >>> from edgemoe import Personalizer, load_global_expert
    >>> from edgemoe.simulator import simulated_samples
    >>> images, labels = simulated_samples(seed=7, per_class=5)
    >>> moe = Personalizer(load_global_expert()).fit(images, labels)
    >>> moe.predict(images[:3]).shape
    (3,)
    """

    _support: Support | None = None  # None: of a profile that was loaded, the samples are not at hand
    _trained = 0  # samples at the last whole training
    _taught: tuple[Support, Lesson] | None = None  # a support as the local expert reads it
    _resumed = False  # the samples were loaded

    def __init__(
        self,
        ge: GlobalExpert,
        size: str = "compact",
        budget: float = 0.002,
        confidence: float = CONFIDENCE,
        seed: int = 0,
        symbols: str = "",
        copies: int = COPIES,
    ) -> None:
        self.ge = ge
        self.size = size
        self.budget = budget
        self.confidence = confidence
        self.seed = seed
        self.symbols = symbols
        self.copies = copies

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], ge: GlobalExpert, support: str | os.PathLike[str] | None = None
    ) -> "Personalizer":
        """Load a profile to go on from, with the samples that `save_support` wrote if they are at hand.

        Confidence, seed and copies are not in a profile: they are the constructor's own until `set_params` sets others.

        Raises
        ------
        EdgemoeError
            If a file is not whole, or the profile was made for another global expert or not from these samples.
        """
        profile = MixtureOfExperts.load(path, ge).profile
        sizes = {(size.local_bits, size.gate_bits): name for name, size in SIZES.items()}
        bits = profile.local.weights.bits, profile.gate.weights.bits
        if bits not in sizes:
            raise EdgemoeError(f"{os.fspath(path)}: weights of {bits[0]} and {bits[1]} bits, as no size has them")
        moe = cls(ge, sizes[bits], profile.budget, symbols=profile.symbols)
        moe._use(profile)
        if support is not None:
            images, labels = read_support(support)
            try:
                known = Support(moe._read(images, labels)) if len(labels) else Support()
            except EdgemoeError as error:
                raise EdgemoeError(f"{os.fspath(support)}: {error}") from error
            if len(known) != profile.samples:
                raise EdgemoeError(
                    f"{os.fspath(support)}: {len(known)} samples, and {os.fspath(path)} learnt from {profile.samples}"
                )
            moe._support, moe._trained, moe._resumed = known, len(known), True
        return moe

    def save_support(self, path: str | os.PathLike[str]) -> None:
        """Write the samples learnt from, so that `load` can go on; `edgemoe personalize --samples` reads them too."""
        write_support(path, self.support)

    @property
    def support(self) -> Support:
        """What was learnt from: `len(support)`, `support.images`, `support.labels`.

        Raises
        ------
        EdgemoeError
            If the samples are not at hand, since only the profile was loaded.
        """
        if self._support is None and hasattr(self, "profile"):
            raise EdgemoeError("the samples learnt from are not at hand: only the profile was loaded")
        return self._support or Support()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters."""
        names = ("ge", "size", "budget", "confidence", "seed", "symbols", "copies")
        return {name: getattr(self, name) for name in names}

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
            Ink 255 on 0. Of each class the last `MOST_OF_A_CLASS` are learnt from; of an image that is given with two
            labels, the last label counts.
        labels : sequence of str, length n
            One character each; merged onto the global expert's classes by the EMNIST rule.

        Raises
        ------
        EdgemoeError
            If images or labels are unusable; an earlier profile then stays as it was.
        """
        self._train(Support(self._read(images, labels)))
        self._resumed = False
        return self

    def partial_fit(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> "Personalizer":
        """Add samples to those learnt from so far, and train on all of them."""
        self._train(Support([*self._known(), *self._read(images, labels)]))
        self._resumed = False
        return self

    def learn(self, image: npt.ArrayLike, label: str) -> Self:
        """Learn from one correction at the cost of some inferences; nothing need have been fitted before.

        A few steps on all samples. They are trained on and tested anew whenever their number, or that of a spare
        symbol's, has grown by `GROWTH`, or an image was learnt with another label before.

        Raises
        ------
        EdgemoeError
            If the image or the label is unusable; nothing is then changed.
        """
        self._check()
        begun = hasattr(self, "profile")
        if not begun:
            self._begin()
        try:
            array, taps, target = self._read_one(image, label)
            if self._support is None:
                self._learn_alone(taps, target)
                return self
            (sample,) = see(self.ge, array[None], [str(self.classes_[target])], [target], taps, self.copies)
            known = self._known()
            relabelled, support = known.contradicts(sample), known.plus(sample)
        except EdgemoeError:
            if not begun:
                del self.profile
            raise
        given = support.targets.tolist().count(target)
        symbol_grew = target >= len(self.ge.classes) and (given & (given - 1)) == 0
        if relabelled or symbol_grew or len(support) >= max(GROWTH * self._trained, 1):
            self._remember()
            history = self._history
            self._train(support)
            self._history = history
        else:
            self._step(self._grown(known, support), len(support), _support=support)
        return self

    def forget(self, image: npt.ArrayLike) -> "Personalizer":
        """Remove an image's trace: all is as if it had been fitted on the other samples, and nothing can be undone.

        Raises
        ------
        EdgemoeError
            If the image was not learnt.
        """
        array = as_images(image, "image")
        if len(array) != 1:
            raise EdgemoeError(f"image: expected one image, got {len(array)}")
        self._retrain(self._known().without(array[0]))
        return self

    def undo(self) -> Self:
        """Take back the last correction: everything is, bit by bit, as it was before; up to `UNDO` in a row.

        Of samples that `load` read nothing but their order is known: the last one is forgotten instead.

        Raises
        ------
        EdgemoeError
            If there is none that could be taken back.
        """
        if self._resumed and self._support and not self._history:
            self._retrain(Support(list(self._known())[:-1]))
            return self
        return super().undo()

    @property
    def _symbols(self) -> str:
        return self.profile.symbols if hasattr(self, "profile") else self.symbols

    def _remember(self) -> None:
        super()._remember()
        self._history[-1].update(_support=self._support, _trained=self._trained)

    def _check(self) -> None:
        if self.size not in SIZES:
            raise EdgemoeError(f"size {self.size!r}: expected {' or '.join(SIZES)}")
        if not 0 <= self.budget <= 1:
            raise EdgemoeError(f"budget {self.budget!r}: expected a share of accuracy between 0 and 1")
        if not 0.5 <= self.confidence < 1:
            raise EdgemoeError(f"confidence {self.confidence!r}: expected at least 0.5 and less than 1")
        if not (isinstance(self.copies, int | np.integer) and 0 <= self.copies <= 16):
            raise EdgemoeError(f"copies {self.copies!r}: expected a number from 0 to 16")
        check_symbols(self.symbols, self.ge.classes)

    def _read(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> list[Sample]:
        self._check()
        return samples_of(self.ge, images, labels, self.symbols, self.copies)

    def _known(self) -> Support:
        """Return what was learnt from, with as many copies of each sample as are asked for now."""
        known = self.support
        if all(len(sample.copies) == self.copies for sample in known):
            return known
        self._check()
        return Support(see(self.ge, known.images, known.labels.tolist(), known.targets, known.taps, self.copies))

    def _begin(self) -> None:
        """Start from a profile that knows nothing: the global expert answers alone."""
        self._use(untrained(self.ge, SIZES[self.size], self.budget, self.symbols))
        self._support, self._trained = Support(), 0

    def _retrain(self, support: Support) -> None:
        if len(support):
            self._train(support)
        else:
            self._begin()

    def _train(self, support: Support) -> None:
        own, size = support.own(len(self.symbols)), SIZES[self.size]
        profile, weights = train(self.ge, own, size, self.budget, self.confidence, self.seed, self.symbols)
        self._use(profile)
        self._confidence = self.confidence
        self._weights, self._support, self._trained = weights, support, len(support)

    def _grown(self, before: Support, support: Support) -> Weights:
        """Return weights that learnt from the newest sample of a support, given the support without it."""
        newest, spare = list(support)[-1], len(self._symbols)
        if self._taught is None or self._taught[0] is not before:
            own = before.own(spare)
            self._taught = before, teach(self.ge, own, np.arange(len(before)))
        _, lesson = self._taught
        if newest.target in before.classes or newest.target < len(self.ge.classes):
            lesson = lesson.plus(teach(self.ge, Support([newest]).own(spare), np.array([0])))
        else:  # a spare symbol's logit is another from its first sample on, for all of them
            lesson = teach(self.ge, support.own(spare), np.arange(len(support)))
        self._taught = support, lesson
        gate = teach_gate(self.ge, support.taps)
        return grow(self._weights, lesson, gate, self.profile.local.weights.bits)
