"""Iterative: the width falls over several rounds, with a little retraining between them."""

from collections.abc import Sequence

from torch import nn

from edgemoe.global_expert.lenet5 import widths
from edgemoe.global_expert.lessons import Lessons
from edgemoe.global_expert.train import Log, Recipe
from edgemoe.pruning.criteria import Criterion
from edgemoe.pruning.schedules.gates import gates_of, insert_gates, top_mask
from edgemoe.pruning.schedules.schedule import QUIET, Run, check_shape, narrowed, score_open, train_gated

__all__ = ["iterative"]


def iterative(
    model: nn.Sequential,
    shape: Sequence[int],
    criterion: Criterion,
    lessons: Lessons,
    recipe: Recipe,
    run: Run = QUIET,
    rounds: int = 8,
) -> tuple[nn.Sequential, Log]:
    """Shut the lowest channels round by round, each time scored anew, on the cubic path of `narrowed`.

    Zhu and Gupta, arXiv 1710.01878, section 3. What is shut stays shut. The rounds share one run of the recipe, so that
    its learning rate falls once, not once a round. See `Schedule`.

    Parameters
    ----------
    rounds : int, at least 1
        At equal distances in the first part of the run.
    """
    check_shape(model, shape)
    gated, before = insert_gates(model), widths(model)

    def revise(done: float) -> None:
        scores = score_open(gated, criterion, lessons, recipe)
        for (name, gate), keep in zip(gates_of(gated).items(), narrowed(before, shape, done), strict=True):
            gate.mask.copy_(top_mask(scores[name], keep))

    return train_gated(
        gated, lessons, recipe, run, revise, lambda step, last: step * rounds // last > (step - 1) * rounds // last
    )
