"""How a style bends a form: its control points, the path between them, and the ends of its strokes.

All lengths are in hundredths of a capital's height.
"""

import numpy as np

from edgemoe.simulator.glyphs import STEP, Array, Form
from edgemoe.simulator.style import Style

__all__ = ["add_hooks", "lower_waist", "path_matrix", "run_on", "vary", "waver"]

_LEAD_IN = np.array([[-1.2, -0.8], [-0.8, -0.3], [-0.4, -0.05]])
_LEAD_OUT = np.array([[0.2, -0.4], [0.7, -0.5], [1.3, -0.2], [1.8, 0.5]])


def vary(form: Form, rng: np.random.Generator, size: float) -> Array:
    """Draw a displacement (p, 2) of a form's control points, of about `size` hundredths of the form's size.

    It is the sum of a smooth warp of the plane, which keeps joints joined, a shift of each stroke, and a
    little for each point alone. Narrow forms move less sideways.
    """
    low, high = form.points.min(0), form.points.max(0)
    half = np.maximum(high - low, 0.4 * (high - low).max()) / 2
    u, v = ((form.points - (low + high) / 2) / half).T
    warp = np.stack([u, v, u * u, u * v, v * v], axis=1) @ rng.standard_normal((5, 2)).clip(-1.5, 1.5)
    shift = rng.standard_normal((len(form.ends), 2)).clip(-1.5, 1.5)[form.stroke]
    alone = rng.standard_normal(form.points.shape).clip(-1.5, 1.5)
    return np.asarray(size / 50 * half * (0.7 * warp + 0.5 * shift + 0.35 * alone))


def path_matrix(form: Form, style: Style) -> Array:
    """Return the matrix (k, p) from a form's control points to pen samples, as curved as the style has it."""
    path = form.chord + style.curve * (form.spline - form.chord)
    for start, end in zip((0, *form.ends), form.ends, strict=False):
        at = np.arange(end - start, dtype=np.float64)
        # The blur that rounds the corners dwindles towards the ends, which stay where they are.
        reach = np.minimum(style.rounding / STEP, np.minimum(at, at[::-1]) / 2)
        blur = np.exp(-((at - at[:, None]) ** 2) / (2 * np.maximum(reach, 0.05) ** 2)[:, None])
        path[start:end] = blur / blur.sum(1, keepdims=True) @ path[start:end]
    return path


def waver(count: int, rng: np.random.Generator) -> Array:
    """Draw smooth noise (count, 2) of unit variance along the pen's path, in waves 24 to 70 long."""
    frequency = 2 * np.pi * STEP / np.array([24.0, 40.0, 70.0])
    phase = rng.uniform(0, 2 * np.pi, (2, 3))
    return np.asarray(np.sqrt(2 / 3) * np.sin(np.arange(count)[:, None, None] * frequency + phase).sum(2))


def run_on(stroke: Array, amounts: Array) -> Array:
    """Lengthen a stroke by `amounts` (2,) at its start and end, or shorten it where they are below 0."""
    if len(stroke) < 8:  # a dot stays a dot
        return stroke
    for amount in amounts:
        if amount < 0:
            stroke = stroke[round(-amount / STEP) :]
        else:
            ahead = stroke[0] - stroke[2]
            tip = stroke[0] + amount * ahead / max(np.hypot(*ahead), 1e-9)
            stroke = np.concatenate([[tip], stroke])
        stroke = stroke[::-1]
    return stroke


def add_hooks(strokes: list[Array], size: float, small: bool) -> list[Array]:
    """Lead into the first stroke from the left, and out of a small letter's longest to the right.

    Only where the pen goes down, and for the latter only at the baseline.
    """
    strokes = list(strokes)
    if _goes_down(strokes[0][:4]):
        strokes[0] = np.concatenate([strokes[0][0] + size * _LEAD_IN, strokes[0]])
    longest = max(range(len(strokes)), key=lambda i: len(strokes[i]))
    end = strokes[longest][-1]
    if small and abs(end[1]) < 12 and _goes_down(strokes[longest][-4:]):
        strokes[longest] = np.concatenate([strokes[longest], end + size * _LEAD_OUT])
    return strokes


def _goes_down(points: Array) -> bool:
    dx, dy = points[-1] - points[0]
    return bool(-dy > 2 * abs(dx))


def lower_waist(stroke: Array, waist: float) -> Array:
    """Raise the height, as a fraction of a capital's, to the power of exp(`waist`)."""
    height = stroke[:, 1] / 100
    return np.stack([stroke[:, 0], 100 * np.sign(height) * np.abs(height) ** np.exp(waist)], axis=1)
