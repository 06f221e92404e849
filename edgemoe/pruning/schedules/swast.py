"""SWaST-like pruning: weights and training samples are tailored in turn, and what was set aside can come back.

The paper of the name was not at hand; this is what the description of it that the project started from asks for, in our
own way. One training run goes through the epochs in turn: in one the channels are chosen anew, in the next the samples.
Nothing is thrown away before the end. A channel that is shut keeps its weights behind a gate, a sample that is dropped
stays in the lessons, and one optimizer runs through, so that both come back where they left off.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.layers import to_input
from edgemoe.global_expert.lenet5 import widths
from edgemoe.global_expert.lessons import Lessons
from edgemoe.global_expert.train import Log, Recipe, train
from edgemoe.pruning.criteria import Criterion
from edgemoe.pruning.schedules.gates import cut, gates_of, insert_gates, strip, top_mask
from edgemoe.pruning.schedules.schedule import QUIET, Run, check_shape, narrowed, score

__all__ = ["el2n", "swast", "tailor"]


def swast(
    model: nn.Sequential,
    shape: Sequence[int],
    criterion: Criterion,
    lessons: Lessons,
    recipe: Recipe,
    run: Run = QUIET,
    keep: float = 0.7,
) -> tuple[nn.Sequential, Log]:
    """Tailor weights and training samples in turn, in one run, and cut what is shut at its end.

    Before every second epoch, the first among them, the channels are chosen: all are opened, `criterion` scores them,
    and those that score lowest are shut, to the widths of `narrowed`; before the middle of the run these reach `shape`,
    and the choice stands. Before the other epochs, and the first, the samples are chosen: in each class those with the
    highest `el2n`, by the network as it then is.

    Parameters
    ----------
    model, shape, criterion, lessons, recipe, run
        See `Schedule`. An epoch is one over the chosen samples: the run takes `keep` times the steps of the others.
    keep : float in (0, 1]
        Share of the samples of each class that an epoch trains on, rounded up.

    Returns
    -------
    (Sequential, list of dict)
        An ordinary network of that shape, in evaluation mode, and the log of its epochs.

    Raises
    ------
    EdgemoeError
        If `keep` is out of range, or as `Schedule` says.
    """
    if not 0 < keep <= 1:
        raise EdgemoeError(f"share of samples to keep: {keep:g}, expected above 0 and at most 1")
    check_shape(model, shape)
    gated, before = insert_gates(model), widths(model)
    last = recipe.total // 4 * 2  # the epoch, an even one, before which the channels are chosen for good
    rows = _tailor_classes(np.zeros(len(lessons)), lessons.labels, keep)
    # The same memory, so that a state has the samples of its last epoch, which the next one may keep.
    gated.register_buffer("rows", torch.from_numpy(rows))

    def before_epoch(epoch: int) -> None:
        if epoch % 2 or epoch == 0:
            scores = el2n(_answers(gated, lessons.images[0]), lessons.labels)
            rows[:] = _tailor_classes(scores, lessons.labels, keep)
        if epoch % 2 == 0 and epoch <= last:
            found = score(strip(gated), criterion, lessons, recipe)
            now = narrowed(before, shape, (epoch + 1) / (last + 1))
            for (name, gate), width in zip(gates_of(gated).items(), now, strict=True):
                gate.mask.copy_(top_mask(found[name], width))

    log = train(
        gated, run.classes, lessons.images[0][rows], lessons.labels[rows], recipe,
        teacher=_Tailored(lessons.images, lessons.logits, lessons.labels, rows, before_epoch),
        validation=run.validation, state=run.state, progress=run.progress,
    )  # fmt: skip
    if not recipe.total:
        before_epoch(0)
    return cut(gated), log


def tailor(scores: npt.NDArray[np.floating], keep: int) -> npt.NDArray[np.int64]:
    """Return which samples to keep: the positions, ascending, of the highest scores; of equal ones the first.

    Parameters
    ----------
    scores : ndarray of float, shape (n,)
        What each sample teaches: `el2n`, or its loss.
    keep : int in [0, n]

    Raises
    ------
    EdgemoeError
        If `keep` is out of range.
    """
    if not 0 <= keep <= len(scores):
        raise EdgemoeError(f"samples to keep: {keep}, expected 0 to {len(scores)}")
    return np.sort(np.argsort(-scores, kind="stable")[:keep])


def el2n(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return how far the answers are from the labels, in [0, sqrt(2)]: the norm of softmax(logits) less the one-hot.

    The EL2N score of Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet", arXiv 2107.07075, of a single network;
    a sample that is answered well and surely hardly moves the weights.

    Parameters
    ----------
    logits : ndarray of float, shape (n, C)
    labels : ndarray of int64, shape (n,)
    """
    error = torch.from_numpy(logits).float().softmax(1)
    error[torch.arange(len(labels)), torch.from_numpy(labels)] -= 1
    norms: npt.NDArray[np.float32] = error.norm(dim=1).numpy()
    return norms


@dataclass(frozen=True)
class _Tailored(Lessons):
    """Lessons of which an epoch sees some samples.

    `rows` are those, and `before_epoch` may put others of the same labels in their places.
    """

    rows: npt.NDArray[np.int64]
    before_epoch: Callable[[int], None]

    def of_epoch(self, epoch: int, distorted: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images ``(kept, 28, 28)`` and logits ``(kept, C)`` of an epoch."""
        self.before_epoch(epoch)
        images, logits = super().of_epoch(epoch, distorted)
        chosen = torch.from_numpy(self.rows)
        return images[chosen], logits[chosen]


def _tailor_classes(
    scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], share: float
) -> npt.NDArray[np.int64]:
    """Return the positions to keep, class by class: the labels at them are then the same whatever the scores are."""
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.concatenate([own[tailor(scores[own], math.ceil(share * len(own)))] for own in members])


def _answers(model: nn.Sequential, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    model.eval()
    with torch.inference_mode():
        parts = [model(to_input(torch.from_numpy(images[i : i + 1000]))).numpy() for i in range(0, len(images), 1000)]
    return np.concatenate(parts)
