"""Handwritten characters: readers of every supported format, and the pen-stroke renderer."""

from edgemoe.data.samples import load_samples
from edgemoe.data.shots import draw_shots
from edgemoe.data.strokes import render_strokes
from edgemoe.data.unlabelled import load_unlabelled

__all__ = ["draw_shots", "load_samples", "load_unlabelled", "render_strokes"]
