"""Rewiring: the width is that of the target from the first step on; the lowest channels go and others come in."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from edgemoe.global_expert.lessons import Lessons
from edgemoe.global_expert.train import Log, Recipe
from edgemoe.pruning.criteria import Criterion
from edgemoe.pruning.schedules.gates import Gate, gates_of, insert_gates, top_mask
from edgemoe.pruning.schedules.schedule import QUIET, Run, check_shape, score, score_open, train_gated

__all__ = ["Sensing", "exchange", "rewire"]


class Sensing(Gate):
    """A gate that sums what opening and shutting its channels would do to the loss.

    Attributes
    ----------
    slope : Tensor of float32, shape (width,)
        The sum of the loss's derivatives by the mask since the last exchange: negative where a more open channel would
        lower the loss.
    """

    slope: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.register_buffer("slope", torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gate activations ``(n, width, ...)``."""
        if not self.training:
            return super().forward(x)
        mask = self.mask.clone().requires_grad_()
        mask.register_hook(self._sum)  # type: ignore[no-untyped-call]
        return x * self.spread(mask, x)

    def _sum(self, slope: torch.Tensor) -> None:
        self.slope += slope


def rewire(
    model: nn.Sequential,
    shape: Sequence[int],
    criterion: Criterion,
    lessons: Lessons,
    recipe: Recipe,
    run: Run = QUIET,
    every: int = 16,
    share: float = 0.3,
) -> tuple[nn.Sequential, Log]:
    """Drop the open channels that score lowest and grow as many of the shut ones, every few steps.

    Dropping and growing at constant size is sparse evolutionary training (Mocanu et al., 2018, arXiv 1707.04780), and
    growing by the gradient is RigL (Evci et al., arXiv 1911.11134, section 3), here with channels in place of weights:
    a shut channel keeps the weights it had, and the derivative of the loss by its gate tells what opening it would do.
    The share that moves falls as a half cosine (RigL, section 3, "update schedule"). See `Schedule`.

    Parameters
    ----------
    every : int, at least 1
        Steps between two exchanges, over which the derivatives are summed.
    share : float in [0, 1]
        Of the open channels that are exchanged at first.
    """
    check_shape(model, shape)
    gated = insert_gates(model, lambda name, width: Sensing(width))
    scores = score(model, criterion, lessons, recipe)
    for (name, gate), keep in zip(gates_of(gated).items(), shape, strict=True):
        gate.mask.copy_(top_mask(scores[name], keep))

    def revise(done: float) -> None:
        scores = score_open(gated, criterion, lessons, recipe)
        for name, gate in gates_of(gated).items():
            assert isinstance(gate, Sensing)
            exchange(gate, scores[name], share * 0.5 * (1 + math.cos(math.pi * done)))

    return train_gated(gated, lessons, recipe, run, revise, lambda step, last: step % every == 0)


def exchange(gate: Sensing, scores: torch.Tensor, share: float) -> None:
    """Shut a share of the open channels, the lowest, and open as many of those that were shut.

    Opened are those that promise the largest fall of the loss, and none that promises no fall: RigL takes the largest
    gradient of either sign, since a weight may take either; a channel that comes back with its own weights may not.
    The sum starts anew.

    Parameters
    ----------
    gate : Sensing
    scores : Tensor, shape (width,)
    share : float in [0, 1]
    """
    mask, slope = gate.mask, gate.slope
    promising = (mask == 0) & (slope < 0)
    count = min(round(share * int(mask.sum())), int(promising.sum()))
    grown = (-slope).masked_fill(~promising, -torch.inf).topk(count).indices
    dropped = (-scores).masked_fill(mask == 0, -torch.inf).topk(count).indices
    mask[dropped], mask[grown] = 0.0, 1.0
    slope.zero_()
