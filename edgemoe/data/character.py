"""Which ink in a picture is the character, and which is dirt, a ruled line, a frame or a neighbour."""

import numpy as np
import numpy.typing as npt

from edgemoe.errors import EdgemoeError

__all__ = ["character_mask"]

CONNECTED = 0.4
"""Ink from which neighbouring pixels belong to one part: below the half at which a stroke ends, so that one
with a faint stretch stays in one piece."""

SMALLEST_PART = 0.02
"""Of the main part's ink: what is smaller is a speck. The dot of an i is about a tenth."""

SMALLEST_BELOW = 0.25
"""The same for a part that is wholly below the main one, where none of the 62 characters has a mark."""

FARTHEST = 1.0
"""Of the main part's longer side: what is farther away belongs to something else."""

CENTRE = 0.35
"""Of the picture's sides: the standard deviation of the Gaussian weight that ink loses towards the border."""

BORDER_WEIGHT = 0.1
"""What a part that touches the border counts, against one that does not, in the search for the main part."""


def character_mask(ink: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Find the character in a map of ink.

    The main part is the connected piece with the most ink, ink near the centre counting more, and pieces that
    touch the border counting little. Other pieces belong to it if they are neither tiny nor far away; where
    the main part is clear of the border, they must be too.

    Parameters
    ----------
    ink : ndarray of float32, shape (height, width)
        0 on the paper, 1 on the strokes.

    Returns
    -------
    ndarray of bool, shape (height, width)

    Raises
    ------
    EdgemoeError
        If the main part is too small to be a character.
    """
    height, width = ink.shape
    part, n = _connected_parts(ink > CONNECTED)
    y, x = np.nonzero(part)
    owner = part[y, x] - 1
    amount = ink[y, x]
    mass = np.bincount(owner, amount, n)
    low, high = (
        np.full((n, 2), max(ink.shape)),
        np.zeros((n, 2), np.int64),
    )  # (y, x) of the first and last pixel
    np.minimum.at(low, owner, np.stack([y, x], axis=1))
    np.maximum.at(high, owner, np.stack([y, x], axis=1))

    off_centre = ((y + 0.5) / height - 0.5) ** 2 + ((x + 0.5) / width - 0.5) ** 2
    central = np.bincount(owner, amount * np.exp(-off_centre / (2 * CENTRE**2)), n)
    at_border = ((low == 0) | (high == [height - 1, width - 1])).any(axis=1)
    main = int(np.argmax(central * np.where(at_border, BORDER_WEIGHT, 1)))
    extent = int((high[main] - low[main]).max()) + 1
    if extent < max(2, max(ink.shape) / 32):
        raise EdgemoeError("the picture has specks of ink, but no character")

    gap = np.maximum(np.maximum(low[main] - high, low - high[main]), 0)
    keep = (mass >= SMALLEST_PART * mass[main]) & (np.hypot(*gap.T) <= FARTHEST * extent)
    keep &= (low[:, 0] <= high[main, 0]) | (mass >= SMALLEST_BELOW * mass[main])
    if not at_border[main]:
        keep &= ~at_border
    keep[main] = True
    return np.concatenate([[False], keep])[part]


def _connected_parts(on: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], int]:
    """Number the 8-connected parts from 1, (height, width), 0 elsewhere, and count them.

    Each row's runs of pixels join the runs that they touch in the row above, in a forest of parents.
    """
    part = np.zeros(on.shape, np.int64)
    parent = [0]

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    change = np.diff(on.astype(np.int8), axis=1, prepend=0, append=0)
    above: list[tuple[int, int, int]] = []
    for y, row in enumerate(change):
        here = []
        starts, stops = np.flatnonzero(row == 1).tolist(), np.flatnonzero(row == -1).tolist()
        for start, stop in zip(starts, stops, strict=True):
            run = len(parent)
            parent.append(run)
            part[y, start:stop] = run
            for start_above, stop_above, run_above in above:
                if start_above <= stop and start <= stop_above:
                    parent[root(run_above)] = run
            here.append((start, stop, run))
        above = here
    roots, number = np.unique([root(run) for run in range(len(parent))], return_inverse=True)
    return number[part], len(roots) - 1
