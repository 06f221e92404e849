"""One-shot: score, cut, retrain."""

from collections.abc import Sequence

from torch import nn

from edgemoe.global_expert.lessons import Lessons
from edgemoe.global_expert.train import Log, Recipe
from edgemoe.pruning.criteria import Criterion
from edgemoe.pruning.schedules.schedule import QUIET, Run, check_shape, learn, score
from edgemoe.pruning.surgery import prune

__all__ = ["one_shot"]


def one_shot(
    model: nn.Sequential,
    shape: Sequence[int],
    criterion: Criterion,
    lessons: Lessons,
    recipe: Recipe,
    run: Run = QUIET,
) -> tuple[nn.Sequential, Log]:
    """Cut all at once, then retrain: "prune once and retrain" of Li et al., arXiv 1608.08710, section 3.4.

    See `Schedule`.
    """
    check_shape(model, shape)
    pruned = prune(model, score(model, criterion, lessons, recipe), shape)
    return pruned, learn(pruned, lessons, recipe, run)
