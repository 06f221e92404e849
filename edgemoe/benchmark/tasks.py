"""What the benchmark measures on: tasks, each of one writer and one draw of the samples to learn from."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.method import Characters
from edgemoe.classes import merge_labels
from edgemoe.data import draw_shots, load_samples
from edgemoe.device.global_expert import GlobalExpert
from edgemoe.errors import EdgemoeError

__all__ = ["SOURCES", "Data", "Sets", "Task", "draw_sets", "list_tasks", "load_data"]

BYSTANDERS = 400  # of other writers' samples a task, at most: half as many as a UNIPEN writer has
SOURCES = ("user", "bystander", "generic")

Reader = Callable[[GlobalExpert, npt.NDArray[np.uint8], npt.NDArray[np.int64]], Characters]


@dataclass(frozen=True)
class Data:
    """All samples of a study.

    Attributes
    ----------
    names : dict of str to str
        Where the samples come from: "writers" and "generic".
    digests : dict of str to str
        What tells their content from any other, by the same keys.
    people : tuple of str
        All writers, sorted.
    skipped : tuple of str
        Those among them who have no two samples of any class: they can only be bystanders.
    classes : str
        One character each, by index.
    samples : Characters
        Of all writers.
    owners : ndarray of int64, shape (n,)
        The writer of each sample, as an index into `people`.
    generic : Characters
        Of people in general.
    """

    names: dict[str, str]
    digests: dict[str, str]
    people: tuple[str, ...]
    skipped: tuple[str, ...]
    classes: str
    samples: Characters
    owners: npt.NDArray[np.int64]
    generic: Characters


@dataclass(frozen=True)
class Task:
    """One writer (an index into the study's people), one draw, and the seed of all that is drawn for them."""

    writer: int
    draw: int
    seed: int


@dataclass(frozen=True)
class Sets:
    """The samples of one task.

    Attributes
    ----------
    support : Characters
        What every method learns from.
    asked : tuple of Characters
        What every method is asked about, in the order of `SOURCES`: all the user's other samples, samples of other
        writers, and the generic ones.
    """

    support: Characters
    asked: tuple[Characters, Characters, Characters]


def load_data(ge: GlobalExpert, writers: str, generic: str, characters: Reader) -> Data:
    """Read both files, and have the global expert see every sample once for all tasks.

    Parameters
    ----------
    ge : GlobalExpert
    writers, generic : str
        Anything that `load_samples` reads; the first with writer ids.
    characters : callable
        Takes the global expert, images (n, 28, 28) and class indices (n,), and returns `Characters`.

    Raises
    ------
    EdgemoeError
        If a file is unusable, the first one names fewer than two writers, or no writer has two samples of a class.
    """
    images, labels, ids = load_samples(writers)
    if ids is None:
        raise EdgemoeError(f"{writers}: names no writers")
    names, owners = np.unique(ids.astype(str), return_inverse=True)
    if len(names) < 2:
        raise EdgemoeError(f"{writers}: has one writer alone, and bystanders are other writers")
    labels = merge_labels(labels, ge.classes, writers)
    skipped = tuple(
        name
        for index, name in enumerate(names.tolist())
        if np.unique(labels[owners == index], return_counts=True)[1].max() < 2
    )
    if len(skipped) == len(names):
        raise EdgemoeError(f"{writers}: no writer has two samples of a class, one to learn from and one to leave")
    others, other_labels, _ = load_samples(generic)
    other_labels = merge_labels(other_labels, ge.classes, generic)
    return Data(
        {"writers": writers, "generic": generic},
        {"writers": _digest(images, labels, owners), "generic": _digest(others, other_labels)},
        tuple(names.tolist()),
        skipped,
        ge.classes,
        characters(ge, images, _indices(ge, labels)),
        owners.astype(np.int64),
        characters(ge, others, _indices(ge, other_labels)),
    )


def list_tasks(data: Data, draws: int, limit: int | None, seed: int) -> list[Task]:
    """List the tasks of the first `limit` writers that can be learnt from, draw by draw.

    All writers' first draws come first, so that a study that is stopped early has seen every writer.
    """
    usable = [index for index, name in enumerate(data.people) if name not in data.skipped][:limit]
    return [Task(writer, draw, 1_000_000 * seed + 1000 * writer + draw) for draw in range(draws) for writer in usable]


def draw_sets(data: Data, task: Task, shots: int) -> Sets:
    """Draw a task's samples: the same for the same task, whatever else is measured."""
    own, others = (np.flatnonzero((data.owners == task.writer) == is_own) for is_own in (True, False))
    chosen, rest = draw_shots(np.array(list(data.classes))[data.samples.labels[own]], shots, task.seed)
    rng = np.random.default_rng([task.seed, 1])
    near = np.sort(rng.choice(others, min(BYSTANDERS, len(others)), replace=False))
    return Sets(data.samples[own[chosen]], (data.samples[own[rest]], data.samples[near], data.generic))


def _indices(ge: GlobalExpert, labels: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    index = {name: number for number, name in enumerate(ge.classes)}
    return np.array([index[label] for label in labels.tolist()], np.int64)


def _digest(*arrays: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
