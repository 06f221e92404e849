"""What the studies that retrain many networks share: the unpruned expert as the teacher, and its answers."""

import numpy as np
from torch import nn

from edgemoe.global_expert.architectures import build_network
from edgemoe.global_expert.lessons import Lessons, prepare_lessons
from edgemoe.global_expert.train import settle_normalization
from edgemoe.studies.inputs import Inputs

__all__ = ["settled", "teach"]

MEASURED = 2048  # training images on which a retrained network's normalization is measured


def teach(inputs: Inputs, images: int, variants: int = 0, strength: float = 1.0) -> tuple[nn.Sequential, Lessons]:
    """Return the unpruned expert, and its answers on training images drawn at random.

    Parameters
    ----------
    inputs : Inputs
    images : int
        How many training images are drawn.
    variants : int
        Distorted variants of each.
    strength : float in [0, 1]
        Of their distortions.
    """
    training = inputs.training()
    chosen = np.random.default_rng(0).permutation(len(training.labels))[:images]
    drawn, labels = training.images[chosen], training.labels[chosen]
    teacher = settle_normalization(build_network(inputs.trained()), drawn)
    return teacher, prepare_lessons(teacher, drawn, labels, variants, strength=strength)


def settled(model: nn.Sequential, lessons: Lessons) -> nn.Sequential:
    """Return a copy whose normalization is measured on the first of the lessons' undistorted images."""
    return settle_normalization(model, lessons.images[0][:MEASURED])
