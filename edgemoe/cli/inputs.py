"""What the verbs read: a global expert, and a user's samples, real or simulated."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import typer

from edgemoe.classes import CLASS_SETS, merge_labels
from edgemoe.cli.output import note
from edgemoe.device.global_expert import GlobalExpert, load_global_expert
from edgemoe.errors import EdgemoeError

__all__ = ["UserSamples", "find_expert", "generic_samples", "kept_beside", "user_samples"]

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
    path: str | None,
    writer: str | None,
    ge: GlobalExpert,
    seed: int,
    per_class: int,
    sample_seed: int,
    symbols: str = "",
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
    symbols : str
        Spare symbols, which labels may be too.

    Raises
    ------
    EdgemoeError
        If the file is unusable, or has no such writer.
    """
    classes = ge.classes + symbols
    if path is None:
        from edgemoe.simulator import SYMBOLS, simulated_samples

        if writer is not None:
            raise typer.BadParameter("needs --samples", param_hint="--writer")
        known = CLASS_SETS["byclass"] + SYMBOLS
        written, unknown = ("".join(c for c in classes if (c in known) == wanted) for wanted in (True, False))
        images, labels = simulated_samples(seed, per_class, written, sample_seed=sample_seed)
        source = f"simulated writer {seed}"
        note(f"No --samples: {source}, {per_class} characters of each class{unknown and f', but not of {unknown}'}.")
        return UserSamples(images, labels, np.full(len(labels), source), source)
    from edgemoe.data import load_samples

    images, labels, ids = load_samples(path, symbols)
    labels = merge_labels(labels, classes, path)
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


def find_expert(
    name: str,
    *,
    profile: Path | None = None,
    samples: str | None = None,
    writer: str | None = None,
    symbols: str = "",
) -> GlobalExpert:
    """Return the global expert that ``--ge`` names; a plain ONNX file is made one.

    Parameters
    ----------
    name : str
        A shipped expert, a bundle, or an ONNX file.
    profile : Path, optional
        What the expert is for. Of an ONNX file, it is the expert that `kept_beside` the profile.
    samples, writer : str, optional
        The user's, from whose file an ONNX file is quantized: the activations' ranges are measured from all of it. The
        retention set and the statistics are of other people: the file's other writers, or else simulated ones.
    symbols : str
        Spare symbols among the samples' labels.

    Raises
    ------
    EdgemoeError
        If there is no such expert, or no expert can be made of the file.
    """
    if not name.lower().endswith(".onnx"):
        return load_global_expert(name)
    from edgemoe.global_expert.adopt import LEAST, adopt_onnx, is_adopted

    if profile is not None:
        beside = kept_beside(profile)
        if not beside.is_file():
            raise EdgemoeError(f"{beside}: not there; a profile for a plain ONNX file needs the bundle written with it")
        expert = load_global_expert(beside)
        if not is_adopted(expert, name):
            raise EdgemoeError(f"{beside}: made from another ONNX file than {name}")
        return expert
    if samples is None:
        note(f"No --samples: {name} is quantized with simulated writers' characters.")
        return adopt_onnx(name)
    from edgemoe.data import load_samples

    images, labels, ids = load_samples(samples, symbols)
    others = np.zeros(len(labels), np.bool_)
    if writer is not None and ids is not None:
        others = (ids.astype(str) != writer) & ~np.isin(labels, list(symbols))
    if others.sum() < LEAST:
        note(f"{name} is quantized with {samples}; simulated writers stand in for other people.")
        return adopt_onnx(name, more=images)
    note(f"{name} is quantized with {samples}, whose other writers stand for other people.")
    return adopt_onnx(name, images[others], labels[others], more=images)


def kept_beside(profile: Path) -> Path:
    """Return where the bundle of a plain ONNX file is kept for a profile: beside it, by its name and ``.bundle``."""
    return Path(f"{profile}.bundle")


def generic_samples(path: str | None, ge: GlobalExpert, seed: int) -> UserSamples:
    """Read samples by people other than the user, or have many simulated writers of moderate style write some."""
    if path is not None:
        return user_samples(path, None, ge, seed, 0, 0)
    from edgemoe import simulator

    note("No --generic: 20 simulated writers of moderate style stand in for other people.")
    return UserSamples(*simulator.generic_samples(seed, 20, ge.classes), None, "20 simulated writers of moderate style")
