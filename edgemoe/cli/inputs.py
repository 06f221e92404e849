"""What the verbs read: a user's samples, real or simulated."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import typer

from edgemoe.classes import merge_labels
from edgemoe.cli.output import note
from edgemoe.device.global_expert import GlobalExpert
from edgemoe.errors import EdgemoeError

__all__ = ["UserSamples", "generic_samples", "user_samples"]

LISTED = 12  # writers named in an error


@dataclass(frozen=True)
class UserSamples:
    """Samples of one user.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, 28, 28)
    labels : ndarray of str, shape (n,)
        In the global expert's classes.
    writers : ndarray of str, shape (n,), or None
    source : str
        Where they come from, for the record.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.str_]
    writers: npt.NDArray[np.str_] | None
    source: str

    def __getitem__(self, rows: npt.NDArray[Any]) -> "UserSamples":
        writers = None if self.writers is None else self.writers[rows]
        return UserSamples(self.images[rows], self.labels[rows], writers, self.source)


def user_samples(
    path: str | None, writer: str | None, ge: GlobalExpert, seed: int, per_class: int, sample_seed: int
) -> UserSamples:
    """Read a user's samples, or without a path have a simulated writer write some.

    Parameters
    ----------
    path : str or None
        Anything that `load_samples` reads.
    writer : str or None
        Which of the file's writers; None takes all samples, and says so if there are several writers.
    ge : GlobalExpert
        Labels are merged onto its classes.
    seed, per_class, sample_seed : int
        Of the simulated writer. Samples for training and for testing must differ in `sample_seed`.

    Raises
    ------
    EdgemoeError
        If the file is unusable, or has no such writer.
    """
    if path is None:
        from edgemoe.simulator import simulated_samples

        if writer is not None:
            raise typer.BadParameter("needs --samples", param_hint="--writer")
        images, labels = simulated_samples(seed, per_class, ge.classes, sample_seed=sample_seed)
        source = f"simulated writer {seed}"
        note(f"No --samples: {source}, {per_class} characters of each class.")
        return UserSamples(images, labels, np.full(len(labels), source), source)
    from edgemoe.data import load_samples

    images, labels, ids = load_samples(path)
    labels = merge_labels(labels, ge.classes, path)
    samples = UserSamples(images, labels, None if ids is None else ids.astype(str), path)
    names = [] if samples.writers is None else list(dict.fromkeys(samples.writers.tolist()))
    if writer is None:
        if len(names) > 1:
            note(f"{path}: all {len(labels):,} samples of its {len(names)} writers are used; --writer picks one.")
        return samples
    if samples.writers is None or writer not in names:
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        known = f"it has {', '.join(names[:LISTED])}{more}" if names else "it names no writers"
        raise EdgemoeError(f"{path}: no writer {writer!r}; {known}")
    return samples[samples.writers == writer]


def generic_samples(path: str | None, ge: GlobalExpert, seed: int) -> UserSamples:
    """Read samples by people other than the user, or have many simulated writers of moderate style write some."""
    if path is not None:
        return user_samples(path, None, ge, seed, 0, 0)
    from edgemoe import simulator

    note("No --generic: 20 simulated writers of moderate style stand in for other people.")
    return UserSamples(*simulator.generic_samples(seed, 20, ge.classes), None, "20 simulated writers of moderate style")
