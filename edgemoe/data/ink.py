"""How much ink there is at each point of a picture of handwriting, whatever the paper and the light."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from edgemoe.errors import EdgemoeError

__all__ = ["ink_map"]

Plane = npt.NDArray[np.float32]

WORKING_SIDE = 256
"""Pixels of the longer side that a picture is reduced to, by whole factors. A character that fills a tenth of
such a picture still has about the 28 pixels that it ends with."""

SMALLEST_SIDE = 8
"""A picture whose longer side has fewer pixels holds no legible character."""

PAPER_WINDOW = 1 / 3
"""Of the longer side: what is dark and narrower than this is ink, what is wider is paper in the shade. Even
in a picture cut close to the character, strokes are narrower: EMNIST's are 3 of 24 pixels wide."""

LIGHT_CELLS = 4
"""Cells along the longer side in which the mean light is taken to tell dark ink from light ink."""

BORDER, BORDER_LIMIT = 1.5, 0.7
"""What the border counts against the skewness in telling dark ink from light, and the most that it may count,
for a dark frame not to pass for a dark board. Chosen, with `LIGHT_CELLS`, on 3,300 synthetic scenes of EMNIST
characters: mistaken are 12, all of them cut hard at the strokes' edges. A dark frame on all sides that is 8 %
of the picture's width and more is still taken for a board in about half of the scenes."""

DARKEST = 0.2
"""Paper counts as at least this light, of 1: in the dark a single grey level would be a large share."""

FAINTEST = 0.03
"""The least contrast of ink, as a share of the paper's light: about 8 of 255 grey levels."""

CLEAREST_NOISE = 5.0
"""Ink must stand out from the paper by this many standard deviations of the paper's grain."""


def ink_map(image: Image.Image) -> Plane:
    """Return the ink at each point of a picture.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode, size and polarity; an EXIF orientation is obeyed.

    Returns
    -------
    ndarray of float32, shape (height, width), at most 256 each
        About 0 on the paper and about 1 on the strokes, in between on soft edges; noise goes beyond both.
        Specks, ruled lines and frames are ink too.

    Raises
    ------
    EdgemoeError
        If the picture is too small or no ink stands out from the paper.
    """
    grey = _grey(image)
    if _ink_is_light(grey):
        grey = 1 - grey
    # The share of the light that the ink takes away: the same in the sun and in the shade.
    paper = _paper(grey)
    depth = (paper - grey) / np.maximum(paper, np.float32(DARKEST))
    if np.ptp(depth) < FAINTEST:
        raise EdgemoeError("the picture is blank: it has no ink")
    blank = depth <= _otsu(depth)
    depth -= np.median(depth[blank])
    strokes = float(np.median(depth[~blank]))
    grain = 1.4826 * float(np.median(np.abs(depth[blank])))  # the median deviation, as a Gaussian's sigma
    if strokes < max(FAINTEST, CLEAREST_NOISE * grain):
        raise EdgemoeError("the picture is blank: no ink stands out from the paper")
    ink: Plane = (depth / strokes).astype(np.float32)
    return ink


def _grey(image: Image.Image) -> Plane:
    """Return the light in [0, 1], upright and reduced to the working size."""
    if max(image.size) < SMALLEST_SIDE:
        raise EdgemoeError(f"the picture has {image.width} x {image.height} pixels, too few for a character")
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        # Before the conversions, each of which would copy the whole picture.
        image = image.reduce(-(-max(image.size) // WORKING_SIDE))
    deep = image.mode.startswith(("I", "F"))  # one channel of more than 8 bits
    full = 65535 if image.mode.startswith("I") else 255
    image = ImageOps.exif_transpose(image).convert("F" if deep else "RGBA")
    image = image.reduce(-(-max(image.size) // WORKING_SIDE))
    pixels: Plane = np.asarray(image, dtype=np.float32) / np.float32(full)
    if deep:
        return np.clip(np.nan_to_num(pixels), np.float32(0), np.float32(1))
    grey: Plane = pixels[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma
    alpha = pixels[..., 3]
    if alpha.min() == 1:
        return grey
    # Either the drawing is what is opaque, in one colour or on less than half of the picture, or the picture
    # is a cut-out of paper, with holes to fill.
    opaque = alpha > 0.5
    if opaque.mean() < 0.5 or np.ptp(grey[opaque]) < 0.1:
        return 1 - alpha
    return grey * alpha + np.float32(np.median(grey[opaque])) * (1 - alpha)


def _resize(plane: Plane, size: tuple[int, int], method: Image.Resampling) -> Plane:
    return np.asarray(Image.fromarray(plane).resize(size, method))


def _ink_is_light(grey: Plane) -> bool:
    """Tell light ink from dark: ink is the rarer of the two, and most of the border is paper.

    Rare values on one side make a skewed distribution, once what varies slowly is taken off.
    """
    height, width = grey.shape
    cell = max(height, width) / LIGHT_CELLS
    cells = (max(1, round(width / cell)), max(1, round(height / cell)))
    light = _resize(grey, cells, Image.Resampling.BILINEAR)
    detail = grey - _resize(light, (width, height), Image.Resampling.BILINEAR).astype(np.float64)
    detail -= detail.mean()
    skew = (detail**3).mean() / max((detail**2).mean(), 1e-12) ** 1.5
    rim = max(1, min(height, width) // 20)
    border = np.ones(grey.shape, bool)
    border[rim:-rim, rim:-rim] = False
    lead = (grey[border].mean() - grey.mean()) / max(grey.std(), 1e-6)
    return bool(skew > np.clip(BORDER * lead, -BORDER_LIMIT, BORDER_LIMIT))


def _paper(grey: Plane) -> Plane:
    """Return the light of the paper alone: the picture without what is dark and narrow.

    That is a closing, the running minimum of a running maximum: it follows slow changes of the light and hard
    shadows alike. It is taken twice, once after a quadratic surface fitted to the light is taken off, and on
    about 64 pixels, where the paper's grain is averaged out.
    """
    height, width = grey.shape
    reduction = -(-max(height, width) // 64)
    size = (-(-width // reduction), -(-height // reduction))
    coarse = _resize(grey, size, Image.Resampling.BOX)
    y, x = np.meshgrid(np.linspace(-1, 1, size[1]), np.linspace(-1, 1, size[0]), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    weights = np.linalg.lstsq(terms.reshape(-1, 6), coarse.ravel(), rcond=None)[0]
    trend: Plane = (terms @ weights).astype(np.float32)

    # Both estimates are too bright somewhere: without the trend, where the light falls off towards the
    # border; with it, beside a hard shadow.
    paper = np.minimum(_closed(coarse), trend + _closed(coarse - trend))
    return _resize(paper, (width, height), Image.Resampling.BILINEAR)


def _closed(coarse: Plane) -> Plane:
    height, width = coarse.shape
    reach = max(1, round(max(height, width) * PAPER_WINDOW / 2))
    margin = reach // 2  # shadows go on beyond the border, if less far than would hide a stroke along it
    plane = np.pad(coarse, margin, mode="edge")
    for extreme, outside in ((np.max, -np.inf), (np.min, np.inf)):
        plane = np.pad(plane, reach, constant_values=outside)
        for axis in (0, 1):
            plane = extreme(np.lib.stride_tricks.sliding_window_view(plane, 2 * reach + 1, axis), axis=-1)
    return plane[margin : margin + height, margin : margin + width]


def _otsu(values: npt.NDArray[np.floating]) -> float:
    """Return the threshold that parts the values into the two most distinct classes.

    Source: Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on Systems,
    Man, and Cybernetics 9 (1979): it maximizes the variance between the classes.
    """
    count, edges = np.histogram(values, 128)
    middle = (edges[1:] + edges[:-1]) / 2
    below, sum_below = np.cumsum(count), np.cumsum(count * middle)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sum_below[-1] * below / below[-1] - sum_below) ** 2 / (below * above)
    return float(edges[1 + np.argmax(np.nan_to_num(between[:-1], nan=0, posinf=0))])
