"""What a pruning schedule is, and what all of them share: the scores, the path of the widths, the one training run."""

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgemoe.global_expert.layers import prunable_layers
from edgemoe.global_expert.lessons import Lessons
from edgemoe.global_expert.train import Log, Recipe, train
from edgemoe.pruning.criteria import Criterion
from edgemoe.pruning.schedules.gates import cut, gates_of
from edgemoe.pruning.surgery import prune

__all__ = [
    "QUIET",
    "SCORED",
    "Run",
    "Schedule",
    "check_shape",
    "learn",
    "narrowed",
    "score",
    "score_open",
    "train_gated",
]

SCORED = 4096  # training images that a criterion looks at
MOVING = 0.5  # share of the steps in which the choice of channels moves; the others retrain what was chosen


@dataclass(frozen=True)
class Run:
    """Where the training of a schedule is kept and shown, as in `edgemoe.global_expert.train.train`.

    Attributes
    ----------
    classes : str
        Kept in the state, one character a class.
    state : path, optional
        Where the state is kept after each epoch. If it is there, the run goes on from it, and ends bit for bit as if it
        had never been interrupted.
    validation : pair of images and labels, optional
        Tried after each epoch, for the log alone.
    progress : callable
        Called with ``{"step", "steps", "loss"}`` after every 20 steps, and with each epoch's log entry.
    """

    classes: str = ""
    state: str | os.PathLike[str] | None = None
    validation: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]] | None = None
    progress: Callable[[dict[str, Any]], None] = lambda event: None


QUIET = Run()
"""Nothing is kept and nothing is shown."""


class Schedule(Protocol):
    """A way from a trained network to a smaller one.

    Parameters
    ----------
    model : Sequential
        A trained network that `prune` can prune. Left as it is.
    shape : sequence of int
        The widths to keep, one a prunable layer.
    criterion : Criterion
        Scores channels.
    lessons : Lessons
        Training images with a teacher's answers.
    recipe : Recipe
        Of the retraining, its learning rate included. Every schedule takes its steps, no more and no fewer.
    run : Run
        Where it is kept and shown. What a schedule knows between two epochs is in the tensors of the network that it
        trains, buffers included: nothing else is in the state.

    Returns
    -------
    (Sequential, list of dict)
        An ordinary network of that shape, retrained, in evaluation mode; and the log of its epochs, as of `train`.

    Raises
    ------
    EdgemoeError
        If the shape does not lie within the model's, the model cannot be pruned, the criterion does not fit, or the
        state is that of another run.
    """

    def __call__(
        self,
        model: nn.Sequential,
        shape: Sequence[int],
        criterion: Criterion,
        lessons: Lessons,
        recipe: Recipe,
        run: Run = QUIET,
    ) -> tuple[nn.Sequential, Log]: ...


def check_shape(model: nn.Sequential, shape: Sequence[int]) -> None:
    """Raise EdgemoeError before any training if the cut at its end would."""
    prune(model, {name: torch.zeros(len(layer.weight)) for name, layer in prunable_layers(model).items()}, shape)


def learn(
    model: nn.Sequential,
    lessons: Lessons,
    recipe: Recipe,
    run: Run,
    after_step: Callable[[nn.Sequential, int, int], None] = lambda model, step, steps: None,
) -> Log:
    """Train a network in place on a teacher's answers, and return the log of its epochs."""
    return train(
        model, run.classes, lessons.images[0], lessons.labels, recipe, teacher=lessons,
        validation=run.validation, state=run.state, progress=run.progress, after_step=after_step,
    )  # fmt: skip


def score(model: nn.Sequential, criterion: Criterion, lessons: Lessons, recipe: Recipe) -> dict[str, torch.Tensor]:
    """Score the channels by training images that the recipe's seed draws, the same ones at each call.

    The model stays as it is, in training mode if it was.
    """
    rows = np.sort(np.random.default_rng(recipe.seed).permutation(len(lessons))[:SCORED])
    return criterion.score_channels(copy.deepcopy(model).eval(), lessons.images[0][rows], lessons.labels[rows])


def score_open(gated: nn.Sequential, criterion: Criterion, lessons: Lessons, recipe: Recipe) -> dict[str, torch.Tensor]:
    """Score the open channels in the network without the others; a shut one has -1, below any score."""
    found = score(cut(gated), criterion, lessons, recipe)
    scores = {}
    for name, gate in gates_of(gated).items():
        scores[name] = torch.full((len(gate.mask),), -1.0)
        scores[name][gate.mask > 0] = found[name].float()
    return scores


def narrowed(before: Sequence[int], shape: Sequence[int], done: float) -> tuple[int, ...]:
    """Return the widths at a moment of the way from one shape to a smaller one: fast at first, slow at the end.

    The cubic path of Zhu and Gupta, "To prune, or not to prune", arXiv 1710.01878, section 3, equation 1.

    Parameters
    ----------
    before, shape : sequence of int
        Where it starts and ends.
    done : float in [0, 1]
        Share of the way, in time.
    """
    return tuple(new + round((old - new) * (1 - done) ** 3) for old, new in zip(before, shape, strict=True))


def train_gated(
    gated: nn.Sequential,
    lessons: Lessons,
    recipe: Recipe,
    run: Run,
    revise: Callable[[float], None],
    due: Callable[[int, int], bool],
) -> tuple[nn.Sequential, Log]:
    """Train a gated network in one run, its gates revised in the first part, and cut it; return it with the log.

    Parameters
    ----------
    revise : callable
        Called with the share of the revising that is done, in (0, 1]; the last time, always, with 1.
    due : callable
        Whether to revise after a step: called with the steps done and the last one that revises.
    """

    def after_step(model: nn.Sequential, step: int, steps: int) -> None:
        last = max(1, round(MOVING * steps))
        if step == last or (step < last and due(step, last)):
            revise(step / last)

    log = learn(gated, lessons, recipe, run, after_step)
    if not recipe.total:
        revise(1.0)
    return cut(gated), log
