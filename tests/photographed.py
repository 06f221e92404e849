"""A drawn character as a photo shows it, and folders of such photos, for the tests of their reader."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from edgemoe.data.photos import read_ink

PAPER, PEN = 205, 60


def drawing(size: tuple[int, int] = (120, 160), character: str = "R", thickness: float = 0.08) -> Image.Image:
    """A picture of ink, 255 on 0, drawn four times too large and reduced: its edges are soft."""
    width, height = 4 * size[0], 4 * size[1]
    unit, left, top = 0.6 * min(width, height), 0.25 * width, 0.2 * height
    shapes: dict[str, list[list[tuple[float, float]]]] = {
        "R": [[(0, 1), (0, 0), (0.5, 0), (0.6, 0.25), (0.4, 0.5), (0, 0.5), (0.6, 1)]],
        "i": [[(0.3, 0.35), (0.3, 1)], [(0.3, 0.02), (0.3, 0.08)]],
        "l": [[(0.3, 0), (0.3, 1)]],
        "k.": [[(0, 0), (0, 0.9)], [(0.5, 0.3), (0, 0.6), (0.5, 0.9)], [(0.3, 1.2), (0.3, 1.22)]],
    }
    image = Image.new("L", (width, height), 0)
    draw, pen = ImageDraw.Draw(image), thickness * unit
    for stroke in shapes[character]:
        points = [(left + x * unit, top + y * unit) for x, y in stroke]
        draw.line(points, fill=255, width=round(pen))
        for x, y in points:
            draw.ellipse([x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2], fill=255)
    return image.resize(size, Image.Resampling.BOX)


def on_paper(ink: Image.Image, paper: float | npt.NDArray[np.float64] = PAPER, pen: float = PEN) -> Image.Image:
    """The same on paper: `paper` may be an array of light, the ink takes the same share of it everywhere."""
    share = 1 - np.asarray(ink) / 255 * (1 - pen / PAPER)
    return Image.fromarray(np.rint(paper * share).astype(np.uint8))


def unlike(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Mean difference as a share of the mean ink."""
    return float(np.abs(one.astype(float) - other).mean() / one.astype(float).mean())


REFERENCE = read_ink(on_paper(drawing()))


def reopened(image: Image.Image, form: str, **options: Any) -> Image.Image:
    """The picture as it comes back from a file of that format."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return Image.open(file)


def save(folder: Path, name: str, image: Image.Image | None = None, **options: Any) -> Path:
    """Save a picture, the reference's if none is given, in a folder that need not be there yet."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or on_paper(drawing())).save(path, **options)
    return path


def listing(folder: Path, *rows: str, header: str = "file,label") -> None:
    """Write a folder's labels.csv."""
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
