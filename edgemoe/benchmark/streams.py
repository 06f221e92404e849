"""Streams of inputs in which people take turns, as on a device that several of them use."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.method import Characters
from edgemoe.benchmark.tasks import SOURCES
from edgemoe.device.retention import Taps

__all__ = ["AFTER_SWITCH", "Stream", "draw_stream", "stream_figures"]

SHORTEST, LONGEST = 5, 40  # inputs in a run
AFTER_SWITCH = (1, 3, 5)  # so many first inputs after a switch are looked at apart


@dataclass(frozen=True)
class Stream:
    """An order of inputs from the sources of `SOURCES`.

    Attributes
    ----------
    source : ndarray of int64, shape (m,)
        Where each input comes from.
    row : ndarray of int64, shape (m,)
        Which of that source's samples it is.
    run : ndarray of int64, shape (m,)
        The number of switches before it.
    since : ndarray of int64, shape (m,)
        The number of inputs before it in its run.
    """

    source: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    run: npt.NDArray[np.int64]
    since: npt.NDArray[np.int64]

    def of(self, asked: Sequence[Characters]) -> Characters:
        """Return the inputs in the stream's order."""
        places = [np.flatnonzero(self.source == source) for source in range(len(asked))]
        parts = [samples[self.row[place]] for samples, place in zip(asked, places, strict=True)]
        joined = Characters(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.labels for part in parts]),
            Taps(
                np.concatenate([part.taps.logits for part in parts]),
                np.concatenate([part.taps.features for part in parts]),
            ),
            np.concatenate([part.hidden for part in parts]),
        )
        return joined[np.argsort(np.concatenate(places))]

    def pick(self, answers: Sequence[npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_]:
        """Put what was found for each source's samples into the stream's order."""
        found = np.empty(len(self.source), bool)
        for source, values in enumerate(answers):
            found[self.source == source] = values[self.row[self.source == source]]
        return found


def draw_stream(sizes: Sequence[int], seed: int) -> Stream:
    """Draw runs of 5 to 40 inputs from one source each, until all the user's samples have come once.

    The next source is any of the two others. The samples of the other people come in random order, and again in
    another one when all have come. A user with fewer than 5 samples has one shorter run.

    Parameters
    ----------
    sizes : sequence of three int
        Samples of each source; the user's is the first.
    seed : int
    """
    rng = np.random.default_rng([seed, 2])
    supply = [_endless(rng, size) for size in sizes]
    left = sizes[0]
    source = int(rng.integers(len(sizes)))
    runs: list[tuple[int, int]] = []
    while left:
        lengths = [length for length in range(SHORTEST, LONGEST + 1) if source or _leaves(left - length)]
        length = int(rng.choice(lengths or [left]))
        left -= length if source == 0 else 0
        runs.append((source, length))
        source = (source + int(rng.integers(1, len(sizes)))) % len(sizes)
    inputs = [(source, next(supply[source]), run, since) for run, (source, n) in enumerate(runs) for since in range(n)]
    return Stream(*np.array(inputs, np.int64).T)


def stream_figures(stream: Stream, right: npt.NDArray[np.bool_]) -> dict[str, dict[str, float | None]]:
    """Return for each source the accuracy on all its inputs, and on the first ones after a switch.

    Returns
    -------
    dict
        For each of `SOURCES`: "accuracy", "first1", "first3", "first5", each in [0, 1], or None if there was no such
        input. The stream's first run follows no switch.
    """
    figures: dict[str, dict[str, float | None]] = {}
    for index, name in enumerate(SOURCES):
        mine = stream.source == index
        windows = {f"first{n}": mine & (stream.run > 0) & (stream.since < n) for n in AFTER_SWITCH}
        figures[name] = {
            key: float(right[chosen].mean()) if chosen.any() else None
            for key, chosen in {"accuracy": mine, **windows}.items()
        }
    return figures


def _leaves(left: int) -> bool:
    """Tell whether so many of the user's samples can still be given out in whole runs."""
    return left == 0 or left >= SHORTEST


def _endless(rng: np.random.Generator, size: int) -> Iterator[int]:
    while True:
        yield from rng.permutation(size).tolist()
