"""Handwritten characters: readers of every supported format, and the pen-stroke renderer."""

from edgemoe.data.samples import load_samples
from edgemoe.data.shots import draw_shots
from edgemoe.data.strokes import render_strokes

__all__ = ["draw_shots", "load_samples", "render_strokes"]
