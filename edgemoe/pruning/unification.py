"""Networks whose weights are shared through palettes: at once, or while they train, so that accuracy recovers."""

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.layers import Weighted, norm_after, weighted_layers
from edgemoe.pruning.palette import Palette, make_palette

__all__ = ["even_dense_layers", "unified_bytes", "unify", "unify_while_training"]


def even_dense_layers(model: nn.Sequential) -> list[str]:
    """Return the dense layers of an even number of inputs, whose palettes `quantize` stores with 4 bits a weight."""
    layers = weighted_layers(model).items()
    return [name for name, layer in layers if isinstance(layer, nn.Linear) and layer.in_features % 2 == 0]


def unify(
    model: nn.Sequential,
    bits: int,
    rows: int | None = None,
    importance: Mapping[str, torch.Tensor] | None = None,
    layers: Collection[str] | None = None,
) -> tuple[nn.Sequential, dict[str, Palette]]:
    """Return a copy of a network whose weights have the values of palettes, and the palettes by layer.

    Parameters
    ----------
    model : Sequential
        Its normalization folded in. Left as it is.
    bits, rows
        As in `make_palette`, for all of these layers.
    importance : mapping of layer name to tensor, optional
        As in `make_palette`; layers that it lacks count evenly.
    layers : collection of str, optional
        The layers that get a palette; all with weights if None.

    Raises
    ------
    EdgemoeError
        If `bits` or `rows` is out of range, a layer has batch normalization behind it, or one is not there.
    """
    model = copy.deepcopy(model)
    palettes = {}
    for name, layer in _chosen(model, layers).items():
        palettes[name] = make_palette(layer.weight, bits, rows, (importance or {}).get(name))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(palettes[name].weights()))
    return model, palettes


def unify_while_training(
    bits: int, rows: int | None = None, layers: Collection[str] | None = None
) -> Callable[[nn.Sequential, int, int], None]:
    """Return an `after_step` callback of `train` that keeps a network's weights on palettes while it learns.

    Behind the shared weights stand free ones. Each step's change is made to the free weights, with the gradient taken
    at the shared ones (as Courbariaux et al., "BinaryConnect", arXiv 1511.00363, do with two values); each value of a
    codebook then moves to the mean of the free weights nearest to it, and the network gets the nearest values. So codes
    may still change, unlike in Deep Compression, which fixes them and trains the values alone. After each step every
    block has at most 2**bits values, and `unify` with the same bits and rows finds them again.

    Parameters
    ----------
    bits, rows, layers
        As in `unify`.

    Returns
    -------
    callable
        For one training run. It raises EdgemoeError at the first step as `unify` does.
    """
    shared: dict[str, _Shared] = {}

    def after_step(model: nn.Sequential, step: int, steps: int) -> None:
        weights = {name: layer.weight.detach() for name, layer in _chosen(model, layers).items()}
        if not shared:
            for name, palette in unify(model, bits, rows, layers=layers)[1].items():
                weight = weights[name].clone()
                shared[name] = _Shared(weight, weight.clone(), torch.from_numpy(palette.values), palette.rows)
        for name, weight in weights.items():
            weight.copy_(shared[name].step(weight))

    return after_step


@dataclass
class _Shared:
    """The free weights of a layer, the shared ones that it has instead, and the codebooks of its blocks of rows."""

    free: torch.Tensor
    weight: torch.Tensor
    books: torch.Tensor
    rows: int

    def step(self, trained: torch.Tensor) -> torch.Tensor:
        """Make the change that training made to the free weights, and return the new shared ones."""
        self.free += trained - self.weight
        parts = []
        for book, block in zip(self.books, torch.split(self.free, self.rows), strict=True):
            flat = block.flatten()
            codes = torch.bucketize(flat, (book[1:] + book[:-1]) / 2)
            number = torch.bincount(codes, minlength=len(book))
            means = torch.bincount(codes, flat.double(), len(book)) / number.clamp(min=1)
            book.copy_(torch.where(number > 0, means.float(), book))
            parts.append(book[torch.bucketize(flat, (book[1:] + book[:-1]) / 2)].view(block.shape))
        self.weight = torch.cat(parts)
        return self.weight


def unified_bytes(model: nn.Sequential, palettes: Mapping[str, Palette]) -> int:
    """Return the bytes that a network takes with palettes: their packed form, and biases of 4 bytes."""
    biases = sum(len(layer.weight) for layer in weighted_layers(model).values() if layer.bias is not None)
    return sum(len(palette.pack()) for palette in palettes.values()) + 4 * biases


def _chosen(model: nn.Sequential, layers: Collection[str] | None) -> dict[str, Weighted]:
    """Return the layers that are to share values, and raise EdgemoeError if normalization would scale these apart."""
    found = weighted_layers(model)
    for name in found if layers is None else layers:
        if name not in found:
            raise EdgemoeError(f"layer {name!r}: the network has none of that name with weights")
        if norm_after(model, name) is not None:
            raise EdgemoeError(
                f"layer {name!r}: the normalization behind it would scale shared values apart; fold it in first"
            )
    return {name: layer for name, layer in found.items() if layers is None or name in layers}
