"""Who takes part in the experiments, and the ways in which local expert and gate can look at a character."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgemoe.classes import merge_labels
from edgemoe.data import draw_shots, load_samples
from edgemoe.device.distort import COPIES, distorted
from edgemoe.device.global_expert import GlobalExpert, softmax
from edgemoe.device.retention import Taps
from edgemoe.device.statistics import pool
from edgemoe.device.support import Own
from edgemoe.errors import EdgemoeError

__all__ = ["VIEWS", "Bench", "Sample", "User", "load_bench"]

Array = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Made = TypeVar("Made")

NEIGHBOURS = 50  # samples of each other tested writer, as bystanders
PEOPLE = 40  # tested: those who give the most samples to learn from; all others are teachers
WIDE = 0.75  # share of the classes that a tested writer should have written: the task is to read them all


def _windows(ge: GlobalExpert, taps: Taps, spans: list[slice]) -> Array:
    maps = taps.features.reshape(-1, *ge.standardizer.feature_map)
    means = [maps[:, :, rows, columns].mean(axis=(2, 3)) for rows in spans for columns in spans]
    return np.concatenate(means, axis=1)


def _hidden(ge: GlobalExpert, taps: Taps) -> Array:
    """Run the float expert's dense layers but the last on the int8 expert's convolution features."""
    graph = onnx.load_from_string(ge.bundle.float32).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    values = taps.features
    for node in [node for node in graph.node if node.op_type == "Gemm"][:-1]:
        values = np.maximum(values @ tensors[node.input[1]].T + tensors[node.input[2]], 0).astype(np.float32)
    return values


def _confidence(taps: Taps) -> Array:
    """Entropy, and the two highest probabilities."""
    shares = np.sort(softmax(taps.logits), axis=1)
    entropy = -(shares * np.log(np.maximum(shares, 1e-9))).sum(axis=1)
    return np.stack([entropy, shares[:, -1], shares[:, -2]], axis=1)


def _products(ge: GlobalExpert, taps: Taps) -> Array:
    channels = _windows(ge, taps, [slice(None)])
    channels = channels - ge.standardizer.feature_mean.reshape(channels.shape[1], -1).mean(axis=1)
    first, second = np.triu_indices(channels.shape[1])
    products: Array = channels[:, first] * channels[:, second]
    return products


VIEWS: dict[str, Callable[[GlobalExpert, Taps], Array]] = {
    "features": lambda ge, taps: taps.features,
    "quarters": lambda ge, taps: pool(taps.features, ge.standardizer.feature_map),
    "apart": lambda ge, taps: _windows(ge, taps, [slice(0, 2), slice(3, 5)]),
    "windows": lambda ge, taps: _windows(ge, taps, [slice(0, 3), slice(1, 4), slice(2, 5)]),
    "channels": lambda ge, taps: _windows(ge, taps, [slice(None)]),
    "hidden": _hidden,
    "logits": lambda ge, taps: taps.logits,
    "guess": lambda ge, taps: np.eye(taps.logits.shape[1], dtype=np.float32)[taps.logits.argmax(axis=1)],
    "confidence": lambda ge, taps: _confidence(taps),
    "products": _products,
}
"""Ways to look at a character, before centring and scaling."""


@dataclass(frozen=True)
class Sample:
    """Characters as the global expert sees them.

    Attributes
    ----------
    ge : GlobalExpert
    taps : Taps
    labels : ndarray of int64, shape (n,)
    images : ndarray of uint8, shape (n, 28, 28), or None
        Only of writers.
    copies : Taps or None
        Of the images' distorted copies, `COPIES` for each; only of what a user learns from.
    """

    ge: GlobalExpert
    taps: Taps
    labels: Integers
    images: npt.NDArray[np.uint8] | None = None
    copies: Taps | None = None
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Integers) -> "Sample":
        images = None if self.images is None else self.images[rows]
        forms = (rows[:, None] * COPIES + np.arange(COPIES)).ravel()
        copies = None if self.copies is None else self.copies[forms]
        return Sample(self.ge, self.taps[rows], self.labels[rows], images, copies)

    @property
    def own(self) -> Own:
        """What the product's training reads of them."""
        assert self.copies is not None
        return Own(self.taps, self.copies, self.labels, 0)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Make something of these samples when it is first asked for."""
        if key not in self._made:
            self._made[key] = make()
        return cast(Made, self._made[key])

    def read(self, names: str) -> Array:
        """Return views ``(n, F)``, joined by "+", each centred and brought to unit scale, one for all inputs of a view.

        "features" is what the product's gate reads and "quarters" what its local expert reads, by its own statistics;
        the other views are measured on the retention set.
        """
        return np.concatenate([self._one(name) for name in names.split("+")], axis=1)

    def _one(self, name: str) -> Array:
        def view() -> Array:
            mean, scale = _constants(self.ge, name)
            return ((VIEWS[name](self.ge, self.taps) - mean) / np.float32(scale)).astype(np.float32)

        return self.once(name, view)


_CONSTANTS: dict[tuple[bytes, str], tuple[Array, float]] = {}


def _constants(ge: GlobalExpert, name: str) -> tuple[Array, float]:
    key = ge.fingerprint, name
    if key not in _CONSTANTS:
        values, scale = VIEWS[name](ge, ge.retention.taps()), ge.standardizer
        own = {
            "features": (scale.feature_mean, scale.feature_scale),
            "quarters": (scale.pooled_mean, scale.pooled_scale),
        }
        _CONSTANTS[key] = own.get(name) or (values.mean(axis=0), float(values.std(axis=0).mean()))
    return _CONSTANTS[key]


@dataclass(frozen=True)
class User:
    """A writer: what to learn from, what to be tested on, and other tested writers' samples."""

    name: str
    support: Sample
    rest: Sample
    bystanders: Sample


@dataclass(frozen=True)
class Bench:
    """All that an experiment works on.

    Attributes
    ----------
    users : list of User
        Tested, one entry a writer and draw.
    teachers : list of Sample
        What further writers, none of them tested, gave to learn from; no writer is on both sides.
    generic : Sample
        People in general, without the characters that the retention set was made of.
    """

    ge: GlobalExpert
    users: list[User]
    teachers: list[Sample]
    generic: Sample

    @cached_property
    def retained(self) -> Sample:
        """What there is to train against: a quarter of the retention set, as the product's gate did once."""
        rows = slice(len(self.ge.retention) // 4)
        return Sample(self.ge, self.ge.retention.taps(rows), self.ge.retention.labels[rows].astype(np.int64))

    @cached_property
    def lessons(self) -> Sample:
        """All that the teachers gave, in one."""
        logits, features = (
            np.concatenate([getattr(s.taps, tap) for s in self.teachers]) for tap in vars(self.teachers[0].taps)
        )
        return Sample(self.ge, Taps(logits, features), np.concatenate([s.labels for s in self.teachers]))


def load_bench(ge: GlobalExpert, writers: str, generic: str, shots: int = 5, draws: int = 1) -> Bench:
    """Read both files, split the writers into tested ones and teachers, and draw what each learns from.

    Raises
    ------
    EdgemoeError
        If a file is unusable or names fewer than three writers.
    """
    images, names, owners = load_samples(writers)
    if owners is None or len(np.unique(owners)) < 3:
        raise EdgemoeError(f"{writers}: names fewer than three writers, and some are tested, others teach")
    everyone = Sample(ge, ge.taps(images), _indices(ge, names, writers), images)
    people = np.unique(owners)
    rows = {person: np.flatnonzero(owners == person) for person in people}

    def gives(person: object) -> tuple[bool, int]:
        """Whether a person wrote most of the classes, and how many samples there are to learn from."""
        _, counts = np.unique(everyone.labels[rows[person]], return_counts=True)
        return len(counts) >= WIDE * len(ge.classes), int(np.minimum(counts // 2, shots).sum())

    by_size = sorted(people, key=gives, reverse=True)
    tested = by_size[: min(PEOPLE, 2 * len(people) // 3)]
    rng = np.random.default_rng(0)
    some = {person: rng.permutation(rows[person])[:NEIGHBOURS] for person in tested}
    users = []
    for index, person in enumerate(tested):
        others = np.concatenate([some[other] for other in tested if other != person])
        for draw in range(draws):
            chosen, rest = draw_shots(everyone.labels[rows[person]].astype(str), shots, 1000 * index + draw)
            own = rows[person]
            given = everyone[own[chosen]]
            support = replace(given, copies=ge.taps(distorted(images[own[chosen]])))
            users.append(User(str(person), support, everyone[own[rest]], everyone[others]))
    teachers = []
    for index, person in enumerate(by_size[len(tested) :]):
        own = rows[person]
        _, many = np.unique(everyone.labels[own], return_counts=True)
        if many.max() > 1:  # else there is nothing to draw
            teachers.append(everyone[own[draw_shots(everyone.labels[own].astype(str), shots, 1000 * index)[0]]])
    others_images, other_names, _ = load_samples(generic)
    crowd = Sample(ge, ge.taps(others_images), _indices(ge, other_names, generic))
    return Bench(ge, users, teachers, crowd[np.flatnonzero(~_retained_rows(ge, crowd.taps))])


def _indices(ge: GlobalExpert, names: npt.NDArray[np.str_], source: str) -> Integers:
    return np.array([ge.classes.index(name) for name in merge_labels(names, ge.classes, source)], np.int64)


def _retained_rows(ge: GlobalExpert, taps: Taps) -> npt.NDArray[np.bool_]:
    """Tell which samples the retention set keeps: those whose features have the same codes."""
    kept, scale = ge.retention.codes["features"], np.float32(ge.retention.scales["features"])
    codes = np.clip(np.rint(taps.features / scale), 0, kept.max()).astype(np.uint8)
    known = {row.tobytes() for row in kept}
    return np.array([row.tobytes() in known for row in codes], bool)
