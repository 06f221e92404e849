"""Pruning criteria: each scores the channels of every layer; the lowest go first.

A criterion is a function ``(model, images, labels) -> {layer name: scores}`` with one score a channel or hidden unit,
entered in `CRITERIA` under the name that the command line takes. The surgery is apart from the scoring (`prune`).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from edgemoe.global_expert.lenet5 import to_input, weighted_layers

__all__ = ["CRITERIA", "Criterion", "magnitude", "random", "taylor"]

Criterion = Callable[[nn.Sequential, npt.NDArray[np.uint8], npt.NDArray[np.int64]], dict[str, torch.Tensor]]


def magnitude(
    model: nn.Sequential, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> dict[str, torch.Tensor]:
    """L1 norm of a channel's weights, normalization folded in (Li et al., arXiv 1608.08710, section 3.1).

    The weights are taken as they act: a channel that batch normalization scales down counts for less.
    """
    scores = {}
    for name, layer in list(weighted_layers(model).items())[:-1]:
        norm = norm_of(model, name)
        assert norm.running_var is not None
        gain = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).abs()
        scores[name] = layer.weight.detach().abs().flatten(1).sum(1) * gain.detach()
    return scores


def taylor(
    model: nn.Sequential, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> dict[str, torch.Tensor]:
    """First-order estimate of the loss change when a channel is cut off.

    The mean over samples of the squared sum, over the channel's map, of activation times gradient (Molchanov et al.,
    "Importance Estimation for Neural Network Pruning", CVPR 2019, equation 8, with a gate after each normalization).
    """
    model.eval()
    maps: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            output.retain_grad()
            maps[name] = output

        return hook

    names = list(weighted_layers(model))[:-1]
    hooks = [norm_of(model, name).register_forward_hook(keep(name)) for name in names]
    sums = {name: torch.zeros(()) for name in names}
    try:
        for start in range(0, len(images), 256):
            inputs = to_input(torch.from_numpy(images[start : start + 256]))
            targets = torch.from_numpy(labels[start : start + 256])
            F.cross_entropy(model(inputs), targets, reduction="sum").backward()  # type: ignore[no-untyped-call]
            for name, output in maps.items():
                assert output.grad is not None
                slopes = (output * output.grad).detach().reshape(len(inputs), output.shape[1], -1).sum(2)
                sums[name] = sums[name] + slopes.square().sum(0)
    finally:
        for handle in hooks:
            handle.remove()
        model.zero_grad(set_to_none=True)
    return {name: total / len(images) for name, total in sums.items()}


def random(
    model: nn.Sequential, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> dict[str, torch.Tensor]:
    """Scores drawn at random: the control that a criterion has to beat."""
    generator = torch.Generator().manual_seed(len(images))
    return {
        name: torch.rand(len(m.weight), generator=generator) for name, m in list(weighted_layers(model).items())[:-1]
    }


def norm_of(model: nn.Sequential, layer: str) -> nn.BatchNorm1d | nn.BatchNorm2d:
    """Return the normalization behind ``conv2`` or ``dense3``."""
    norm: nn.BatchNorm1d | nn.BatchNorm2d = getattr(model, "norm" + layer.removeprefix("conv").removeprefix("dense"))
    return norm


CRITERIA: dict[str, Criterion] = {"taylor": taylor, "magnitude": magnitude, "random": random}
