"""DPP: which k of a layer's n channels stay is drawn at random, and the odds are learnt along with the weights."""

from collections.abc import Sequence

import torch
from torch import nn

from edgemoe.global_expert.lessons import Lessons
from edgemoe.global_expert.train import Log, Recipe
from edgemoe.pruning.criteria import Criterion
from edgemoe.pruning.schedules.gates import Gate, gates_of, insert_gates, top_mask
from edgemoe.pruning.schedules.schedule import QUIET, Run, check_shape, score, train_gated

__all__ = ["Drawn", "dpp", "relaxed_top"]

PACE = 100.0  # a log-odds moves so many times as fast as a weight: AdamW moves either by about the rate a step
SPREAD = 4.0  # the log-odds start between -SPREAD and SPREAD in the order of the criterion
WARM, COLD = 1.0, 0.1  # temperatures


class Drawn(Gate):
    """A gate that draws which channels are open for each batch, by learnt odds, and can be differentiated by them.

    Gumbel noise on the log-odds and the k highest kept draw k of n without replacement (Kool, van Hoof, Welling, arXiv
    1903.06059); on the way back the draw is replaced by its relaxation (the straight-through Gumbel-softmax of Jang,
    Gu, Poole, arXiv 1611.01144, section 2.2, for k in place of one).

    Attributes
    ----------
    keep : int
        k.
    temperature : Tensor of float32, shape ()
        Of the relaxation; at 0 nothing is drawn and `mask` holds.
    odds : Parameter, shape (width,)
        Log-odds over PACE.
    """

    temperature: torch.Tensor

    def __init__(self, scores: torch.Tensor, keep: int) -> None:
        super().__init__(len(scores))
        self.keep = keep
        self.register_buffer("temperature", torch.tensor(WARM))
        ranks = torch.empty(len(scores))
        ranks[scores.argsort()] = torch.linspace(-SPREAD, SPREAD, len(scores))
        self.odds = nn.Parameter(ranks / PACE)
        self.settle()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gate activations ``(n, width, ...)``."""
        if not self.training or not self.temperature:
            return super().forward(x)
        noisy = PACE * self.odds - torch.empty_like(self.odds).exponential_().log()
        relaxed = relaxed_top(noisy / self.temperature, self.keep)
        return x * self.spread(top_mask(noisy, self.keep) + (relaxed - relaxed.detach()), x)

    def settle(self) -> None:
        """Make the mask what is likeliest."""
        self.mask.copy_(top_mask(self.odds.detach(), self.keep))


def dpp(
    model: nn.Sequential,
    shape: Sequence[int],
    criterion: Criterion,
    lessons: Lessons,
    recipe: Recipe,
    run: Run = QUIET,
) -> tuple[nn.Sequential, Log]:
    """Learn which k of n channels stay, by gradient descent on the odds, while the temperature falls.

    Gonzalez-Carabarin, Huijben, Veeling, Schmid, van Sloun, "Dynamic Probabilistic Pruning", arXiv 2105.12686: k-of-n
    selection by the Gumbel-softmax, here of channels. The odds start in the criterion's order. In the second part of
    the run the likeliest channels are kept and retrained. See `Schedule`.
    """
    check_shape(model, shape)
    scores = score(model, criterion, lessons, recipe)
    keeps = dict(zip(scores, shape, strict=True))
    gated = insert_gates(model, lambda name, width: Drawn(scores[name], keeps[name]))

    def revise(done: float) -> None:
        for gate in gates_of(gated).values():
            assert isinstance(gate, Drawn)
            gate.settle()
            gate.temperature.fill_(WARM * (COLD / WARM) ** done if done < 1 else 0.0)

    return train_gated(gated, lessons, recipe, run, revise, lambda step, last: True)


def relaxed_top(logits: torch.Tensor, keep: int) -> torch.Tensor:
    """Return values in [0, 1] that sum to `keep` and go to 1 for the highest logits as these grow apart.

    ``sigmoid(logits - threshold)`` with the threshold at which the sum is right (Amos, Koltun, Kolter, "The Limited
    Multi-Label Projection Layer", arXiv 1906.08707, section 3): the softmax's counterpart for k in place of one.

    Parameters
    ----------
    logits : Tensor, shape (width,)
    keep : int, 1 to width
    """
    if keep == len(logits):
        return torch.ones_like(logits)
    with torch.no_grad():
        low, high = logits.min() - 20, logits.max() + 20
        for _ in range(30):
            threshold = (low + high) / 2
            above = torch.sigmoid(logits - threshold).sum() > keep
            low, high = torch.where(above, threshold, low), torch.where(above, high, threshold)
        slopes = torch.sigmoid(logits - threshold)
        slopes = slopes * (1 - slopes)
    # One Newton step, which changes the value by nothing and has the implicit function's derivative.
    excess = torch.sigmoid(logits - threshold).sum() - keep
    return torch.sigmoid(logits - (threshold + excess / slopes.sum().clamp_min(1e-3)))
