"""A small world for the tests of the studies: a network, and random images of every class."""

import numpy as np
import torch
from networks import settled

from edgemoe.classes import class_set
from edgemoe.global_expert.build import Samples
from edgemoe.global_expert.checkpoint import Checkpoint
from edgemoe.global_expert.lenet5 import widths
from edgemoe.global_expert.vgg import vgg


class SmallInputs:
    """What `edgemoe.studies.inputs.Inputs` offers, made up: an 8-12-16-12 network, and 700 images in all."""

    def __init__(self) -> None:
        self.model = settled((8, 12, 16, 12), 47, dropout=0)
        rng = np.random.default_rng(0)
        bars = rng.integers(0, 256, (47, 28, 28))
        self.labels = rng.integers(0, 47, 700)
        noise = rng.integers(-40, 41, (700, 28, 28))
        self.images = np.clip(bars[self.labels] + noise, 0, 255).astype(np.uint8)  # a pattern a class

    def trained(self) -> Checkpoint:
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        return Checkpoint(list(widths(self.model)), class_set("balanced"), tensors=tensors)

    def teachers(self) -> list[Checkpoint]:
        networks = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            tensors = {f"model.{name}": value for name, value in vgg((2, 3, 3, 8), 47).state_dict().items()}
            networks.append(Checkpoint([2, 3, 3, 8], class_set("balanced"), 1, tensors, {}, "vgg"))
        return networks

    def training(self) -> Samples:
        return Samples(self.images[:400], self.labels[:400], "made up to train")

    def validation(self) -> Samples:
        return Samples(self.images[400:550], self.labels[400:550], "made up to validate")

    def test(self) -> Samples:
        return Samples(self.images[550:], self.labels[550:], "made up to test")
