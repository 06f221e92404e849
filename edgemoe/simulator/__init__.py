"""Simulated writers: handwriting for the demo and the tests, with no data but the glyphs in this package."""

from edgemoe.simulator.glyphs import SYMBOLS
from edgemoe.simulator.samples import generic_samples, simulated_samples
from edgemoe.simulator.writer import Writer, simulate_writer

__all__ = ["SYMBOLS", "Writer", "generic_samples", "simulate_writer", "simulated_samples"]
