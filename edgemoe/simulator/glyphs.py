"""The simulator's letter shapes: the forms people give each character, as splines through a few points.

`glyphs.json` and `symbols.json` are our own drawing. A character has one or more forms; a form has strokes, each
written as points ``"x,y x,y"`` in the order of the pen, x to the right and y up, baseline at 0, capitals 100 high. A
point marked ``^`` is a corner; the pen turns smoothly at all others. A stroke that ends where it began is a
closed ring.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.classes import CLASS_SETS
from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded

__all__ = ["SYMBOLS", "Form", "glyphs", "load_glyphs"]

Array = npt.NDArray[np.float64]

SYMBOLS = "+=#&@%"
"""Characters that no global expert has a class for, to be taught."""

STEP = 4.0
"""Distance between neighbouring samples of a stroke, in hundredths of a capital's height."""

_LIMIT = 1 << 18  # bytes of the JSON file
_REACH = 200.0  # the farthest coordinate accepted
_MOST_STROKES, _MOST_POINTS = 8, 64


@dataclass(frozen=True, eq=False)
class Form:
    """One way to write one character.

    A pen path is linear in the control points, so that drawing a form is one matrix product:
    ``chord @ points`` joins the points by straight lines, ``spline @ points`` by smooth curves.

    Attributes
    ----------
    name : str
    script : bool
        Whether the form belongs to joined-up writing rather than to print.
    weight : int
        How common the form is among people, against the character's other forms.
    points : ndarray of float64, shape (p, 2)
        Control points of all strokes, in hundredths of a capital's height.
    stroke : ndarray of int64, shape (p,)
        The stroke that each point belongs to.
    chord, spline : ndarray of float64, shape (k, p)
    ends : tuple of int
        Where each stroke's samples end among the k.
    """

    name: str
    script: bool
    weight: int
    points: Array
    stroke: npt.NDArray[np.int64]
    chord: Array
    spline: Array
    ends: tuple[int, ...]


@cache
def glyphs() -> Mapping[str, tuple[Form, ...]]:
    """The forms of the 62 characters, and of `SYMBOLS`, as shipped with the package."""
    folder = Path(__file__).parent
    return load_glyphs(folder / "glyphs.json") | load_glyphs(folder / "symbols.json", SYMBOLS)


def load_glyphs(path: str | os.PathLike[str], characters: str = CLASS_SETS["byclass"]) -> dict[str, tuple[Form, ...]]:
    """Read and check a file of glyphs.

    Returns
    -------
    dict
        The forms of each of the characters.

    Raises
    ------
    EdgemoeError
        If the file cannot be read, lacks a character, or holds a form that cannot be drawn.
    """
    source = os.fspath(path)
    try:
        content = json.loads(read_bounded(path, _LIMIT))
    except (ValueError, RecursionError) as error:
        if isinstance(error, EdgemoeError):
            raise
        raise EdgemoeError(f"{source}: not a JSON file ({error})") from error
    if not isinstance(content, dict) or set(content) != set(characters):
        raise EdgemoeError(f"{source}: must be an object with the {len(characters)} characters as its keys")
    return {character: _forms(entries, f"{source}: {character!r}") for character, entries in content.items()}


def _forms(entries: Any, where: str) -> tuple[Form, ...]:
    if not isinstance(entries, list) or not entries:
        raise EdgemoeError(f"{where}: must be a list of forms")
    forms = []
    for index, entry in enumerate(entries):
        place = f"{where} form {index}"
        if not isinstance(entry, dict) or set(entry) != {"form", "manner", "weight", "strokes"}:
            raise EdgemoeError(f"{place}: must have the keys form, manner, weight and strokes")
        name, manner, weight, strokes = (entry[key] for key in ("form", "manner", "weight", "strokes"))
        if not isinstance(name, str) or manner not in ("print", "script"):
            raise EdgemoeError(f"{place}: form must be text and manner 'print' or 'script'")
        if type(weight) is not int or not 1 <= weight <= 100:
            raise EdgemoeError(f"{place}: weight must be a whole number from 1 to 100")
        if not isinstance(strokes, list) or not 1 <= len(strokes) <= _MOST_STROKES:
            raise EdgemoeError(f"{place}: strokes must be a list of 1 to {_MOST_STROKES}")
        forms.append(_form(name, manner == "script", weight, [_parse(stroke, place) for stroke in strokes]))
    return tuple(forms)


def _parse(text: Any, where: str) -> tuple[Array, list[bool]]:
    try:
        words = text.split()
        points = np.array([[float(number) for number in word.removesuffix("^").split(",")] for word in words])
    except (AttributeError, ValueError) as error:
        raise EdgemoeError(f"{where}: stroke {text!r} is not written as 'x,y x,y^ ...'") from error
    if points.ndim != 2 or points.shape[1] != 2 or not 2 <= len(points) <= _MOST_POINTS:
        raise EdgemoeError(f"{where}: stroke {text!r} must have 2 to {_MOST_POINTS} points x,y")
    if not (np.abs(points) <= _REACH).all() or (np.diff(points, axis=0) == 0).all(axis=1).any():
        raise EdgemoeError(f"{where}: stroke {text!r} has equal neighbours or a point beyond {_REACH:g}")
    return points, [word.endswith("^") for word in words]


def _form(name: str, script: bool, weight: int, strokes: list[tuple[Array, list[bool]]]) -> Form:
    blocks = [_path(points, corners) for points, corners in strokes]
    counts = [block[0].shape[1] for block in blocks]
    samples = [len(block[0]) for block in blocks]
    chord, spline = (np.zeros((sum(samples), sum(counts))) for _ in range(2))
    row = column = 0
    for (straight, smooth), k, p in zip(blocks, samples, counts, strict=True):
        chord[row : row + k, column : column + p] = straight
        spline[row : row + k, column : column + p] = smooth
        row, column = row + k, column + p
    return Form(
        name=name,
        script=script,
        weight=weight,
        points=np.concatenate([points[:p] for (points, _), p in zip(strokes, counts, strict=True)]),
        stroke=np.repeat(np.arange(len(strokes)), counts),
        chord=chord,
        spline=spline,
        ends=tuple(np.cumsum(samples).tolist()),
    )


def _path(points: Array, corners: list[bool]) -> tuple[Array, Array]:
    """Return the matrices (k, p) from a stroke's control points to samples along chords and along a spline.

    The spline is a cubic Hermite one with centripetal knots, which keep it from looping between points
    (Yuksel, Schaefer, Keyser, "Parameterization and applications of Catmull-Rom curves", Computer-Aided
    Design 43, 2011). Its knots are those of the glyph as drawn, so that it is linear in the points.
    """
    closed = bool((points[0] == points[-1]).all()) and len(points) > 3
    length = np.hypot(*np.diff(points, axis=0).T)
    knot = np.sqrt(length)
    count = len(points) - closed
    place = np.eye(count)[np.arange(len(points)) % count]  # a ring's last point is its first
    if closed:
        corners = [corners[0] or corners[-1], *corners[1:-1], corners[0] or corners[-1]]
    slope = np.diff(place, axis=0) / knot[:, None]
    before, after = slope.copy(), slope.copy()  # each segment's slope at its start and at its end
    for i in range(count if closed else count - 1):
        if (i == 0 and not closed) or corners[i]:
            continue
        a, b = knot[i - 1], knot[i]
        before[i] = after[i - 1] = (slope[i - 1] * b + slope[i] * a) / (a + b)
    chords, curves = [], []
    for i in range(len(length)):
        free_start = corners[i] or (i == 0 and not closed)
        free_end = corners[i + 1] or (i + 1 == len(length) and not closed)
        if free_start and not free_end:  # at a free end the curve has no bend
            before[i] = 1.5 * slope[i] - 0.5 * after[i]
        if free_end and not free_start:
            after[i] = 1.5 * slope[i] - 0.5 * before[i]
        steps = max(2, round(length[i] / STEP))
        s = np.arange(i > 0, steps + 1)[:, None] / steps
        chords.append((1 - s) * place[i] + s * place[i + 1])
        curves.append(
            chords[-1] + s * (1 - s) * knot[i] * ((1 - s) * (before[i] - slope[i]) - s * (after[i] - slope[i]))
        )
    return np.concatenate(chords), np.concatenate(curves)
