"""The best expert that fits a budget: many shapes are judged cheaply, and the survivors by ever longer retraining."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.layers import to_input
from edgemoe.global_expert.lessons import Lessons, prepare_lessons
from edgemoe.global_expert.train import Recipe, accuracy, settle_normalization, train
from edgemoe.pruning.budget import Budget
from edgemoe.pruning.cost import ExpertCost, Layout, layout_of
from edgemoe.pruning.criteria.criterion import Criterion, Images, Labels, Scores
from edgemoe.pruning.surgery import prune

__all__ = ["Base", "Trial", "candidates", "even_shape", "prepare_base", "search"]

STEP = 0.7  # ratio of one width to the next on the grid
MEASURED = 64  # shapes of which the loss is measured: about a tenth of a second each
SURVIVORS = 16  # shapes that are retrained at first
EPOCHS = 1  # of the first retraining; each later one takes twice as many and half the shapes
SCORED = 4096  # training images that the criterion looks at
JUDGED = 1024  # training images of the loss before retraining
LEARNT = 20_000  # training images of the short retraining
VARIANTS = 3  # distorted ones of each
RATE = 4e-3  # twice that of a long retraining, which has ten times the steps

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Base:
    """What a family of experts shares: one trained network, what a criterion says of it, and what it teaches.

    Attributes
    ----------
    network : Sequential
        Trained, its normalization settled.
    classes : str
    scores : dict of str to Tensor
        One score a channel or hidden unit, for each layer but the output.
    lessons : Lessons
        Of the short retraining.
    validation : pair of images and labels
        Held out of the training; what the retrained shapes are judged by.
    palettes : bool
        Whether the experts will keep palettes, as in `layout_of`: so they are costed. The short retrainings go without.
    """

    network: nn.Sequential
    classes: str
    scores: Scores
    lessons: Lessons
    validation: tuple[Images, Labels]
    palettes: bool = False


@dataclass(frozen=True)
class Trial:
    """A shape that was tried.

    Attributes
    ----------
    shape : tuple of int
    cost : ExpertCost
    loss : float
        Cross-entropy in nats on training images, pruned but not retrained.
    epochs : int
        Of all its short retrainings; 0 if it went out before.
    accuracy : float or None
        On the validation part, after the last of them.
    """

    shape: Shape
    cost: ExpertCost
    loss: float
    epochs: int = 0
    accuracy: float | None = None


def even_shape(layout: Layout, budget: Budget) -> Shape:
    """Return the largest shape within a budget that has all layers narrowed in the same ratio.

    With palettes, widths are even where that lets the dense layer behind keep one (`Layout.steps_of_width`).

    Raises
    ------
    EdgemoeError
        If not even the narrowest layers fit; it tells what they would take.
    """
    for permille in range(1000, 0, -1):
        narrowed = [max(1, round(width * permille / 1000)) for width in layout.widths]
        shape = tuple(layout.nearest_width(k, width) for k, width in enumerate(narrowed))
        if budget.fits(shape, layout):
            return shape
    smallest = layout.cost(shape)
    excess = [
        f"{name} {getattr(smallest, name):,} and not {limit:,}"
        for name in budget.limits
        if getattr(smallest, name) > (limit := budget.limit(name, layout))
    ]
    raise EdgemoeError(f"no expert fits {budget.text}: the smallest one takes {', '.join(excess)}")


def candidates(layout: Layout, budget: Budget) -> list[Shape]:
    """Return the shapes on a grid that fill a budget.

    The widths of all layers but one are on a geometric grid; that one, whose narrowing saves the most parameters, is as
    wide as fits. Shapes that another one contains are left out.

    Raises
    ------
    EdgemoeError
        As `even_shape`.
    """
    even_shape(layout, budget)  # raises where nothing fits
    found = set()
    widest = _widest(layout)
    step = layout.steps_of_width[widest]
    grids = [_grid(layout, k) if k != widest else [layout.widths[k]] for k in range(len(layout.widths))]
    for widths in itertools.product(*grids):
        before, after = widths[:widest], widths[widest + 1 :]
        low, high = 0, layout.widths[widest] // step  # `low` steps fit, and more than `high` do not
        while low < high:
            middle = (low + high + 1) // 2
            fits = budget.fits((*before, middle * step, *after), layout)
            low, high = (middle, high) if fits else (low, middle - 1)
        if low:
            found.add((*before, low * step, *after))
    shapes = np.array(sorted(found))
    contained = [bool(((shapes >= shape).all(1) & (shapes > shape).any(1)).any()) for shape in shapes]
    return [tuple(shape) for shape, inside in zip(shapes.tolist(), contained, strict=True) if not inside]


def prepare_base(
    network: nn.Sequential,
    classes: str,
    criterion: Criterion,
    images: Images,
    labels: Labels,
    validation: tuple[Images, Labels],
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    palettes: bool = False,
) -> Base:
    """Do once what all budgets share.

    Parameters
    ----------
    network : Sequential
        Trained; left as it is.
    classes : str
    criterion : Criterion
    images : ndarray of uint8, shape (n, 28, 28)
        Training images, of which up to 20,000 are drawn.
    labels : ndarray of int64, shape (n,)
    validation : pair of images and labels
    seed : int
        Of the draw and of the distortions.
    progress : callable
        Called with batches done and in all.
    palettes : bool
        As in `Base`.

    Raises
    ------
    EdgemoeError
        If the network is no plain sequential CNN, or the criterion cannot score its channels.
    """
    layout_of(network)
    drawn = np.random.default_rng(seed).permutation(len(images))[:LEARNT]
    images, labels = images[drawn], labels[drawn]
    network = settle_normalization(network, images)
    scores = criterion.score_channels(network, images[:SCORED], labels[:SCORED])
    lessons = prepare_lessons(network, images, labels, VARIANTS, seed, progress)
    return Base(network, classes, scores, lessons, validation, palettes)


def search(
    base: Base,
    budget: Budget,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Trial]:
    """Find the best expert within a budget.

    Of the shapes that fill the budget, those with the largest product over the layers of the share of the criterion's
    scores that stays are judged by their loss on training images, pruned but not retrained; the best of these by
    successive halving (Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization", AISTATS 2016): the more accurate half is retrained on, twice as long. What the loss before retraining
    predicts fades as the task grows: with 47 classes it prefers wide dense layers behind narrow convolutions, which
    learn worse. So either choice takes first the best shape with each width of each layer (`_spread`), and the short
    retraining weighs the layers against each other. The shape with all layers narrowed in the same ratio is always
    among those retrained, as the control.

    Parameters
    ----------
    base : Base
    budget : Budget
    seed : int
        Of the retraining.
    progress : callable
        Called with shapes measured and epochs trained so far, together, and with their number in all.

    Returns
    -------
    list of Trial
        The best first: what was retrained longest, and of that what is most accurate.

    Raises
    ------
    EdgemoeError
        If no expert fits; it tells what the smallest takes.
    """
    layout = layout_of(base.network, base.palettes)
    even = even_shape(layout, budget)
    shapes = sorted(candidates(layout, budget), key=lambda shape: (-_kept(base.scores, shape), shape))
    shapes = list(dict.fromkeys([even, *_spread(shapes, layout)[:MEASURED]]))
    lives = [min(SURVIVORS, len(shapes)) >> index for index in range(min(SURVIVORS, len(shapes)).bit_length() - 1)]
    epochs = [EPOCHS << index for index in range(len(lives))]
    total = len(shapes) + sum(a * b for a, b in zip(lives, epochs, strict=True))
    done = itertools.count(1)
    trials = []
    for shape in shapes:
        trials.append(Trial(shape, layout.cost(shape), _loss(base, shape)))
        progress(next(done), total)
    tried = {trial.shape: trial for trial in trials}
    ranked = _spread(sorted(tried, key=lambda shape: (tried[shape].loss, shape)), layout)
    alive = [tried[shape] for shape in dict.fromkeys([even, *ranked])][: lives[0] if lives else 0]
    models = {trial.shape: prune(base.network, base.scores, trial.shape) for trial in alive}

    def count(event: dict[str, object]) -> None:
        if "epoch" in event:
            progress(next(done), total)

    for index, (survivors, length) in enumerate(zip(lives, epochs, strict=True)):
        alive = alive[:survivors]
        recipe = Recipe(length, rate=RATE, seed=seed + index)
        for place, trial in enumerate(alive):
            model, images = models[trial.shape], base.lessons.images[0]
            train(model, base.classes, images, base.lessons.labels, recipe, teacher=base.lessons, progress=count)
            reached = accuracy(settle_normalization(model, images), *base.validation)
            alive[place] = replace(trial, epochs=trial.epochs + recipe.total, accuracy=reached)
            tried[trial.shape] = alive[place]
        alive.sort(key=_rank)
    return sorted(tried.values(), key=_rank)


def _rank(trial: Trial) -> tuple[float, ...]:
    return (-trial.epochs, -(trial.accuracy or 0.0), trial.loss, *trial.shape)


def _grid(layout: Layout, layer: int) -> list[int]:
    whole = layout.widths[layer]
    widths = [max(1, round(whole * STEP**k)) for k in range(math.ceil(math.log(whole, 1 / STEP)) + 1)]
    return sorted({layout.nearest_width(layer, width) for width in widths})


def _widest(layout: Layout) -> int:
    """Return which layer's narrowing saves the most parameters."""
    layers = range(len(layout.widths))
    narrowed = [layout.cost([1 if i == k else w for i, w in enumerate(layout.widths)]) for k in layers]
    return min(layers, key=lambda k: narrowed[k].parameters)


def _spread(ranked: Sequence[Shape], layout: Layout) -> list[Shape]:
    """Put first, in their order, the shapes that are the best with some width of a layer on the grid."""
    widest, first = _widest(layout), []
    seen: set[tuple[int, int]] = set()
    for shape in ranked:
        new = {(k, width) for k, width in enumerate(shape) if k != widest} - seen
        if new:
            first.append(shape)
            seen |= new
    return list(dict.fromkeys([*first, *ranked]))


def _kept(scores: Scores, shape: Shape) -> float:
    """Return the sum over the layers of the logarithm of the share of all scores that the kept channels have."""
    tiny = torch.finfo(torch.float32).tiny
    shares = [
        s.float().topk(keep).values.sum() / s.sum().clamp(tiny) for s, keep in zip(scores.values(), shape, strict=True)
    ]
    return float(torch.stack(shares).clamp(tiny).log().sum())


def _loss(base: Base, shape: Sequence[int]) -> float:
    images, labels = base.lessons.images[0, :JUDGED], base.lessons.labels[:JUDGED]
    model = settle_normalization(prune(base.network, base.scores, shape), images)
    with torch.inference_mode():
        logits = model(to_input(torch.from_numpy(images)))
        return float(F.cross_entropy(logits, torch.from_numpy(labels)))
