"""DPF: dynamic pruning with feedback. The mask is revised from dense weights that train on behind it."""

from collections.abc import Sequence

from torch import nn

from edgemoe.global_expert.layers import prunable_layers
from edgemoe.global_expert.lenet5 import widths
from edgemoe.global_expert.lessons import Lessons
from edgemoe.global_expert.train import Log, Recipe
from edgemoe.pruning.criteria import Criterion
from edgemoe.pruning.schedules.gates import Feedback, StraightThrough, gates_of, insert_gates, silenced, strip, top_mask
from edgemoe.pruning.schedules.schedule import QUIET, Run, check_shape, narrowed, score, train_gated

__all__ = ["add_feedback", "dpf"]


def dpf(
    model: nn.Sequential,
    shape: Sequence[int],
    criterion: Criterion,
    lessons: Lessons,
    recipe: Recipe,
    run: Run = QUIET,
    every: int = 16,
    margin: float = 0.5,
) -> tuple[nn.Sequential, Log]:
    """Revise the mask every few steps from the dense weights, so that a channel shut wrongly comes back.

    Lin, Stich, Barba, Dmitriev, Jaggi, "Dynamic Model Pruning with Feedback", ICLR 2020 (arXiv 2006.07253), here with
    channels in place of weights: the gradient is that of the pruned network, and all weights take the step, those of
    shut channels with what they would do to the loss (see `add_feedback`). The widths fall on the path of `narrowed`.
    Meant is a criterion that looks at a channel's own weights, as the magnitude in the paper does: to one that looks at
    the loss, a shut channel does nothing and stays shut. See `Schedule`.

    Parameters
    ----------
    every : int, at least 1
        Steps between two revisions.
    margin : float, at least 0
        By what share a shut channel must score above an open one to take its place. The paper has none, and SGD: there
        a shut channel moves in proportion to its gradient, but with AdamW as fast as any other. Without a margin half
        of a dense layer's channels changed places at each revision, and few were trained when the mask was settled.
    """
    check_shape(model, shape)
    gated, before = add_feedback(model), widths(model)

    def revise(done: float) -> None:
        scores = score(silenced(gated), criterion, lessons, recipe)
        for (name, gate), keep in zip(gates_of(gated).items(), narrowed(before, shape, done), strict=True):
            gate.mask.copy_(top_mask(scores[name] * (1 + margin * gate.mask), keep))

    return train_gated(gated, lessons, recipe, run, revise, lambda step, last: step % every == 0)


def add_feedback(model: nn.Sequential) -> nn.Sequential:
    """Return a copy with gates, all open, that shut channels off on the way there but not on the way back.

    The gradient by the weights of an open channel is that of the network without the shut ones, exactly. The gradient
    by those of a shut channel is what they would get if its activations were added to what the next layer reads, to
    first order from zero.
    """
    gated = insert_gates(model, lambda name, width: StraightThrough(width))
    for name, gate in gates_of(gated).items():
        setattr(gated, name, Feedback(prunable_layers(strip(gated))[name], gate))
    return gated
