"""Networks for the tests of training, pruning and export."""

from collections.abc import Sequence

import torch
from torch import nn

from edgemoe.global_expert.lenet5 import lenet5


def settled(
    shape: Sequence[int], classes: int = 47, seed: int = 0, dropout: float = 0.3, gain: tuple[float, float] = (1, 0.3)
) -> nn.Sequential:
    """A network whose normalizations have seen data, so that none of them is the identity.

    `gain` is the mean and the standard deviation of their scales.
    """
    torch.manual_seed(seed)
    model = lenet5(shape, classes, dropout)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            with torch.no_grad():
                module.weight.normal_(*gain)
                module.bias.normal_(0, 0.3)
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.3, 2)
    return model.eval()
