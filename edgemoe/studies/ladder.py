"""The ladder: experts of falling size, each pruned from the same one and retrained shortly in the same way."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from edgemoe.classes import class_set
from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.architectures import build_network
from edgemoe.global_expert.build import Samples
from edgemoe.global_expert.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgemoe.global_expert.export import to_onnx
from edgemoe.global_expert.layers import parameter_count
from edgemoe.global_expert.lenet5 import fold_normalization, widths
from edgemoe.global_expert.lessons import Lessons, prepare_lessons
from edgemoe.global_expert.train import Recipe, settle_normalization, train
from edgemoe.pruning.criteria import find_criterion
from edgemoe.pruning.schedules.schedule import SCORED
from edgemoe.pruning.surgery import prune
from edgemoe.studies.graphs import Answers
from edgemoe.studies.inputs import Inputs

__all__ = ["CRITERIA", "LENGTH", "SHAPES", "UNPRUNED", "Rung", "climb"]

UNPRUNED = "none"
CRITERIA = ("taylor", "magnitude")
SHAPES = (
    (20, 46, 150, 96), (18, 40, 110, 80), (18, 36, 75, 72), (16, 32, 56, 64), (12, 20, 32, 40), (8, 11, 20, 28),
)  # fmt: skip
"""From 215,000 parameters to 10,000; of 47 classes and an unpruned 20-50-500-128, 70 to 98.6 % are removed."""

LENGTH = 1 + len(CRITERIA) * len(SHAPES)
LESSONS = 40_000  # training images that the short retraining sees
RECIPE = Recipe(epochs=0, plain=3, rate=8e-3)


@dataclass(frozen=True)
class Rung:
    """One expert of the ladder.

    Attributes
    ----------
    criterion : str
        What chose its channels; `UNPRUNED` for the one that all are pruned from.
    model : LeNet-5
        Normalization settled.
    retraining : str
        How it was retrained, in words.
    """

    criterion: str
    model: nn.Sequential
    retraining: str

    @property
    def shape(self) -> str:
        """Its widths, such as ``"16-32-56-64"``."""
        return "-".join(map(str, widths(self.model)))

    @property
    def parameters(self) -> int:
        """How many it deploys, a byte each in int8."""
        return parameter_count(self.model)

    def answer(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Return class indices ``(n,)`` of images ``(n, 28, 28)``, by the exported float32 graph."""
        return self._answers(images)

    @cached_property
    def _answers(self) -> Answers:
        return Answers(to_onnx(fold_normalization(self.model)))


def climb(inputs: Inputs) -> Iterator[Rung]:
    """Yield the unpruned expert, and then `SHAPES` by each of `CRITERIA`: `LENGTH` rungs, each made in its turn.

    Where ``inputs.runs`` is given, a pruned expert is kept there as ``CRITERION-SHAPE.npz``, a checkpoint, and one that
    is there is taken instead, however it was retrained.

    Raises
    ------
    EdgemoeError
        If a checkpoint there is of another shape or class set, or was pruned from another expert.
    """
    yield Rung(UNPRUNED, _unpruned(inputs), "trained from scratch")
    for criterion in CRITERIA:
        for shape in SHAPES:
            yield _rung(inputs, criterion, shape)


@cache
def _unpruned(inputs: Inputs) -> nn.Sequential:
    return settle_normalization(build_network(inputs.trained()), inputs.training().images)


@cache
def _lessons(inputs: Inputs) -> tuple[Samples, Lessons]:
    """Return some training images, and what the unpruned expert says of them."""
    samples = inputs.training()
    rows = np.random.default_rng(0).permutation(len(samples.labels))[:LESSONS]
    some = Samples(samples.images[rows], samples.labels[rows], samples.source)
    return some, prepare_lessons(_unpruned(inputs), some.images, some.labels, variants=0)


@cache
def _rung(inputs: Inputs, criterion: str, shape: tuple[int, ...]) -> Rung:
    path = inputs.runs and inputs.runs / f"{criterion}-{'-'.join(map(str, shape))}.npz"
    origin = _digest(inputs.trained())
    if path and path.is_file():
        kept = load_checkpoint(path)
        _check(kept, shape, origin, path)
        return Rung(criterion, build_network(kept).eval(), kept.record.get("retraining", "retrained elsewhere"))
    samples, lessons = _lessons(inputs)
    whole = _unpruned(inputs)
    scores = find_criterion(criterion).score_channels(whole, samples.images[:SCORED], samples.labels[:SCORED])
    classes = class_set("balanced")
    model = prune(whole, scores, shape)
    train(model, classes, samples.images, samples.labels, RECIPE, teacher=lessons)
    model = settle_normalization(model, samples.images)
    words = f"{RECIPE.plain} epochs of {len(samples.labels):,} images, rate {RECIPE.rate / 4:g}"
    if path:
        tensors = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"pruned from": origin, "retraining": words}
        save_checkpoint(path, Checkpoint(list(shape), classes, RECIPE.plain, tensors, record))
    return Rung(criterion, model, words)


def _check(kept: Checkpoint, shape: tuple[int, ...], origin: str, path: Path) -> None:
    if tuple(kept.shape) != shape or kept.classes != class_set("balanced"):
        raise EdgemoeError(f"{path}: holds {kept.shape} of {len(kept.classes)} classes, not what its name says")
    if kept.record.get("pruned from", origin) != origin:
        raise EdgemoeError(f"{path}: pruned from another expert; remove it to prune anew")


def _digest(checkpoint: Checkpoint) -> str:
    """Return what tells a network from another: 16 hex digits."""
    digest = hashlib.sha256()
    model: dict[str, Any] = {k: v for k, v in checkpoint.tensors.items() if k.startswith("model.")}
    for name in sorted(model):
        digest.update(name.encode() + model[name].numpy().tobytes())
    return digest.hexdigest()[:16]
