"""Simulated writers' characters as EMNIST-like images."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from edgemoe.classes import CLASS_SETS
from edgemoe.data.strokes import render_strokes
from edgemoe.errors import EdgemoeError
from edgemoe.simulator.writer import Writer, simulate_writer

__all__ = ["generic_samples", "simulated_samples"]

Samples = tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_]]

GENERIC_STRENGTH = 0.4
"""Of the writers in `generic_samples`. At it a LeNet-5 of 65k parameters reads about 85 % of them, near the
86 % that such a network reads of held-out EMNIST images when all 47 classes count alike."""


def simulated_samples(
    seed: int,
    per_class: int = 20,
    classes: Iterable[str] = CLASS_SETS["balanced"],
    *,
    strength: float = 1.0,
    sample_seed: int = 0,
) -> Samples:
    """Write and draw samples of one simulated writer.

    Parameters
    ----------
    seed : int, at least 0
        The writer.
    per_class : int, at least 1
        Samples of each class.
    classes : iterable of str
        Characters, such as `CLASS_SETS` and `SYMBOLS` have. By EMNIST's rule a capital whose small letter is not
        among them stands for both, which are then written in turn.
    strength : float in [0, 1]
        How far the writer's style may lie from the copybook's.
    sample_seed : int, at least 0
        Another one gives fresh samples of the same writer.

    Returns
    -------
    images : ndarray of uint8, shape (n, 28, 28)
        Ink 255 on 0; n = `per_class` times the number of classes.
    labels : ndarray of str, shape (n,)
        Each class once, in the order given, and all of that again.

    Raises
    ------
    EdgemoeError
        If an argument is out of range, or a class is no character that simulated writers know.

    Examples
    --------
    >>> images, labels = simulated_samples(seed=1, per_class=2, classes="07")
    >>> images.shape, labels.tolist()
    ((4, 28, 28), ['0', '7', '0', '7'])
    """
    names = _checked(per_class, classes)
    characters = [character for turn in range(per_class) for character in _in_turn(names, turn)]
    images = _draw(simulate_writer(seed, strength), characters, sample_seed)
    return images, np.array(names * per_class, dtype="<U1")


def generic_samples(seed: int, per_class: int = 20, classes: Iterable[str] = CLASS_SETS["balanced"]) -> Samples:
    """Write and draw samples of many simulated writers of moderate style, who write each class once.

    Parameters
    ----------
    seed : int, at least 0
        The group of writers; none of them is a writer of `simulated_samples` with a seed below 2**32.
    per_class : int, at least 1
        Samples of each class, and so writers.
    classes : iterable of str
        As in `simulated_samples`.

    Returns
    -------
    images : ndarray of uint8, shape (n, 28, 28)
    labels : ndarray of str, shape (n,)

    Raises
    ------
    EdgemoeError
        If an argument is out of range, or a class is no character that simulated writers know.
    """
    names = _checked(per_class, classes)
    if seed < 0:
        raise EdgemoeError(f"a seed must be at least 0, not {seed}")
    people = np.random.Generator(np.random.PCG64(seed)).integers(1 << 32, 1 << 62, per_class)
    images = [
        _draw(simulate_writer(int(person), GENERIC_STRENGTH), _in_turn(names, turn), 0)
        for turn, person in enumerate(people)
    ]
    return np.concatenate(images), np.array(names * per_class, dtype="<U1")


def _checked(per_class: int, classes: Iterable[str]) -> list[str]:
    if per_class < 1:
        raise EdgemoeError(f"per_class must be at least 1, not {per_class}")
    names = list(classes)
    if not names:
        raise EdgemoeError("classes must hold at least one character")
    return names


def _in_turn(names: list[str], turn: int) -> list[str]:
    """Return the classes with every second turn of a merged one as its small letter."""
    return [name.lower() if turn % 2 and name.lower() not in names else name for name in names]


def _draw(writer: Writer, characters: list[str], seed: int) -> npt.NDArray[np.uint8]:
    written = writer.write(characters, seed)
    strokes = [stroke for sample in written for stroke in sample]
    offset = np.cumsum([0] + [len(sample) for sample in written])
    return render_strokes(np.concatenate(strokes), [len(stroke) for stroke in strokes], offset)
