"""Pen strokes: archives of them, and their drawing as EMNIST-like images.

The drawing is meant to be repeated in C99 to the same bits. Each point is scaled and rounded once, to a grid
of an eighth of a pixel; from there on all quantities are integers below 2**24, which float32 holds exactly,
up to the squared distance and its ink: a handful of float32 operations in a fixed order, no square root.
"""

import itertools
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.data.archive import MAX_SAMPLES
from edgemoe.data.fields import read_field, read_integers, read_labels, read_writers
from edgemoe.errors import EdgemoeError

__all__ = ["PenStrokes", "read_pen", "read_strokes", "render_character", "render_strokes"]

GRID = 8
"""Grid steps in a pixel. Even, for the pixels' centres, 0.5 off the image's centre, to lie on the grid."""

SPAN = 21.6
"""Pixels that the longer side of the pen's path fills: the 24 of 28 pixels that a character fills in EMNIST,
less a pen as wide as a tenth of the character."""

REACH = 3.0
"""Pixels from the pen's path at which its ink ends. At the distance d the ink is (1 - (d / REACH)**2)**2: a
bell like the Gaussian blur of the EMNIST conversion, 3.2 pixels wide at half its height.

Chosen on every second sample of 20 UNIPEN writers (every sixth of writers_small.npz: 3,113 characters, none
in the main benchmark), read by a LeNet-5 that knows EMNIST alone. Its accuracy is 68.1, 68.6, 68.6, 68.5 and
68.2 % for a reach of 2.4, 2.7, 3.0, 3.3 and 3.6 pixels at this span, and 68.7 and 68.9 % for a reach of 3.0
at spans of 20.5 and 22.4. The standard error is 0.8 points: the optimum is flat. Ink that falls off linearly
with the distance, which takes a square root a pixel, was at most 0.3 points better at this span.
"""

SMALLEST = 3
"""Device units: a character smaller than this is not magnified to full size, so that a dot made by a shaking
pen stays a dot. None of the 30,408 characters in UNIPEN's writers_small.npz is smaller."""

_LIMIT = 1 << 22  # twice a coordinate, and sums of two, stay whole numbers in float32
_BLOCK = 256  # segments at a time: their distance fields, 0.8 MB each, stay in a core's cache
_PIXEL = np.arange(28, dtype=np.float32) * GRID - 27 * GRID // 2


@dataclass(frozen=True)
class PenStrokes:
    """Characters as pen strokes, one after the other.

    Attributes
    ----------
    points : ndarray of int16, shape (N, 2)
        x to the right, y up, in device units.
    stroke_length : ndarray of int64, shape (S,)
        Points in each stroke, at least 1; they add up to N.
    sample_stroke_offset : ndarray of int64, shape (n + 1,)
        Sample i owns the strokes [offset[i], offset[i + 1]), at least one.
    labels : ndarray of str, shape (n,)
    writers : ndarray, shape (n,), or None
    """

    points: npt.NDArray[np.int16]
    stroke_length: npt.NDArray[np.int64]
    sample_stroke_offset: npt.NDArray[np.int64]
    labels: npt.NDArray[np.str_]
    writers: npt.NDArray[Any] | None


def read_strokes(archive: zipfile.ZipFile, symbols: str = "") -> PenStrokes:
    """Read an open .npz of pen strokes; `symbols` as in `read_labels`.

    Raises
    ------
    EdgemoeError
        If a field is missing or is not what it must be, or the fields do not fit each other.
    """
    labels = read_labels(archive, symbols)
    points, lengths, offsets = read_pen(archive)
    if len(offsets) != len(labels) + 1:
        raise EdgemoeError(f"field 'sample_stroke_offset' has {len(offsets):,} entries for {len(labels):,} labels")
    return PenStrokes(points, lengths, offsets, labels, read_writers(archive, len(labels)))


def read_pen(archive: zipfile.ZipFile) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Read points, stroke lengths and samples' offsets alone, as in `PenStrokes`; errors as in `read_strokes`."""
    points = read_field(archive, "points")
    if points.dtype != np.int16 or points.ndim != 2 or points.shape[1] != 2:
        raise EdgemoeError(f"field 'points' must be int16 (N, 2), not {points.dtype} {points.shape}")
    lengths = read_integers(archive, "stroke_length")
    offsets = read_integers(archive, "sample_stroke_offset")
    _check_structure(len(points), lengths, offsets)
    return points, lengths, offsets


def _check_structure(n_points: int, lengths: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> None:
    if lengths.size and (lengths.min() < 1 or lengths.max() > n_points):
        raise EdgemoeError(f"field 'stroke_length' holds values outside 1 to {n_points:,}")
    if lengths.sum() != n_points:
        raise EdgemoeError(f"field 'stroke_length' adds up to {lengths.sum():,} points, there are {n_points:,}")
    if len(offsets) < 2 or len(offsets) > MAX_SAMPLES + 1:
        raise EdgemoeError(f"field 'sample_stroke_offset' has {len(offsets):,} entries: no or too many samples")
    if offsets[0] != 0 or offsets[-1] != len(lengths):
        raise EdgemoeError(f"field 'sample_stroke_offset' must go from 0 to the {len(lengths):,} strokes")
    stuck = np.flatnonzero(offsets[1:] <= offsets[:-1])
    if stuck.size:
        raise EdgemoeError(f"field 'sample_stroke_offset' does not rise at sample {stuck[0]}")


def render_strokes(
    points: npt.ArrayLike, stroke_length: npt.ArrayLike, sample_stroke_offset: npt.ArrayLike
) -> npt.NDArray[np.uint8]:
    """Draw characters the EMNIST way; the arguments are the fields of `PenStrokes`.

    Parameters
    ----------
    points : array_like of real numbers, shape (N, 2)
    stroke_length : array_like of int, shape (S,)
    sample_stroke_offset : array_like of int, shape (n + 1,)

    Returns
    -------
    ndarray of uint8, shape (n, 28, 28)
        Ink 255 on 0.

    Raises
    ------
    EdgemoeError
        If the arguments do not fit each other, or a coordinate is not finite or beyond 2**22.

    Examples
    --------
    >>> image = render_strokes([[0, 0], [0, 10]], [2], [0, 1])[0]  # an upright bar
    >>> int(image[14, 13]), int(image[14, 3])
    (241, 0)
    """
    coordinates = np.asarray(points)
    if coordinates.ndim != 2 or coordinates.shape[1] != 2 or coordinates.dtype.kind not in "iuf":
        raise EdgemoeError(f"points must be numbers (N, 2), not {coordinates.dtype} {coordinates.shape}")
    if not (np.abs(coordinates.astype(np.float64)) <= _LIMIT).all():
        raise EdgemoeError(f"points must be finite and within {_LIMIT:,} units")
    lengths = np.asarray(stroke_length, dtype=np.int64)
    offsets = np.asarray(sample_stroke_offset, dtype=np.int64)
    _check_structure(len(coordinates), lengths, offsets)
    start = np.concatenate([[0], np.cumsum(lengths)])
    images = np.empty((len(offsets) - 1, 28, 28), np.uint8)
    for i, (first, last) in enumerate(itertools.pairwise(offsets)):
        images[i] = render_character(coordinates[start[first] : start[last]], lengths[first:last])
    return images


def render_character(
    points: npt.NDArray[Any], stroke_length: npt.NDArray[np.int64], smallest: float = SMALLEST
) -> npt.NDArray[np.uint8]:
    """Draw one character: its longer side fills `SPAN` pixels, centred, with its proportions kept.

    Parameters
    ----------
    points : ndarray of real numbers, shape (N, 2), N > 0
        x to the right, y up, within 2**22.
    stroke_length : ndarray of int, shape (S,)
        Points in each stroke, at least 1; they add up to N.
    smallest : float
        The size, in the points' units, below which a character is drawn smaller than full size.

    Returns
    -------
    ndarray of uint8, shape (28, 28)
        Ink 255 on 0.
    """
    position = points.astype(np.float32)
    low, high = position.min(axis=0), position.max(axis=0)
    # Twice the distance from the middle, so that whole units stay whole, times the steps in half a unit.
    scale = np.float32(SPAN * GRID / 2) / np.maximum((high - low).max(), np.float32(smallest))
    grid = np.rint((2 * position - (low + high)) * scale)

    # A segment joins two points of a stroke that the grid tells apart. Each stroke's first point is one by
    # itself too, for strokes that are dots.
    first = np.cumsum(stroke_length) - stroke_length
    joined = (grid[1:] != grid[:-1]).any(axis=1)
    joined[first[1:] - 1] = False
    begin = np.concatenate([grid[first], grid[:-1][joined]])
    end = np.concatenate([grid[first], grid[1:][joined]])
    nearest = np.full((28, 28), np.inf, np.float32)
    for block in range(0, len(begin), _BLOCK):
        field = _squared_distance(begin[block : block + _BLOCK], end[block : block + _BLOCK])
        np.minimum(nearest, field, out=nearest)

    bell = np.maximum(1 - nearest * np.float32(1 / (REACH * GRID) ** 2), 0)
    ink: npt.NDArray[np.uint8] = np.rint(bell * bell * 255).astype(np.uint8)
    return ink


def _squared_distance(begin: npt.NDArray[np.float32], end: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return, for each pixel, the squared distance to the nearest of the segments, (28, 28), in grid steps.

    For the pixel p and the segment from a to b, with product = (p - a) . (b - a) and along = product clipped
    to 0 ... |b - a|**2, it is |p - a|**2 - along (2 product - along) / |b - a|**2.
    """
    x, y = _PIXEL - begin[:, :1], -_PIXEL - begin[:, 1:]  # (S, 28) each: the image's rows go down
    step = end - begin
    length = (step * step).sum(axis=1)
    inverse = 1 / np.maximum(length, 1)
    product = (y * step[:, 1:])[:, :, None] + (x * step[:, :1])[:, None, :]
    along = np.clip(product, 0, length[:, None, None])
    gain = along * (2 * product - along) * inverse[:, None, None]
    distance: npt.NDArray[np.float32] = (y * y)[:, :, None] + (x * x)[:, None, :] - gain
    return np.asarray(distance.min(axis=0))
