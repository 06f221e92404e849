"""Distorted copies of a user's images, as a device could make them."""

import numpy as np
from PIL import Image

from edgemoe.benchmark.experiments.samples import Sample
from edgemoe.device.retention import Taps

__all__ = ["augmented"]

TURN, SHEAR, STRETCH, SHIFT = 0.12, 0.12, 0.08, 0.8  # radians, slope, log of a factor, pixels: standard deviations


def augmented(sample: Sample, copies: int, strength: float = 1.0) -> Sample:
    """Return the sample followed by `copies` distorted forms of each image, as the global expert sees them."""
    if not copies:
        return sample
    if sample.images is None:
        raise ValueError("these samples came without images")
    rng = np.random.default_rng(0)
    images = []
    for image in np.tile(sample.images, (copies, 1, 1)):
        turn, shear, wide, high = strength * rng.normal(0, (TURN, SHEAR, STRETCH, STRETCH))
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        matrix = matrix @ np.array([[np.exp(wide), shear], [0, np.exp(high)]])
        move = 13.5 - matrix @ np.array([13.5, 13.5]) + strength * rng.normal(0, SHIFT, 2)
        place = (*matrix[0], move[0], *matrix[1], move[1])
        images.append(
            np.asarray(
                Image.fromarray(image).transform((28, 28), Image.Transform.AFFINE, place, Image.Resampling.BILINEAR)
            )
        )
    drawn = sample.ge.taps(np.stack(images))
    taps = Taps(*(np.concatenate([getattr(part, tap) for part in (sample.taps, drawn)]) for tap in vars(drawn)))
    return Sample(sample.ge, taps, np.tile(sample.labels, 1 + copies))
