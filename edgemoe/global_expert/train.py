"""Training of a global expert: from scratch, or with a larger one as its teacher."""

import copy
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.architectures import architecture_of
from edgemoe.global_expert.augment import augment
from edgemoe.global_expert.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgemoe.global_expert.layers import Weighted, to_input
from edgemoe.global_expert.lenet5 import widths
from edgemoe.global_expert.lessons import Lessons

__all__ = ["FALLS", "Log", "Recipe", "accuracy", "settle_normalization", "train"]

SETTLED = 20_000  # images on which normalization is measured at the end
SLOTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of a parameter

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
File = str | os.PathLike[str]
Log = list[dict[str, Any]]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Chosen on the validation part, never on the test part.

    Attributes
    ----------
    epochs, batch : int
    plain : int
        Epochs at the end on undistorted images, at a quarter of the peak. A network spends capacity on distortions:
        these took the unpruned one from 90.3 to 90.7 % on the validation part (docs/figures/lenet5-balanced.json).
    rate : float
        Peak learning rate of AdamW (Loshchilov and Hutter, arXiv 1711.05101); it rises over the first `warmup` share
        of the steps, and then falls.
    fall : str
        How it falls, a name of `FALLS`.
    decay : float
        Decoupled weight decay.
    smoothing : float
        Label smoothing (Szegedy et al., arXiv 1512.00567, section 7).
    distill, temperature : float
        Weight of the teacher's softened answers, and their temperature (Hinton et al., arXiv 1503.02531).
    seed : int
    """

    epochs: int = 30
    plain: int = 0
    batch: int = 256
    rate: float = 2e-3
    fall: str = "cosine"
    warmup: float = 0.1
    decay: float = 0.02
    smoothing: float = 0.05
    distill: float = 0.7
    temperature: float = 2.0
    seed: int = 0

    @property
    def total(self) -> int:
        """All epochs."""
        return self.epochs + self.plain

    def __post_init__(self) -> None:
        if self.fall not in FALLS:
            raise EdgemoeError(f"the learning rate's fall {self.fall!r}: expected one of {', '.join(FALLS)}")


FALLS: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    "steps": lambda done: 0.1 ** ((done >= 0.5) + (done >= 0.75)),
    "constant": lambda done: 1.0,
}
"""What is left of the peak when a share of the way down is done: a half cosine (Loshchilov and Hutter, arXiv
1608.03983), a line, tenths after a half and three quarters (as He et al., arXiv 1512.03385, section 4.2), or all."""


def accuracy(model: nn.Module, images: Images, labels: Labels) -> float:
    """Return the share of ``(n, 28, 28)`` uint8 images whose class index the model names."""
    model.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(images), 1000):
            logits = model(to_input(torch.from_numpy(images[start : start + 1000])))
            right += int((logits.argmax(1).numpy() == labels[start : start + 1000]).sum())
    return right / len(images)


def train(
    model: nn.Sequential,
    classes: str,
    images: Images,
    labels: Labels,
    recipe: Recipe,
    *,
    teacher: nn.Module | Lessons | None = None,
    validation: tuple[Images, Labels] | None = None,
    state: File | None = None,
    progress: Callable[[dict[str, Any]], None] = lambda event: None,
    after_step: Callable[[nn.Sequential, int, int], None] = lambda model, step, steps: None,
) -> Log:
    """Train a network in place.

    All randomness of an epoch comes from the seed and the epoch's number, so that a run resumed after a kill takes the
    same steps as one that was never interrupted.

    Parameters
    ----------
    model : Sequential
        Such as a LeNet-5. What is not among its parameters and buffers is not in the run's state.
    classes : str
        Kept in the checkpoint; a class index is a position in it.
    images : ndarray of uint8, shape (n, 28, 28)
    labels : ndarray of int64, shape (n,)
        Class indices.
    recipe : Recipe
    teacher : Module or Lessons, optional
        A trained network whose logits the new one also learns from; or its answers, computed before, on variants of
        `images`, which are then what is seen.
    validation : pair of images and labels, optional
        Tried after each epoch, for the log alone.
    state : path, optional
        Where the run's state is kept after each epoch; if it is there, the run goes on from it.
    progress : callable
        Called with ``{"step", "steps", "loss"}`` after every 20 steps, and with each epoch's log entry.
    after_step : callable
        Called with the model, the steps done and the steps in all after each step: what revises masks while training.

    Returns
    -------
    list of dict
        One entry an epoch: ``{"epoch", "loss", "validation"}``.

    Raises
    ------
    EdgemoeError
        If the state is not whole, or that of another run.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    log: Log = []
    first = 0
    if state is not None and Path(state).is_file():
        first, log = _resume(state, model, classes, optimizer, recipe)
    pixels, targets = torch.from_numpy(images), torch.from_numpy(labels)
    per_epoch = math.ceil(len(images) / recipe.batch)
    if len(images) % recipe.batch == 1 and per_epoch > 1:
        per_epoch -= 1  # batch normalization cannot measure a single sample
    epochs = recipe.total
    steps = per_epoch * epochs
    if isinstance(teacher, nn.Module):
        teacher.eval()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for epoch in range(first, epochs):
        generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
        torch.manual_seed(recipe.seed * 100_003 + epoch)  # dropout draws from the global generator
        order = torch.randperm(len(pixels), generator=generator)
        distorted = epoch < recipe.epochs
        if isinstance(teacher, Lessons):
            pixels, known = teacher.of_epoch(epoch, distorted)
        model.train()
        total = 0.0
        for index in range(per_epoch):
            step = epoch * per_epoch + index
            for group in optimizer.param_groups:
                group["lr"] = _rate(recipe, step / per_epoch)
            chosen = order[index * recipe.batch : (index + 1) * recipe.batch]
            inputs = to_input(pixels[chosen])
            if isinstance(teacher, Lessons):
                answers: torch.Tensor | None = known[chosen].float()
            else:
                inputs = augment(inputs, generator) if distorted else inputs
                answers = None if teacher is None else _answer(teacher, inputs)
            loss = _loss(_answer(model, inputs), answers, targets[chosen], recipe)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            after_step(model, step + 1, steps)
            total += loss.item() * len(chosen)
            if index % 20 == 19:
                progress({"step": step + 1, "steps": steps, "loss": loss.item()})
        entry: dict[str, Any] = {"epoch": epoch + 1, "loss": round(total / len(pixels), 4)}
        if validation is not None:
            entry["validation"] = round(accuracy(model, *validation), 5)
        log.append(entry)
        if state is not None:
            _keep(state, model, optimizer, classes, recipe, log)
        progress(entry)
    if state is not None and not epochs:  # a start that is taken as it is
        _keep(state, model, optimizer, classes, recipe, log)
    model.eval()
    return log


def settle_normalization(model: nn.Sequential, images: Images) -> nn.Sequential:
    """Return a copy whose batch normalization is measured on undistorted images.

    The running averages of training are noisy and those of distorted characters; the expert will read others ("precise"
    statistics: Wu and Johnson, "Rethinking Batch in BatchNorm", arXiv 2105.07576, section 3). On the validation part
    this took the unpruned LeNet-5 from 90.08 to 90.28 % (docs/figures/lenet5-balanced.json: the log's last entry, and
    the figure).

    Parameters
    ----------
    model : LeNet-5
        Left as it is.
    images : ndarray of uint8, shape (n, 28, 28)
        Training images; 20,000 of them, or all, are looked at.
    """
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.reset_running_stats()
            module.momentum = None  # a plain average over the batches
            module.train()
    chosen = np.random.default_rng(0).permutation(len(images))[:SETTLED]
    with torch.no_grad():
        for part in np.array_split(chosen, max(1, len(chosen) // 1000)):
            model(to_input(torch.from_numpy(images[part])))
    return model.eval()


def _rate(recipe: Recipe, epoch: float) -> float:
    """Return the learning rate at a time in epochs: in each phase up over a warm-up, then down."""
    peak, start, length, warmup = recipe.rate, 0, recipe.epochs, recipe.warmup
    if epoch >= recipe.epochs:
        peak, start, length, warmup = recipe.rate / 4, recipe.epochs, recipe.plain, 0.0
    done = (epoch - start) / length
    if done < warmup:
        return peak * (done + 1e-3) / (warmup + 1e-3)
    return peak * FALLS[recipe.fall]((done - warmup) / (1 - warmup))


def _answer(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.set_grad_enabled(model.training):
        logits: torch.Tensor = model(inputs.contiguous(memory_format=torch.channels_last)).float()
    return logits


def _loss(logits: torch.Tensor, answers: torch.Tensor | None, targets: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    loss = F.cross_entropy(logits, targets, label_smoothing=recipe.smoothing)
    if answers is None:
        return loss
    t = recipe.temperature
    softened = F.kl_div(
        F.log_softmax(logits / t, 1), F.log_softmax(answers / t, 1), log_target=True, reduction="batchmean"
    )
    return (1 - recipe.distill) * loss + recipe.distill * t * t * softened


def _keep(
    path: File, model: nn.Sequential, optimizer: torch.optim.Optimizer, classes: str, recipe: Recipe, log: Log
) -> None:
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items()}
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    bare, record = _bare(model), {"recipe": vars(recipe), "log": log}
    save_checkpoint(path, Checkpoint(list(widths(bare)), classes, len(log), tensors, record, architecture_of(bare)))


def _resume(
    path: File, model: nn.Sequential, classes: str, optimizer: torch.optim.Optimizer, recipe: Recipe
) -> tuple[int, Log]:
    checkpoint = load_checkpoint(path)
    kept, tensors = checkpoint.record.get("recipe"), checkpoint.tensors
    if tuple(checkpoint.shape) != widths(_bare(model)) or checkpoint.classes != classes or kept != vars(recipe):
        raise EdgemoeError(
            f"{os.fspath(path)}: the run to resume has shape {checkpoint.shape}, {len(checkpoint.classes)} classes and "
            f"recipe {kept}; remove it to start anew"
        )
    expected = {f"model.{name}": value.shape for name, value in model.state_dict().items()}
    moved = {i: p.shape for i, p in enumerate(model.parameters()) if f"optimizer.{i}.step" in tensors}
    for i, shape in moved.items():
        expected |= {f"optimizer.{i}.{slot}": shape if slot != "step" else torch.Size() for slot in SLOTS}
    wrong = expected.items() ^ {name: value.shape for name, value in tensors.items()}.items()
    if wrong:
        raise EdgemoeError(f"{os.fspath(path)}: {min(wrong)[0]} does not fit this network; remove it to start anew")
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    slots = {i: {slot: tensors[f"optimizer.{i}.{slot}"] for slot in SLOTS} for i in moved}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    return checkpoint.epoch, checkpoint.record["log"]


def _bare(model: nn.Sequential) -> nn.Sequential:
    """Return the weighted layers alone, those inside other modules too: they tell the widths of a gated network."""
    return nn.Sequential(*(module for module in model.modules() if isinstance(module, Weighted)))
