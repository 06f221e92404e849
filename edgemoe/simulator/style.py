"""What one simulated writer does alike in every character."""

from dataclasses import dataclass, fields

import numpy as np

__all__ = ["Style", "draw_style"]


@dataclass(frozen=True)
class Style:
    """A writer's traits. Lengths are in hundredths of a capital's height."""

    script: float
    """Log of the preference for the forms of joined-up writing over those of print."""
    slant: float
    """Shear: x gained to the right per unit of height."""
    turn: float
    """Rotation of the baseline, in radians, counter-clockwise."""
    width: float
    """Log of the widening."""
    waist: float
    """Log of the exponent on the height: above 0 it lowers the middle of a capital, and the small letters."""
    curve: float
    """0 joins the points by straight lines, 1 by smooth curves; above 1 the curves bulge."""
    rounding: float
    """Distance over which corners are rounded off."""
    tremor: float
    """Amplitude of the pen's waver."""
    overshoot: float
    """How far strokes run on beyond their ends; below 0 they stop short."""
    hook: float
    """Size of the hooks by which letters begin and end, as if joined; none if not above 0."""
    habit: float
    """Size of the writer's own change to each form, in hundredths of the form's size."""
    haste: float
    """Size of the change from one sample to the next, in hundredths of the form's size."""
    fickle: float
    """Chance that the form of a sample is drawn anew instead of being the writer's usual one."""


# Each trait is normal, cut off at twice its spread and at a least value. All were set on sheets of ten
# writers' characters, so that a person reads nearly all, while a LeNet-5 that knows EMNIST alone reads about
# as many as it does of UNIPEN's writers: 72 % (47 classes; by writer, seeds 0 to 9, 55 to 86 %).
_MEAN = Style(
    script=0.4, slant=0.10, turn=0.0, width=-0.05, waist=0.0, curve=0.95, rounding=3.0, tremor=0.45,
    overshoot=1.5, hook=0.0, habit=8.0, haste=6.0, fickle=0.18,
)  # fmt: skip
_SPREAD = Style(
    script=2.0, slant=0.22, turn=0.12, width=0.18, waist=0.18, curve=0.15, rounding=2.0, tremor=0.25,
    overshoot=4.0, hook=7.0, habit=2.3, haste=1.0, fickle=0.06,
)  # fmt: skip
_LEAST = Style(
    script=-9.0, slant=-0.3, turn=-0.25, width=-0.4, waist=-0.4, curve=0.7, rounding=0.0, tremor=0.1,
    overshoot=-4.0, hook=-9.0, habit=0.0, haste=1.0, fickle=0.0,
)  # fmt: skip


def draw_style(rng: np.random.Generator, strength: float) -> Style:
    """Draw a style.

    Parameters
    ----------
    rng : Generator
    strength : float in [0, 1]
        How far the style may lie from the mean one; it scales the writer's habits as well.
    """
    traits = {}
    for name in (field.name for field in fields(Style)):
        deviation = strength * float(np.clip(rng.standard_normal(), -2, 2))
        traits[name] = max(getattr(_LEAST, name), getattr(_MEAN, name) + deviation * getattr(_SPREAD, name))
    traits["habit"] *= strength
    return Style(**traits)
