"""Draw the ink of one character as EMNIST would have it.

Source: Cohen, Afshar, Tapson, van Schaik, "EMNIST: an extension of MNIST to handwritten letters", arXiv
1702.05373 (2017), section II: a black and white scan of 128 x 128 pixels is blurred with a Gaussian of
sigma 1, cropped to the character, centred in a square with its proportions kept, padded by 2 pixels, and
reduced to 28 x 28 with bicubic interpolation.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgemoe.errors import EdgemoeError

__all__ = ["redraw"]

Plane = npt.NDArray[np.float32]

SIDE = 112
"""Pixels of the longer side at which the character is drawn: 56 pixels of EMNIST's scans, taken twice for
finer strokes. Of 48, 56 and 64, 56 gives 496 photos the blur nearest to EMNIST's: pixels between 0.1 and 0.9
for each above 0.9 are 2.00, 1.65 and 1.47 (medians), against 1.71 in 20,000 EMNIST training images."""

BLUR = 2.0
"""Standard deviation of the Gaussian: 1 pixel of EMNIST's scans."""

STROKE = 18.0
"""Pixels: the stroke width that all are drawn towards. At this one the 28 x 28 images of the photos have
strokes as wide as EMNIST's, 3.1 pixels by `_width` (median)."""

EVENNESS = 0.5
"""How far widths go towards `STROKE` on a logarithmic scale: 0 keeps them, 1 makes all alike. Half way, nine
of ten photos are between 2.6 and 4.0 pixels wide; in EMNIST, between 2.3 and 4.5."""

SHARPNESS = 6.0
"""Slope of the ramp that makes soft edges nearly black and white, as EMNIST's scans are."""

FILL = 24
"""Pixels of 28 that the longer side fills, from half ink to half ink."""


def redraw(ink: Plane, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Draw a character the EMNIST way.

    Parameters
    ----------
    ink : ndarray of float32, shape (height, width)
        0 on the paper, 1 on the strokes.
    mask : ndarray of bool, shape (height, width)
        Where the character is, without its soft edges; True at least once.

    Returns
    -------
    ndarray of uint8, shape (28, 28)
        Ink 255 on 0.

    Raises
    ------
    EdgemoeError
        If no stroke is left.
    """
    # One pixel of soft edge around the mask, and one more of paper.
    ink = np.where(_spread(np.pad(mask, 2).astype(np.float32), 1.5) > 0, np.pad(ink, 2), 0)
    top, bottom, left, right = _bounds(np.pad(mask, 2))
    ink = ink[top - 2 : bottom + 2, left - 2 : right + 2]
    scale = SIDE / max(bottom - top, right - left)
    size = (round(ink.shape[1] * scale), round(ink.shape[0] * scale))
    drawn = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC))
    drawn = np.pad(np.clip((drawn - 0.5) * SHARPNESS + 0.5, 0, 1), SIDE // 4)

    width = _width(drawn)
    radius = (width ** (1 - EVENNESS) * STROKE**EVENNESS - width) / 2
    drawn = _spread(drawn, radius) if radius > 0 else 1 - _spread(1 - drawn, -radius)
    drawn = _blurred(drawn)
    if drawn.max() < 0.5:
        raise EdgemoeError("the picture's strokes are too faint or too fine to draw")

    top, bottom, left, right = _bounds(drawn >= 0.5)
    half = max(bottom - top, right - left) * 28 / FILL / 2
    y, x = (top + bottom) / 2, (left + right) / 2
    margin = int(half) + 1
    square = (x - half + margin, y - half + margin, x + half + margin, y + half + margin)
    canvas = Image.fromarray(np.pad(drawn, margin))
    small = np.asarray(canvas.resize((28, 28), Image.Resampling.BICUBIC, box=square))
    image: npt.NDArray[np.uint8] = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
    return image


def _bounds(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the box around what is True: top, bottom (exclusive), left, right (exclusive)."""
    y, x = np.nonzero(mask)
    return int(y.min()), int(y.max()) + 1, int(x.min()), int(x.max()) + 1


def _width(drawn: Plane) -> float:
    """Return the mean stroke width in pixels: twice the area over the outline's length.

    The outline's length is the image's total variation: the lengths of its level lines, averaged over the
    levels (the coarea formula).
    """
    slope_y, slope_x = np.gradient(drawn)
    return 2 * float(drawn.sum()) / max(float(np.hypot(slope_y, slope_x).sum()), 1e-6)


def _spread(drawn: Plane, radius: float) -> Plane:
    """Return the largest value within the radius of each pixel."""
    reach = int(radius)
    height, width = drawn.shape
    wide = np.pad(drawn, reach, mode="edge")
    result = drawn.copy()
    for y in range(-reach, reach + 1):
        half_chord = int((radius**2 - y**2) ** 0.5)
        for x in range(-half_chord, half_chord + 1):
            shifted = wide[reach + y : reach + y + height, reach + x : reach + x + width]
            np.maximum(result, shifted, out=result)
    return result


def _blurred(drawn: Plane) -> Plane:
    reach = int(3 * BLUR)
    bell = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * BLUR**2)).astype(np.float32)
    bell /= bell.sum()
    for _ in range(2):  # down the columns, then along the rows
        rows = np.pad(drawn, ((reach, reach), (0, 0)))
        drawn = np.tensordot(bell, np.stack([rows[i : i + len(drawn)] for i in range(len(bell))]), 1).T
    return np.ascontiguousarray(drawn)
