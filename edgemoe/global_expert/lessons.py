"""What a pruned network learns from: images, plain and distorted, and the teacher's answers, computed once for all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgemoe.global_expert.augment import augment
from edgemoe.global_expert.layers import to_input

__all__ = ["Ensemble", "Lessons", "prepare_lessons"]

BATCH = 256


class Ensemble(nn.Module):
    """Several networks that answer as one: the mean of their logits.

    That is the geometric mean of their distributions, one of the two that Hinton, Vinyals, Dean, "Distilling the
    knowledge in a neural network", arXiv 1503.02531, section 2, take from an ensemble. The members err in different
    places, so the mean errs less than each, and a small network learns from it what none of them knew alone.

    Parameters
    ----------
    members : sequence of Module
        Networks of the same classes, one or more.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits ``(n, C)`` of images ``(n, 1, 28, 28)`` in [0, 1]."""
        return torch.stack([member(inputs) for member in self.members]).mean(0)


@dataclass(frozen=True)
class Lessons:
    """Training images in several variants, each with a teacher's logits.

    A teacher costs more than its pruned student, and its answers do not change: a family of students shares them.

    Attributes
    ----------
    images : ndarray of uint8, shape (1 + V, n, 28, 28)
        First the images as they are, then V distorted variants of each.
    logits : ndarray of float16, shape (1 + V, n, C)
    labels : ndarray of int64, shape (n,)
    """

    images: npt.NDArray[np.uint8]
    logits: npt.NDArray[np.float16]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def of_epoch(self, epoch: int, distorted: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images ``(n, 28, 28)`` and logits ``(n, C)`` of an epoch: the variants take turns."""
        variants = len(self.images) - 1
        variant = 1 + epoch % variants if distorted and variants else 0
        return torch.from_numpy(self.images[variant]), torch.from_numpy(self.logits[variant])


def prepare_lessons(
    teacher: nn.Module,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    variants: int,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    strength: float = 1.0,
) -> Lessons:
    """Distort training images and ask a teacher for its logits.

    Parameters
    ----------
    teacher : Module
        A trained network: images ``(n, 1, 28, 28)`` in [0, 1] to logits ``(n, C)``.
    images : ndarray of uint8, shape (n, 28, 28)
    labels : ndarray of int64, shape (n,)
    variants : int
        Distorted variants of each image, 0 or more; the memory is 784 bytes and two a class for each.
    seed : int
        Of the distortions.
    progress : callable
        Called with batches done and in all.
    strength : float in [0, 1]
        Of the distortions, as in `augment`.
    """
    teacher.eval()
    generator = torch.Generator().manual_seed(seed)
    parts = range(0, len(images), BATCH)
    drawn = np.empty((1 + variants, *images.shape), np.uint8)
    logits: list[npt.NDArray[np.float16]] = []
    with torch.inference_mode():
        for variant in range(1 + variants):
            for index, start in enumerate(parts):
                inputs = to_input(torch.from_numpy(images[start : start + BATCH]))
                if variant:
                    inputs = augment(inputs, generator, strength).clamp_(0, 1)
                    inputs = inputs.mul_(255).round_()
                    drawn[variant, start : start + BATCH] = inputs[:, 0].to(torch.uint8).numpy()
                    inputs = inputs.div_(255)
                else:
                    drawn[0, start : start + BATCH] = images[start : start + BATCH]
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    answers = teacher(inputs.contiguous(memory_format=torch.channels_last))
                logits.append(answers.to(torch.float16).numpy())
                progress(variant * len(parts) + index + 1, (1 + variants) * len(parts))
    stacked = np.concatenate(logits) if logits else np.empty((0, 1), np.float16)
    return Lessons(drawn, stacked.reshape(1 + variants, len(images), -1), labels)
