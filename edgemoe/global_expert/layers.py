"""What a sequential CNN is made of: its weighted layers, what can be pruned of it, and the input it reads."""

import torch
from torch import nn

__all__ = ["Weighted", "norm_after", "parameter_count", "prunable_layers", "to_input", "weighted_layers"]

Weighted = nn.Conv2d | nn.Linear
Norm = nn.BatchNorm1d | nn.BatchNorm2d


def weighted_layers(model: nn.Sequential) -> dict[str, Weighted]:
    """Return the convolutions and dense layers by name, in order."""
    return {name: m for name, m in model.named_children() if isinstance(m, Weighted)}


def prunable_layers(model: nn.Sequential) -> dict[str, Weighted]:
    """Return the weighted layers by name but for the output layer, whose units are the classes."""
    return dict(list(weighted_layers(model).items())[:-1])


def norm_after(model: nn.Sequential, layer: str) -> Norm | None:
    """Return the batch normalization right behind a layer, or None."""
    names = [name for name, _ in model.named_children()]
    following = names[names.index(layer) + 1 :]
    module = getattr(model, following[0]) if following else None
    return module if isinstance(module, Norm) else None


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters that are deployed: those of the convolutions and dense layers."""
    return sum(p.numel() for m in model.modules() if isinstance(m, Weighted) for p in m.parameters())


def to_input(images: torch.Tensor) -> torch.Tensor:
    """Turn ``(n, 28, 28)`` uint8 into the network's ``(n, 1, 28, 28)`` float32 in [0, 1]."""
    return images.unsqueeze(1).float().div_(255.0)
