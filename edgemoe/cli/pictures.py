"""Pictures of which characters were read how, and of what is taken for what; drawn with Pillow alone."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from edgemoe.cli.sheet import CARD_COLOUR, FAINT, INK, LINE, MARGIN, PAPER, RIGHT, USER, WRONG
from edgemoe.device.mixture import Answers

__all__ = ["draw_answers", "draw_confusions"]

COLUMNS, SHOWN = 8, 48  # characters in a row, and in the picture
CELL, CAPTION, GAP = 112, 92, 16
SQUARE = 13  # of a confusion


def draw_answers(
    images: npt.NDArray[np.uint8], answers: Answers, truth: npt.NDArray[np.str_], title: str, footer: str
) -> bytes:
    """Return a PNG of characters, misread ones first: what each expert said, the gate's weight, answer and truth.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, 28, 28)
    answers : Answers
    truth : ndarray of str, shape (n,)
    title, footer : str
        Plain ASCII: Pillow's own font has little more.
    """
    wrong, split = answers.labels != truth, answers.global_labels != answers.local_labels
    order = np.lexsort((np.arange(len(truth)), ~split, ~wrong))[:SHOWN]
    rows = max(1, -(-len(order) // COLUMNS))
    width = 2 * MARGIN + COLUMNS * (CELL + GAP) - GAP
    picture = Image.new("RGB", (width, 150 + rows * (CELL + CAPTION + GAP) + 50), PAPER)
    draw = ImageDraw.Draw(picture)
    write(draw, (MARGIN, 36), title, 28)
    summary = f"{int(wrong.sum()):,} of {len(truth):,} misread, shown first; then those on which the experts differ"
    write(draw, (MARGIN, 78), summary, 16, FAINT)
    write(
        draw, (MARGIN, 104), "G global expert, L local expert, bar the gate's weight of L; large: the answer", 16, FAINT
    )
    for place, row in enumerate(order):
        x = MARGIN + place % COLUMNS * (CELL + GAP)
        y = 144 + place // COLUMNS * (CELL + CAPTION + GAP)
        _character(picture, draw, (x, y), images[row], answers, int(row), str(truth[row]))
    write(draw, (MARGIN, picture.height - 38), footer, 14, FAINT)
    return png(picture)


def _character(
    picture: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int], image: npt.NDArray[np.uint8],
    answers: Answers, row: int, truth: str,
) -> None:  # fmt: skip
    x, y = at
    answer, gate = str(answers.labels[row]), float(answers.gate[row])
    right = answer == truth
    draw.rounded_rectangle(
        (x, y, x + CELL, y + CELL + CAPTION), 10, CARD_COLOUR, LINE if right else WRONG, 1 + (not right)
    )
    side = CELL - 14
    ink = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    picture.paste(Image.new("RGB", (side, side), INK), (x + 7, y + 5), ink)
    colour, below = (RIGHT if right else WRONG), y + CELL
    write(draw, (x + 12, below + 22), answer or "?", 34, colour, "lm")
    note = "right" if right else ("rejected, is " if not answer else "is ") + truth
    write(draw, (x + CELL - 10, below + 22), note, 15, colour, "rm")
    for place, (name, said) in enumerate((("G", answers.global_labels[row]), ("L", answers.local_labels[row]))):
        left = x + 12 + place * (CELL - 20) // 2
        write(draw, (left, below + 56), name, 14, FAINT, "lm")
        write(draw, (left + 16, below + 56), str(said), 20, RIGHT if said == truth else WRONG, "lm")
    end = x + CELL - 44
    draw.rounded_rectangle((x + 12, below + 74, end, below + 80), 3, LINE)
    if gate > 0.02:
        draw.rounded_rectangle((x + 12, below + 74, x + 12 + (end - x - 12) * gate, below + 80), 3, USER)
    write(draw, (x + CELL - 10, below + 77), f"{gate:.2f}", 13, FAINT, "rm")


def draw_confusions(
    classes: npt.NDArray[np.str_], truth: npt.NDArray[np.str_], before: npt.NDArray[np.str_],
    after: npt.NDArray[np.str_], title: str, footer: str,
) -> bytes:  # fmt: skip
    """Return a PNG of two confusion tables, the global expert's and the mixture's, and of what changed most.

    Rows are what a character is, columns what it is taken for; each row's shares of its samples, from none to all.

    Parameters
    ----------
    classes : ndarray of str, shape (C,)
    truth, before, after : ndarray of str, shape (n,)
        The labels, and what the global expert alone and the mixture say.
    title, footer : str
    """
    size = len(classes) * SQUARE
    top, foot = 176, 246
    width = 2 * MARGIN + 2 * size + 90
    picture = Image.new("RGB", (width, top + size + foot), PAPER)
    draw = ImageDraw.Draw(picture)
    write(draw, (MARGIN, 36), title, 28)
    legend = "rows: what it is; columns: what it is taken for; the darker, the more of the row's samples"
    write(draw, (MARGIN, 80), legend, 16, FAINT)
    counts = []
    for place, (name, said) in enumerate((("global expert alone", before), ("mixture", after))):
        left = MARGIN + 20 + place * (size + 50)
        table = confusion(classes, truth, said)
        counts.append(table)
        write(draw, (left, top - 52), f"{name}: {float(np.mean(said == truth)):.1%} read right", 20)
        _table(draw, (left, top), table, classes)
    pairs = sorted(
        ((int(counts[0][i, j]), int(counts[1][i, j]), i, j) for i, j in np.argwhere(counts[0] + counts[1]) if i != j),
        key=lambda pair: (-abs(pair[0] - pair[1]), -pair[0]),
    )
    write(draw, (MARGIN, top + size + 34), "Confusions that changed most, before and after", 20)
    for place, (first, second, i, j) in enumerate(pairs[:15]):
        x, y = MARGIN + place // 5 * 400, top + size + 70 + place % 5 * 26
        colour = RIGHT if second < first else WRONG if second > first else FAINT
        write(draw, (x, y), f"{classes[i]} taken for {classes[j]}:  {first} before, {second} after", 17, colour)
    write(draw, (MARGIN, picture.height - 32), footer, 14, FAINT)
    return png(picture)


def confusion(
    classes: npt.NDArray[np.str_], truth: npt.NDArray[np.str_], said: npt.NDArray[np.str_]
) -> npt.NDArray[np.int64]:
    """Count the samples of each class (rows) by what they are taken for (columns); rejected ones count nowhere."""
    index = {str(name): place for place, name in enumerate(classes)}
    table = np.zeros((len(classes), len(classes)), np.int64)
    for is_, taken in zip(truth, said, strict=True):
        if taken in index:
            table[index[is_], index[taken]] += 1
    return table


def _table(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], table: npt.NDArray[np.int64], classes: npt.NDArray[np.str_]
) -> None:
    left, top = at
    paper, green, red = (np.array([int(c[k : k + 2], 16) for k in (1, 3, 5)]) for c in (CARD_COLOUR, RIGHT, WRONG))
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    end = len(classes) * SQUARE
    draw.rectangle((left, top, left + end, top + end), CARD_COLOUR, LINE)
    for place, name in enumerate(classes):
        middle = place * SQUARE + SQUARE / 2
        write(draw, (left - 10, top + middle), str(name), 12, FAINT, "mm")
        write(draw, (left + middle, top - 10), str(name), 12, FAINT, "mm")
        if place and place % 10 == 0:
            draw.line((left, top + place * SQUARE, left + end, top + place * SQUARE), LINE)
            draw.line((left + place * SQUARE, top, left + place * SQUARE, top + end), LINE)
    for i, j in np.argwhere(table):
        strength = np.sqrt(shares[i, j])  # the root, so that a single error is seen
        colour = (paper + strength * ((green if i == j else red) - paper)).astype(int)
        x, y = left + j * SQUARE, top + i * SQUARE
        draw.rectangle((x + 1, y + 1, x + SQUARE - 1, y + SQUARE - 1), tuple(map(int, colour)))


def write(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, colour: str = INK, anchor: str = "la"
) -> None:
    """Write text in Pillow's own font."""
    draw.text(at, text, fill=colour, font=ImageFont.load_default(size), anchor=anchor)


def png(picture: Image.Image) -> bytes:
    """Return a picture's file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
