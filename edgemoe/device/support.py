"""The support: the user's own samples that a personalizer learnt from, kept so that they can be taken back."""

import io
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgemoe.classes import merge_labels
from edgemoe.device.distort import distorted
from edgemoe.device.global_expert import GlobalExpert, as_images
from edgemoe.device.retention import Taps
from edgemoe.errors import EdgemoeError
from edgemoe.files import bound_unpacked, read_bounded, write_atomic

__all__ = ["MOST_OF_A_CLASS", "Own", "Sample", "Support", "read_support", "samples_of", "see", "write_support"]

MOST_OF_A_CLASS = 50  # samples that are kept: the newest, since hands change; it bounds memory and training time
LIMIT = 64 << 20  # bytes of a support's file; 50 samples of each of 111 classes take 4.4 MB unpacked


@dataclass(frozen=True, eq=False)
class Sample:
    """One of the user's characters, as given and as the global expert sees it.

    Attributes
    ----------
    image : ndarray of uint8, shape (28, 28)
    label : str
        In the classes that the personalizer knows.
    target : int
        The class's index.
    taps : Taps
        Of this one image.
    copies : Taps
        Of its distorted copies, k.
    """

    image: npt.NDArray[np.uint8]
    label: str
    target: int
    taps: Taps
    copies: Taps
    key: bytes = field(init=False, repr=False)  # the image, to be looked up by

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.image.tobytes())


@dataclass(frozen=True)
class Own:
    """The user's own samples, as the global expert sees them.

    Attributes
    ----------
    taps : Taps
        Of n samples.
    copies : Taps
        Of their distorted copies, k for each sample; k may be 0.
    targets : ndarray of int64, shape (n,)
        Class indices; the spare symbols' follow the global expert's.
    spare : int
        How many spare symbols there are.
    """

    taps: Taps
    copies: Taps
    targets: npt.NDArray[np.int64]
    spare: int


class Support:
    """Samples in the order in which they were learnt; never changed, only replaced.

    Parameters
    ----------
    samples : iterable of Sample
        Of each class the last `MOST_OF_A_CLASS` are kept. Where one image is given with two labels the last one counts:
        a plain stroke may be an I today and a 1 tomorrow, and a wrong label is put right by giving another.
    """

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._samples: list[Sample] = []
        self._labels: dict[bytes, str] = {}
        self._counts: dict[int, int] = {}
        for sample in samples:
            self._add(sample)

    def _add(self, sample: Sample) -> None:
        if self.contradicts(sample):
            for row in [row for row, other in enumerate(self._samples) if other.key == sample.key][::-1]:
                self._drop(row)
        self._labels[sample.key] = sample.label
        self._samples.append(sample)
        self._counts[sample.target] = self._counts.get(sample.target, 0) + 1
        if self._counts[sample.target] > MOST_OF_A_CLASS:
            self._drop(next(row for row, other in enumerate(self._samples) if other.target == sample.target))

    def _drop(self, row: int) -> None:
        dropped = self._samples.pop(row)
        self._counts[dropped.target] -= 1
        if not self._counts[dropped.target]:
            del self._counts[dropped.target]
        if all(other.key != dropped.key for other in self._samples):
            del self._labels[dropped.key]

    def contradicts(self, sample: Sample) -> bool:
        """Return whether the sample's image was learnt with another label."""
        return self._labels.get(sample.key, sample.label) != sample.label

    def plus(self, sample: Sample) -> "Support":
        """Return the support with one more sample."""
        grown = Support()
        grown._samples, grown._labels, grown._counts = list(self._samples), dict(self._labels), dict(self._counts)
        grown._add(sample)
        return grown

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    @property
    def images(self) -> npt.NDArray[np.uint8]:
        """What was learnt from, ``(n, 28, 28)``."""
        return np.array([sample.image for sample in self], np.uint8).reshape(-1, 28, 28)

    @property
    def labels(self) -> npt.NDArray[np.str_]:
        """Their labels ``(n,)``."""
        return np.array([sample.label for sample in self], dtype="<U1")

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """Their class indices ``(n,)``."""
        return np.array([sample.target for sample in self], np.int64)

    @property
    def classes(self) -> Iterable[int]:
        """The indices of the classes that there are samples of."""
        return self._counts.keys()

    @property
    def taps(self) -> Taps:
        """What the global expert says of them."""
        return joined(sample.taps for sample in self)

    @property
    def copies(self) -> Taps:
        """What it says of their distorted copies, as many for each."""
        return joined(sample.copies for sample in self)

    def own(self, spare: int) -> Own:
        """Return what training reads of the samples, `spare` being the number of spare symbols."""
        return Own(self.taps, self.copies, self.targets, spare)

    def without(self, image: npt.NDArray[np.uint8]) -> "Support":
        """Return the support without an image, however often it was learnt.

        Raises
        ------
        EdgemoeError
            If it was not learnt.
        """
        key = image.tobytes()
        left = Support(sample for sample in self if sample.key != key)
        if len(left) == len(self):
            raise EdgemoeError(f"image: none of the {len(self):,} samples learnt from")
        return left


def samples_of(
    ge: GlobalExpert, images: npt.ArrayLike, labels: npt.ArrayLike, symbols: str, copies: int
) -> list[Sample]:
    """Return what a user gives, images ``(n, 28, 28)`` and as many characters, as samples.

    Raises
    ------
    EdgemoeError
        If there are none, or images or labels are unusable.
    """
    array = as_images(images)
    names = np.asarray(labels)
    if names.ndim != 1 or len(names) != len(array):
        raise EdgemoeError(f"labels: expected {len(array)} of them, one for each image, got shape {names.shape}")
    if not len(array):
        raise EdgemoeError("images: not one sample to learn from")
    if not all(isinstance(name, str) for name in names):  # a class index is no digit
        raise EdgemoeError(f"labels: expected characters (str), got {names.dtype}")
    classes = ge.classes + symbols
    merged = [str(label) for label in merge_labels(names, classes)]
    return see(ge, array, merged, [classes.index(label) for label in merged], ge.taps(array), copies)


def see(
    ge: GlobalExpert,
    images: npt.NDArray[np.uint8],
    labels: Sequence[str],
    targets: Iterable[int],
    taps: Taps,
    copies: int,
) -> list[Sample]:
    """Return samples with what the global expert says of so many distorted copies of each; `taps` are the images'."""
    of_copies = ge.taps(distorted(images, copies))
    return [
        Sample(image.copy(), label, int(target), taps[row : row + 1], of_copies[copies * row : copies * (row + 1)])
        for row, (image, label, target) in enumerate(zip(images, labels, targets, strict=True))
    ]


def joined(parts: Iterable[Taps]) -> Taps:
    """Return taps one after the other."""
    known = list(parts)
    return Taps(*(np.concatenate([getattr(part, tap) for part in known]) for tap in Taps.__dataclass_fields__))


def write_support(path: str | os.PathLike[str], support: Support) -> None:
    """Write images and labels atomically, as an .npz that `edgemoe.data.load_samples` reads as well."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, image=support.images, label=support.labels)
    write_atomic(path, buffer.getvalue())


def read_support(path: str | os.PathLike[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_]]:
    """Read what `write_support` wrote: images ``(n, 28, 28)`` and labels ``(n,)``.

    Raises
    ------
    EdgemoeError
        If the file is none, or is damaged.
    """
    name = os.fspath(path)
    content = read_bounded(path, LIMIT)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            bound_unpacked(archive, LIMIT, name, "support")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            images, labels = arrays["image"], arrays["label"]
    except EdgemoeError:
        raise
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise EdgemoeError(f"{name}: not a whole support ({error})") from error
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise EdgemoeError(f"{name}: field 'image' must be uint8 (n, 28, 28), not {images.dtype} {images.shape}")
    if labels.dtype.kind != "U" or labels.shape != images.shape[:1]:
        raise EdgemoeError(f"{name}: field 'label' must be {len(images)} characters, not {labels.dtype} {labels.shape}")
    return images, labels
