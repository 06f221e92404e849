"""Simulated writers: people who do not exist, each with a style kept from one character to the next."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgemoe.errors import EdgemoeError
from edgemoe.simulator.glyphs import Array, glyphs
from edgemoe.simulator.pen import add_hooks, lower_waist, path_matrix, run_on, vary, waver
from edgemoe.simulator.style import Style, draw_style

__all__ = ["Writer", "simulate_writer"]

_UNITS = 10  # output units in a hundredth of a capital's height
_SAMPLE_SPREAD = (0.06, 0.04, 0.05)  # of the slant, turn and width from sample to sample


@dataclass(frozen=True)
class Writer:
    """A writer, as made by `simulate_writer`."""

    seed: int
    style: Style

    def write(self, characters: Sequence[str], seed: int = 0) -> list[list[Array]]:
        """Write characters, each time a little differently.

        Parameters
        ----------
        characters : sequence of str, length n
            One of the 62 ByClass characters or of `SYMBOLS` each; a plain string will do.
        seed : int, at least 0
            The same writer, characters and seed give the same strokes.

        Returns
        -------
        list of n lists of ndarray of float64, shape (k, 2)
            The strokes of each sample in the order of the pen: x to the right, y up, in whole units as a
            tablet gives them, a capital being about 1000 high.

        Raises
        ------
        EdgemoeError
            If a character is none of these, or the seed is negative.
        """
        rng = _generator(self.seed, 0, seed)
        hands = {character: _Hand(self, character) for character in sorted(set(characters))}
        return [hands[character].write(rng) for character in characters]


def simulate_writer(seed: int, strength: float = 1.0) -> Writer:
    """Make up a writer.

    Parameters
    ----------
    seed : int, at least 0
        Every seed is another person.
    strength : float in [0, 1]
        How far the style and the habits may lie from the copybook's.

    Raises
    ------
    EdgemoeError
        If the seed or the strength is out of range.
    """
    if not 0 <= strength <= 1:
        raise EdgemoeError(f"strength must lie between 0 and 1, not {strength}")
    return Writer(int(seed), draw_style(_generator(seed), strength))


class _Hand:
    """How one writer writes one character: the forms as changed by habit, and which of them is usual."""

    def __init__(self, writer: Writer, character: str) -> None:
        if character not in glyphs():
            raise EdgemoeError(f"character {character!r} is none of those that a simulated writer knows")
        # A generator of its own, so that a character's look does not hang on the others asked for.
        rng = _generator(writer.seed, 1, ord(character))
        self.character = character
        self.style = style = writer.style
        self.forms = glyphs()[character]
        weights = [form.weight * np.exp(style.script * form.script) for form in self.forms]
        self.shares = np.cumsum(weights)
        self.usual = self._choose(rng)
        self.points = [form.points + vary(form, rng, style.habit) for form in self.forms]
        self.paths = [path_matrix(form, style) for form in self.forms]

    def _choose(self, rng: np.random.Generator) -> int:
        return int((rng.random() * self.shares[-1] >= self.shares[:-1]).sum())

    def write(self, rng: np.random.Generator) -> list[Array]:
        style = self.style
        index = self._choose(rng) if rng.random() < style.fickle else self.usual
        form = self.forms[index]
        pen = self.paths[index] @ (self.points[index] + vary(form, rng, style.haste))
        pen = pen + style.tremor * waver(len(pen), rng)
        overshoot = style.overshoot * rng.uniform(0.5, 1.5, (len(form.ends), 2))
        strokes = [run_on(*pair) for pair in zip(np.split(pen, form.ends[:-1]), overshoot, strict=True)]
        if style.hook > 0 and self.character.isalpha():
            strokes = add_hooks(strokes, style.hook * rng.uniform(0.7, 1.3), self.character.islower())
        slant, turn, width = rng.normal((style.slant, style.turn, style.width), _SAMPLE_SPREAD)
        shear = np.array([[np.exp(width), 0.0], [slant, 1.0]])
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        # Whole units, as a tablet gives them, also hide the last bits in which processors differ.
        return [np.rint(_UNITS * lower_waist(stroke, style.waist) @ shear @ rotation) for stroke in strokes]


def _generator(*key: int) -> np.random.Generator:
    if min(key) < 0:
        raise EdgemoeError(f"a seed must be at least 0, not {min(key)}")
    return np.random.Generator(np.random.PCG64(list(key)))
