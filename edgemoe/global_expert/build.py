"""The whole way from EMNIST to a bundle: train, prune, retrain, quantize, record."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgemoe.classes import merge_labels
from edgemoe.data import load_samples
from edgemoe.device.bundle import write_bundle
from edgemoe.device.global_expert import GlobalExpert
from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.architectures import ARCHITECTURES, build_network
from edgemoe.global_expert.card import measure_corruptions, worst_classes
from edgemoe.global_expert.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgemoe.global_expert.export import feature_map, to_onnx
from edgemoe.global_expert.layers import parameter_count
from edgemoe.global_expert.lenet5 import fold_normalization, widths
from edgemoe.global_expert.lessons import Lessons
from edgemoe.global_expert.reclass import reclass
from edgemoe.global_expert.record import CALIBRATION, RETAINED, record_bundle
from edgemoe.global_expert.train import Recipe, settle_normalization, train
from edgemoe.pruning.unification import even_dense_layers, unify_while_training

__all__ = ["Samples", "bundle_expert", "hold_out", "read_samples", "share_weights", "train_expert"]

PALETTE_BITS = 4  # of a weight's code, which `edgemoe.global_expert.palette_graph` stores
MEASURED = 60_000  # training images whose features are measured for the generic statistics

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Samples:
    """Images and class indices, and where they came from.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, 28, 28)
    labels : ndarray of int64, shape (n,)
    source : str
    left_out : int
        Samples of other classes.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    source: str
    left_out: int = 0


def read_samples(paths: Sequence[str | os.PathLike[str]], classes: str, only: bool = False) -> Samples:
    """Read one or several sets of samples onto a class set's indices.

    Samples of classes that it lacks are an error, or left out where `only` is set.
    """
    index = {label: position for position, label in enumerate(classes)}
    kept_images, kept_labels, left_out = [], [], 0
    for path in paths:
        images, labels, _ = load_samples(path)
        if only:
            known = np.isin(labels, [*classes, *classes.lower()])
            left_out += int((~known).sum())
            images, labels = images[known], labels[known]
        merged = merge_labels(labels, classes, os.fspath(path))
        kept_images.append(images)
        kept_labels.append(np.array([index[label] for label in merged], np.int64))
    names = ", ".join(Path(os.fspath(path)).name for path in paths)
    return Samples(np.concatenate(kept_images), np.concatenate(kept_labels), names, left_out)


def hold_out(samples: Samples, seed: int) -> tuple[Samples, Samples]:
    """Split off a twentieth, drawn at random, for validation; return what is left, and it."""
    order = np.random.default_rng(seed).permutation(len(samples.labels))
    cut = max(1, len(order) // 20)
    kept, held = np.sort(order[cut:]), np.sort(order[:cut])
    return (
        Samples(samples.images[kept], samples.labels[kept], samples.source),
        Samples(samples.images[held], samples.labels[held], f"{samples.source}, held out"),
    )


def train_expert(
    shape: Sequence[int],
    classes: str,
    samples: Samples,
    validation: Samples,
    recipe: Recipe,
    state: str | os.PathLike[str],
    progress: Progress,
    dropout: float = 0.4,
    start: str | os.PathLike[str] | None = None,
    architecture: str = "lenet5",
) -> nn.Sequential:
    """Train a network of a known architecture from scratch, or from a trained one of other classes.

    `state` is its checkpoint, from which a killed run goes on; `start` the other's, of the same shape.

    Raises
    ------
    EdgemoeError
        If the network to start from has another shape or lacks a class.
    """
    torch.manual_seed(recipe.seed)
    model = ARCHITECTURES[architecture](shape, len(classes), dropout)
    if start is not None:
        other = load_checkpoint(start)
        if other.shape != list(shape):
            raise EdgemoeError(f"{os.fspath(start)}: has shape {other.shape}, not {list(shape)}")
        model.load_state_dict(reclass(build_network(other), other.classes, classes).state_dict())
    train(
        model, classes, samples.images, samples.labels, recipe,
        validation=(validation.images, validation.labels), state=state, progress=progress,
    )  # fmt: skip
    return model


def share_weights(
    model: nn.Sequential,
    classes: str,
    samples: Samples,
    validation: Samples,
    recipe: Recipe,
    lessons: Lessons,
    state: str | os.PathLike[str] | None,
    progress: Progress,
) -> tuple[nn.Sequential, list[dict[str, Any]]]:
    """Train on with palettes in the dense layers, which have most weights and little of the arithmetic.

    The normalization is settled and folded in before, so that a palette's values are those of the exported weights. A
    dense layer of an odd number of inputs gets no palette: its codes would not fill whole bytes.

    Parameters
    ----------
    model : Sequential
        Retrained; left as it is.
    classes, samples, validation, progress
        As in `train_expert`.
    lessons : Lessons
        Of the samples, with a teacher's answers.
    recipe : Recipe
        At least one epoch.
    state : path, optional
        A checkpoint of the result, which is read if it is there. A run killed in between starts anew: the free weights
        behind the shared ones are not in it.

    Returns
    -------
    (Sequential, list of dict)
        The network without normalization, and the log of its epochs.

    Raises
    ------
    EdgemoeError
        If the checkpoint is of another network or recipe.
    """
    if state is not None and Path(state).is_file():
        kept = load_checkpoint(state)
        if (tuple(kept.shape), kept.classes, kept.record.get("recipe")) != (widths(model), classes, vars(recipe)):
            raise EdgemoeError(f"{os.fspath(state)}: of another network or recipe; remove it to start anew")
        return build_network(kept).eval(), kept.record["log"]
    model = fold_normalization(settle_normalization(model, samples.images))
    log = train(
        model, classes, samples.images, samples.labels, recipe,
        teacher=lessons, validation=(validation.images, validation.labels), progress=progress,
        after_step=unify_while_training(PALETTE_BITS, layers=even_dense_layers(model)),
    )  # fmt: skip
    if state is not None:
        tensors = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
        record = {"recipe": vars(recipe), "log": log}
        save_checkpoint(state, Checkpoint(list(widths(model)), classes, recipe.total, tensors, record))
    return model, log


def bundle_expert(
    model: nn.Sequential,
    name: str,
    classes: str,
    samples: Samples,
    validation: Samples,
    tests: Sequence[Samples],
    record: dict[str, Any],
    path: str | os.PathLike[str],
    retained: int = RETAINED,
) -> dict[str, Any]:
    """Export, quantize, record retention set and statistics, measure both forms and write the bundle.

    The retention set is drawn from `validation`, which the expert was not trained on, class frequencies as they are.

    Returns
    -------
    dict
        The bundle's metadata.
    """
    float32 = to_onnx(fold_normalization(settle_normalization(model, samples.images)))
    rng = np.random.default_rng(0)
    calibration = rng.permutation(len(samples.images))[:CALIBRATION]
    retained_rows = rng.permutation(len(validation.images))[:retained]
    measured = rng.permutation(len(samples.images))[:MEASURED]
    metadata: dict[str, Any] = {
        "name": name,
        "classes": classes,
        "shape": list(widths(model)),
        "feature_map": list(feature_map(model)),
        "parameters": parameter_count(model),
        "data": {"train": samples.source, "retention and validation": validation.source},
        "licence": "Apache-2.0; trained on EMNIST (Cohen et al. 2017), from NIST Special Database 19",
        **record,
    }
    bundle = record_bundle(
        metadata, float32, samples.images[calibration],
        validation.images[retained_rows], validation.labels[retained_rows], samples.images[measured],
    )  # fmt: skip
    draft = replace(bundle, metadata={**metadata, "fingerprint": ""})
    expert = GlobalExpert(draft)
    metadata["figures"] = {
        test.source: {form: round(_accuracy(GlobalExpert(draft, form), test), 5) for form in ("float32", "int8")}
        for test in tests
    }
    if tests:
        last = tests[-1]
        metadata["corruptions"] = measure_corruptions(expert, last.images, last.labels, last.source)
        metadata["classes_worst"] = worst_classes(expert, last.images, last.labels, last.source)
    write_bundle(path, replace(bundle, metadata=metadata))
    return metadata


def _accuracy(expert: GlobalExpert, test: Samples) -> float:
    return float((expert.taps(test.images).logits.argmax(1) == test.labels).mean())
