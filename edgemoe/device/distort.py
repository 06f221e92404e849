"""Distorted copies of the user's few samples: what the same hand might have written as well."""

import zlib

import numpy as np
import numpy.typing as npt

__all__ = ["COPIES", "distorted"]

COPIES = 4  # of each sample; 2 gained less on writers_small.npz, 8 no more (docs/experiments.md, as for what follows)
TURN, SHEAR, STRETCH, SHIFT = 0.15, 0.15, 0.1, 1.0  # radians, slope, log of a factor, pixels: standard deviations
CENTRE = 13.5


def distorted(images: npt.NDArray[np.uint8], count: int = COPIES) -> npt.NDArray[np.uint8]:
    """Turn, shear, stretch and shift each image a little, anew for each of `count` copies.

    Affine maps of the image plane, as in Simard, Steinkraus, Platt, "Best practices for convolutional neural networks
    applied to visual document analysis", ICDAR 2003, section 2; sampled bilinearly, with no ink from outside. An image
    has the same copies whenever it is learnt, so that nothing depends on what was learnt before it.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, 28, 28)

    Returns
    -------
    ndarray of uint8, shape (n x count, 28, 28)
        The copies of the first image, then those of the second, and so on.
    """
    copies = np.empty((len(images) * count, 28, 28), np.uint8)
    if not count:
        return copies
    for row, image in enumerate(images):  # one after the other: coordinates take forty times an image's memory
        amounts = np.random.default_rng(zlib.crc32(image.tobytes())).normal(0, 1, (count, 6)).astype(np.float32)
        copies[count * row : count * (row + 1)] = _transformed(np.repeat(image[None], count, axis=0), *amounts.T)
    return copies


def _transformed(
    images: npt.NDArray[np.uint8],
    turn: npt.NDArray[np.float32],
    shear: npt.NDArray[np.float32],
    wide: npt.NDArray[np.float32],
    high: npt.NDArray[np.float32],
    across: npt.NDArray[np.float32],
    down: npt.NDArray[np.float32],
) -> npt.NDArray[np.uint8]:
    """Return each image seen through the map of its own amounts, each in standard deviations ``(n,)``."""
    cosine, sine = np.cos(TURN * turn), np.sin(TURN * turn)
    width, height, slope = np.exp(STRETCH * wide), np.exp(STRETCH * high), SHEAR * shear
    rows, columns = np.mgrid[:28, :28].astype(np.float32) - np.float32(CENTRE)

    def along(by_column: npt.NDArray[np.float32], by_row: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        mapped: npt.NDArray[np.float32] = by_column[:, None, None] * columns + by_row[:, None, None] * rows
        return mapped

    x = along(cosine * width, cosine * slope - sine * height) + (CENTRE + SHIFT * across)[:, None, None]
    y = along(sine * width, sine * slope + cosine * height) + (CENTRE + SHIFT * down)[:, None, None]
    # A border of no ink is what lies outside; whatever is farther away is moved onto it.
    x, y = np.clip(x, -1, 28), np.clip(y, -1, 28)
    left, top = np.floor(x), np.floor(y)
    right_share, lower_share = x - left, y - top
    padded = np.pad(images, ((0, 0), (1, 2), (1, 2)))
    column, row = left.astype(np.int64) + 1, top.astype(np.int64) + 1
    pick = np.arange(len(images))[:, None, None]
    upper = padded[pick, row, column] * (1 - right_share) + padded[pick, row, column + 1] * right_share
    lower = padded[pick, row + 1, column] * (1 - right_share) + padded[pick, row + 1, column + 1] * right_share
    ink: npt.NDArray[np.uint8] = np.rint(upper * (1 - lower_share) + lower * lower_share).astype(np.uint8)
    return ink
