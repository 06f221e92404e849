"""The demo's picture: characters that were wrong and now are right, drawn with Pillow alone."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Correction", "Sheet", "draw_sheet"]

MARGIN, GAP, CELL, COLUMNS = 48, 20, 125, 8
WIDTH = 2 * MARGIN + COLUMNS * (CELL + GAP) - GAP
CAPTION = 58  # height of what stands below a character
CARD = 118
HISTOGRAM = 120
BINS = 20

PAPER, CARD_COLOUR, INK, FAINT, LINE = "#f6f4ef", "#ffffff", "#20242c", "#6c727e", "#d9d6ce"
WRONG, RIGHT, USER, GENERIC = "#c8323c", "#1c8a4c", "#2563b8", "#9aa1ad"


@dataclass(frozen=True)
class Correction:
    """A character that the global expert alone misread and the mixture reads.

    Attributes
    ----------
    image : ndarray of uint8, shape (28, 28)
    before, after : str
        The global expert's answer, and the mixture's, which is the truth.
    gate : float in [0, 1]
        The weight of the local expert.
    """

    image: npt.NDArray[np.uint8]
    before: str
    after: str
    gate: float


@dataclass(frozen=True)
class Sheet:
    """What is drawn.

    Attributes
    ----------
    title, subtitle, caption, footer : str
        Plain ASCII: Pillow's own font has little more. `caption` stands above the characters.
    headlines : sequence of (label, value, detail)
        At most four.
    corrections : sequence of Correction
    user_gate, generic_gate : ndarray of float32, shape (n,), in [0, 1]
    """

    title: str
    subtitle: str
    headlines: Sequence[tuple[str, str, str]]
    caption: str
    corrections: Sequence[Correction]
    user_gate: npt.NDArray[np.float32]
    generic_gate: npt.NDArray[np.float32]
    footer: str


def draw_sheet(sheet: Sheet) -> bytes:
    """Return the picture as PNG, 1236 pixels wide."""
    rows = -(-len(sheet.corrections) // COLUMNS)
    cards, grid = 128, 128 + CARD + 66
    gates = grid + rows * (CELL + CAPTION + GAP) + 44
    height = gates + HISTOGRAM + 96
    picture = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(picture)
    _write(draw, (MARGIN, 40), sheet.title, 34)
    _write(draw, (MARGIN, 86), sheet.subtitle, 17, FAINT)
    width = (WIDTH - 2 * MARGIN - (len(sheet.headlines) - 1) * GAP) // len(sheet.headlines)
    for index, headline in enumerate(sheet.headlines):
        _card(draw, MARGIN + index * (width + GAP), cards, width, *headline)
    _write(draw, (MARGIN, grid - 44), sheet.caption, 20)
    for index, correction in enumerate(sheet.corrections):
        row, column = divmod(index, COLUMNS)
        _correction(picture, draw, MARGIN + column * (CELL + GAP), grid + row * (CELL + CAPTION + GAP), correction)
    _histograms(draw, gates, sheet.user_gate, sheet.generic_gate)
    _write(draw, (MARGIN, height - 40), sheet.footer, 14, FAINT)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, colour: str = INK, anchor: str = "la"
) -> float:
    """Write text and return its width."""
    font = ImageFont.load_default(size)
    draw.text(at, text, fill=colour, font=font, anchor=anchor)
    return font.getlength(text)


def _card(draw: ImageDraw.ImageDraw, x: int, y: int, width: int, label: str, value: str, detail: str) -> None:
    draw.rounded_rectangle((x, y, x + width, y + CARD), 12, CARD_COLOUR, LINE)
    _write(draw, (x + 18, y + 16), label, 15, FAINT)
    _write(draw, (x + 18, y + 40), value, 30)
    _write(draw, (x + 18, y + 86), detail, 15, FAINT)


def _correction(picture: Image.Image, draw: ImageDraw.ImageDraw, x: int, y: int, shown: Correction) -> None:
    draw.rounded_rectangle((x, y, x + CELL, y + CELL + CAPTION), 10, CARD_COLOUR, LINE)
    side = CELL - 12
    ink = Image.fromarray(shown.image).resize((side, side), Image.Resampling.BICUBIC)
    picture.paste(Image.new("RGB", (side, side), INK), (x + 6, y + 6), ink)
    bottom = y + CELL + 14
    middle = x + CELL / 2
    font = ImageFont.load_default(30)
    half = font.getlength(shown.before) / 2
    _write(draw, (middle - 32, bottom), shown.before, 30, WRONG, "mm")
    draw.line((middle - 32 - half - 6, bottom + 8, middle - 32 + half + 6, bottom - 8), WRONG, 3)
    draw.line((middle - 8, bottom, middle + 8, bottom), FAINT, 2)
    draw.polygon([(middle + 12, bottom), (middle + 5, bottom - 5), (middle + 5, bottom + 5)], FAINT)
    _write(draw, (middle + 34, bottom), shown.after, 30, RIGHT, "mm")
    left, right, bar = x + 16, x + CELL - 48, y + CELL + CAPTION - 18
    draw.rounded_rectangle((left, bar, right, bar + 6), 3, LINE)
    if shown.gate > 0.02:
        draw.rounded_rectangle((left, bar, left + (right - left) * shown.gate, bar + 6), 3, USER)
    _write(draw, (x + CELL - 14, bar + 3), f"{shown.gate:.2f}", 13, FAINT, "rm")


def _histograms(
    draw: ImageDraw.ImageDraw, y: int, user: npt.NDArray[np.float32], generic: npt.NDArray[np.float32]
) -> None:
    """Draw how the gate weighs the user's characters, and other people's, side by side in each bin."""
    _write(draw, (MARGIN, y - 36), "What the gate says: weight of the local expert, from 0 (not asked) to 1", 20)
    for index, (name, colour) in enumerate((("this writer's characters", USER), ("other people's (EMNIST)", GENERIC))):
        x = WIDTH - MARGIN - 420 + 220 * index
        draw.rectangle((x, y - 32, x + 14, y - 18), colour)
        _write(draw, (x + 22, y - 25), name, 15, FAINT, "lm")
    shares = [np.histogram(gate, BINS, (0, 1))[0] / max(len(gate), 1) for gate in (user, generic)]
    largest = max(float(share.max()) for share in shares) or 1.0
    width, base = (WIDTH - 2 * MARGIN) / BINS, y + HISTOGRAM
    for index, (share, colour) in enumerate(zip(shares, (USER, GENERIC), strict=True)):
        for place, value in enumerate(share):
            left = MARGIN + place * width + 6 + index * (width - 12) / 2
            if value > 0:
                top = base - max(HISTOGRAM * value / largest, 1)
                draw.rectangle((left, top, left + (width - 16) / 2, base), colour)
    draw.line((MARGIN, base + 1, WIDTH - MARGIN, base + 1), FAINT, 1)
    for place in range(0, 11, 2):
        _write(draw, (MARGIN + place / 10 * BINS * width, base + 8), f"{place / 10:.1f}", 13, FAINT, "ma")
