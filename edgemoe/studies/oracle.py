"""Study: does the loss before retraining predict the result after it?

Source of the question: Feng, Tao, Wang, "Is Oracle Pruning the True Oracle?" (arXiv 2412.00143): what a pruned network
loses before retraining says less and less about the result after it as the task grows.
"""

from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from edgemoe.classes import class_set
from edgemoe.global_expert.architectures import build_network
from edgemoe.global_expert.build import Samples
from edgemoe.global_expert.layers import prunable_layers, to_input
from edgemoe.global_expert.lenet5 import lenet5, widths
from edgemoe.global_expert.lessons import Lessons, prepare_lessons
from edgemoe.global_expert.train import Recipe, accuracy, settle_normalization, train
from edgemoe.pruning.criteria import find_criterion
from edgemoe.pruning.surgery import prune
from edgemoe.studies.inputs import Inputs
from edgemoe.studies.kendall import bootstrap_tau, kendall
from edgemoe.studies.oracle_page import LABELS, draw, section

__all__ = ["draw", "expected_pick", "keep_outputs", "run", "section"]

TASKS = ("digits", "balanced")
KEPT = (0.75, 0.5, 0.25)  # share of each layer's channels, a group of prunings each
PRUNINGS = 67  # random ones in a group
CRITERIA = ("taylor", "magnitude")  # whose choices are marked beside them
SHORT, LONG = 3072, 4 * 3072  # images of the retraining: one epoch
MEASURED = 1024  # training images on which loss, normalization and the criteria are measured
VALIDATED = 4000  # validation images
RETRAINING = Recipe(epochs=1, batch=64, rate=3e-3)
BASE = (6, 16, 120, 84)  # LeCun's shape, which is pruned from the unpruned expert and then pruned further
TRAINING = Recipe(epochs=5, batch=64, rate=3e-3)  # of the base, on the images of the longer retraining
CANDIDATES, DRAWN = 12, 4  # retrained for longer, of the group that is pruned most; and how many one chooses among


@dataclass(frozen=True)
class Task:
    """A base to prune, and the samples of its classes."""

    name: str
    classes: str
    base: nn.Sequential
    lessons: Lessons
    validation: Samples
    test: Samples


def run(inputs: Inputs, progress: Any) -> dict[str, Any]:
    """Prune, measure, retrain, and correlate."""
    record: dict[str, Any] = {
        "base": "-".join(map(str, BASE)), "images": SHORT, "longer": LONG, "batch": RETRAINING.batch,
        "rate": RETRAINING.rate, "kept": list(KEPT), "drawn": DRAWN, "validation": inputs.validation().source,
        "validated": VALIDATED, "test": inputs.test().source, "tasks": {},
    }  # fmt: skip
    total = len(TASKS) * (len(KEPT) * (PRUNINGS + len(CRITERIA)) + CANDIDATES)
    for number, name in enumerate(TASKS):
        offset = number * total // len(TASKS)
        record["tasks"][name] = _run_task(
            _prepare(inputs, name), lambda done, offset=offset: progress(offset + done, total)
        )
    return record


def expected_pick(scores: npt.ArrayLike, results: npt.ArrayLike, drawn: int) -> float:
    """Return the mean result of the candidate with the highest score, over all choices of `drawn` candidates.

    The candidate at rank i (0 the best) of n is the best of the drawn ones in C(n - 1 - i, drawn - 1) of C(n, drawn)
    choices. Of equal scores, the earlier candidate counts as the better.

    Parameters
    ----------
    scores, results : array of numbers, shape (n,)
    drawn : int in [1, n]
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    n = len(order)
    chances = np.array([comb(n - 1 - rank, drawn - 1) for rank in range(n)]) / comb(n, drawn)
    return float(chances @ np.asarray(results, np.float64)[order])


def keep_outputs(model: nn.Sequential, n_classes: int) -> nn.Sequential:
    """Return a copy of a LeNet-5 that tells its first `n_classes` classes apart only."""
    tensors = {
        name: value[:n_classes] if name.startswith("output.") else value for name, value in model.state_dict().items()
    }
    smaller = lenet5(widths(model), n_classes)
    smaller.load_state_dict(tensors)
    return smaller.eval()


def _prepare(inputs: Inputs, name: str) -> Task:
    """Return a task. Its base, and all that is pruned from it, learn from the expert's outputs for its classes."""
    classes = class_set(name)
    training, validation, test = (
        _of_classes(samples, len(classes)) for samples in (inputs.training(), inputs.validation(), inputs.test())
    )
    validation = Samples(validation.images[:VALIDATED], validation.labels[:VALIDATED], validation.source)
    chosen = np.random.default_rng(0).permutation(len(training.labels))[:LONG]
    images, labels = training.images[chosen], training.labels[chosen]
    teacher = settle_normalization(keep_outputs(build_network(inputs.trained()), len(classes)), images)
    lessons = prepare_lessons(teacher, images, labels, 0)
    scores = find_criterion(CRITERIA[0]).score_channels(teacher, images[:MEASURED], labels[:MEASURED])
    base = prune(teacher, scores, BASE)
    train(base, classes, images, labels, TRAINING, teacher=lessons)
    return Task(name, classes, settle_normalization(base, images[:MEASURED]), lessons, validation, test)


def _of_classes(samples: Samples, n_classes: int) -> Samples:
    """Keep the samples of the first classes: in every class set, the digits come first."""
    kept = samples.labels < n_classes
    return Samples(samples.images[kept], samples.labels[kept], samples.source)


def _run_task(task: Task, progress: Any) -> dict[str, Any]:
    full, generator = widths(task.base), torch.Generator().manual_seed(0)
    images, labels = task.lessons.images[0][:MEASURED], task.lessons.labels[:MEASURED]
    marked = {name: find_criterion(name).score_channels(task.base, images, labels) for name in CRITERIA}
    groups: list[dict[str, Any]] = []
    done = 0
    for kept in KEPT:
        shape = tuple(max(1, round(kept * width)) for width in full)
        random = [
            {
                name: torch.rand(len(layer.weight), generator=generator)
                for name, layer in prunable_layers(task.base).items()
            }
            for _ in range(PRUNINGS)
        ]
        found = []
        for scores in [*random, *marked.values()]:
            found.append(_measure(task, prune(task.base, scores, shape)))
            done += 1
            progress(done)
        table = {key: [row[key] for row in found] for key in found[0]}
        groups.append({
            "kept": kept, "shape": "-".join(map(str, shape)),
            "random": {key: values[:PRUNINGS] for key, values in table.items()},
            "criteria": {name: found[PRUNINGS + index] for index, name in enumerate(CRITERIA)},
        })  # fmt: skip
    last, results = groups[-1]["random"], []
    for scores in random[:CANDIDATES]:
        model = prune(task.base, scores, shape)
        results.append(round(accuracy(_retrain(task, model, LONG), task.test.images, task.test.labels), 5))
        done += 1
        progress(done)
    return {
        "base": round(accuracy(task.base, task.test.images, task.test.labels), 5),
        "correlations": {key: _correlate(groups, key) for key in LABELS},
        "selection": _select(last, results),
        "groups": groups,
    }


def _measure(task: Task, model: nn.Sequential) -> dict[str, float]:
    """Return loss and accuracy of a pruned network before and after a short retraining."""
    images, labels = task.lessons.images[0][:MEASURED], task.lessons.labels[:MEASURED]
    loss, right = _loss(model, images, labels)
    settled_loss, _ = _loss(settle_normalization(model, images), images, labels)
    after = accuracy(_retrain(task, model, SHORT), task.validation.images, task.validation.labels)
    return {
        "loss": round(loss, 4), "settled_loss": round(settled_loss, 4), "accuracy": round(right, 4),
        "after": round(after, 5),
    }  # fmt: skip


def _loss(model: nn.Sequential, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> tuple[float, float]:
    with torch.inference_mode():
        logits, targets = model.eval()(to_input(torch.from_numpy(images))), torch.from_numpy(labels)
        return float(F.cross_entropy(logits, targets)), float((logits.argmax(1) == targets).float().mean())


def _retrain(task: Task, model: nn.Sequential, n: int) -> nn.Sequential:
    part = Lessons(task.lessons.images[:, :n], task.lessons.logits[:, :n], task.lessons.labels[:n])
    train(model, task.classes, part.images[0], part.labels, RETRAINING, teacher=part)
    return settle_normalization(model, part.images[0][:MEASURED])


def _goodness(table: dict[str, list[float]], key: str) -> npt.NDArray[np.float64]:
    """Return what should rank the prunings: high is good."""
    return np.asarray(table[key]) * (-1 if key.endswith("loss") else 1)


def _correlate(groups: list[dict[str, Any]], key: str) -> dict[str, Any]:
    pairs = [(_goodness(group["random"], key), np.asarray(group["random"]["after"])) for group in groups]
    whole = np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])
    each = [kendall(*pair) for pair in pairs]

    def described(tau: float, p: float, interval: tuple[float, float]) -> dict[str, Any]:
        return {"tau": round(tau, 3), "p": float(f"{p:.2g}"), "ci95": [round(end, 3) for end in interval]}

    return {
        "all": described(*kendall(*whole), bootstrap_tau([whole])),
        "groups": [described(*found, bootstrap_tau([pair])) for found, pair in zip(each, pairs, strict=True)],
        "mean": {
            "tau": round(float(np.mean([tau for tau, _ in each])), 3),
            "ci95": [round(end, 3) for end in bootstrap_tau(pairs)],
        },
    }


def _select(table: dict[str, list[float]], results: list[float]) -> dict[str, Any]:
    n = len(results)
    ways = {"loss": _goodness(table, "loss"), "settled_loss": _goodness(table, "settled_loss"),
            "short retraining": np.asarray(table["after"]), "hindsight": np.asarray(results)}  # fmt: skip
    return {
        "results": results,
        "random": round(float(np.mean(results)), 5),
        "picked": {name: round(expected_pick(scores[:n], results, DRAWN), 5) for name, scores in ways.items()},
        "picked of all": {name: round(expected_pick(scores[:n], results, n), 5) for name, scores in ways.items()},
        "tau": {
            name: round(kendall(scores[:n], results)[0], 3) for name, scores in ways.items() if name != "hindsight"
        },
    }
