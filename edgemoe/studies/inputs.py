"""What the studies read: one folder of data, and one trained expert."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgemoe.classes import class_set
from edgemoe.data import load_samples
from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.build import Samples, read_samples
from edgemoe.global_expert.checkpoint import Checkpoint, load_checkpoint

__all__ = ["Inputs"]

Writers = tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_], npt.NDArray[np.str_]]


@dataclass(frozen=True)
class Inputs:
    """The data of the studies.

    Attributes
    ----------
    data : Path
        A folder with ``emnist/emnist.zip``, ``unipen/`` and ``photos/``.
    expert : Path
        Checkpoint of the unpruned expert.
    runs : Path, optional
        A folder of checkpoints of pruned experts; studies keep theirs there, and take those that are there.
    """

    data: Path
    expert: Path
    runs: Path | None = None

    def trained(self) -> Checkpoint:
        """Return the unpruned expert."""
        return load_checkpoint(self.expert)

    def teachers(self) -> list[Checkpoint]:
        """Return the larger networks that lie beside the unpruned expert, as `train-global --teachers` left them.

        Raises
        ------
        EdgemoeError
            If there is none.
        """
        files = sorted(self.expert.parent.glob("teacher-*.npz"))
        if not files:
            raise EdgemoeError(f"{self.expert.parent}: no teacher-1.npz is there; train-global --teachers makes some")
        return [load_checkpoint(file) for file in files]

    def emnist(self, split: str, *parts: str, classes: str = "balanced") -> Samples:
        """Read parts such as ``byclass-part`` of EMNIST, ``train`` or ``test``, onto a class set's indices."""
        return _samples(tuple(f"{self.data}/emnist/emnist.zip:{part}:{split}" for part in parts), class_set(classes))

    def training(self) -> Samples:
        """Read all training images, 47 classes."""
        return self.emnist("train", "byclass-part", "bymerge-part")

    def validation(self) -> Samples:
        """Read the images to choose by, 47 classes."""
        return self.emnist("test", "bymerge-part")

    def test(self) -> Samples:
        """Read the images that serve for figures alone, 47 classes."""
        return self.emnist("test", "byclass-part")

    def photos(self) -> Samples:
        """Read the photographed characters, 47 classes."""
        return _samples((f"{self.data}/photos",), class_set("balanced"))

    def writers(self, name: str = "writers") -> Writers:
        """Read images, labels and writer ids of ``unipen/<name>.npz``; ``writers_small`` is the set to choose by."""
        images, labels, owners = load_samples(f"{self.data}/unipen/{name}.npz")
        assert owners is not None
        return images, labels, owners


@cache
def _samples(paths: tuple[str, ...], classes: str) -> Samples:
    return read_samples(paths, classes)
