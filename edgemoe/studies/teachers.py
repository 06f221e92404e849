"""Study: what a pruned expert learns from: the labels alone, the unpruned expert, larger networks, or all of them.

Source of the question: Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network" (arXiv 1503.02531), where
an ensemble teaches a small network more than the labels do. A pruned expert usually has one teacher: what it was cut
from.
"""

import os
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import nn

from edgemoe.global_expert.architectures import build_network
from edgemoe.global_expert.layers import to_input
from edgemoe.global_expert.lessons import Ensemble, prepare_lessons
from edgemoe.global_expert.train import Recipe, settle_normalization, train
from edgemoe.pruning.criteria import find_criterion
from edgemoe.pruning.schedules.schedule import SCORED
from edgemoe.pruning.surgery import prune
from edgemoe.studies.bootstrap import paired_interval
from edgemoe.studies.inputs import Inputs
from edgemoe.studies.pictures import save
from edgemoe.studies.teaching import settled, teach

__all__ = ["draw", "run", "section"]

SHAPES = ((20, 20, 88, 108), (16, 14, 60, 64))  # those of the shipped experts of 47 classes
IMAGES, VARIANTS, STRENGTH = 44_000, 2, 0.5
RECIPE = Recipe(epochs=4, plain=2, batch=128, rate=1e-2, distill=0.95)
WAYS = {"labels": "labels alone", "unpruned": "the unpruned expert", "larger": "larger networks", "together": "all"}


def run(inputs: Inputs, progress: Any) -> dict[str, Any]:
    """Retrain each shape with each way to be taught, all else alike."""
    test, trained = inputs.test(), inputs.trained()
    unpruned, lessons = teach(inputs, IMAGES, VARIANTS, STRENGTH)
    images, labels = lessons.images[0], lessons.labels
    larger = [settle_normalization(build_network(teacher), images) for teacher in inputs.teachers()]
    scores = find_criterion("taylor").score_channels(unpruned, images[:SCORED], labels[:SCORED])
    record: dict[str, Any] = {
        "images": len(images), "variants": VARIANTS, "recipe": vars(RECIPE), "test": test.source,
        "tested": len(test.labels), "teachers": {}, "runs": [],
    }  # fmt: skip
    members = {"labels": [], "unpruned": [unpruned], "larger": larger, "together": [unpruned, *larger]}
    done = 0
    for way, networks in members.items():
        if networks:
            teacher = Ensemble(networks)
            hits = _hits(teacher, test.images, test.labels)
            record["teachers"][way] = {"networks": len(networks), "accuracy": round(float(hits.mean()), 5)}
            if larger[0] in networks:  # the unpruned expert's answers are there already
                lessons = prepare_lessons(teacher, images, labels, VARIANTS, strength=STRENGTH)
        recipe = RECIPE if networks else replace(RECIPE, distill=0.0)
        for shape in SHAPES:
            model = prune(unpruned, scores, shape)
            train(model, trained.classes, images, labels, recipe, teacher=lessons)
            right = _hits(settled(model, lessons), test.images, test.labels)
            record["runs"].append({"shape": "-".join(map(str, shape)), "way": way, "right": right})
            done += 1
            progress(done, len(WAYS) * len(SHAPES))
    alone = {run["shape"]: run["right"] for run in record["runs"] if run["way"] == "unpruned"}
    for entry in record["runs"]:
        right = entry.pop("right")
        entry["accuracy"] = round(float(right.mean()), 5)
        entry["gain"] = paired_interval(right - alone[entry["shape"]])
    return record


def _hits(model: nn.Module, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return for each image 1 where the network is right and 0 where it is not."""
    model.eval()
    parts = np.array_split(images, len(images) // 500 + 1)
    with torch.inference_mode():
        answers = torch.cat([model(to_input(torch.from_numpy(part))).argmax(1) for part in parts])
    hits: npt.NDArray[np.float64] = (answers.numpy() == labels).astype(np.float64)
    return hits


def draw(record: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw what each way gains on the unpruned expert's teaching, with its interval, a panel a shape."""
    shapes = list(dict.fromkeys(run["shape"] for run in record["runs"]))
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = np.ravel(figure.subplots(1, len(shapes), sharex=True, sharey=True))
    for axes, shape in zip(panels, shapes, strict=True):
        runs = [run for run in record["runs"] if run["shape"] == shape]
        for place, entry in enumerate(runs):
            mean, low, high = (100 * x for x in entry["gain"])
            axes.plot([low, high], [place, place], color="#44546a")
            axes.plot(mean, place, "o", color="#c0392b")
            reached = f"{100 * entry['accuracy']:.2f} %"
            axes.annotate(reached, (mean, place), (0, 7), textcoords="offset points", ha="center")
        axes.axvline(0, color="0.6", linestyle=":")
        axes.set_yticks(range(len(runs)), [WAYS[entry["way"]] for entry in runs])
        axes.set_ylim(len(runs) - 0.5, -0.7)
        axes.set_xlabel("points more than taught by the unpruned expert")
        axes.set_title(shape)
        axes.grid(axis="x", color="0.92")
        axes.set_axisbelow(True)
    save(figure, path)


def section(record: dict[str, Any]) -> str:
    """Return the study's Markdown."""
    shapes = list(dict.fromkeys(run["shape"] for run in record["runs"]))
    runs = {(run["shape"], run["way"]): run for run in record["runs"]}
    rows = [f"| taught by | its accuracy | {' | '.join(shapes)} |", "|---" * (2 + len(shapes)) + "|"]
    for way, title in WAYS.items():
        reached = f"{100 * record['teachers'][way]['accuracy']:.2f}" if way in record["teachers"] else "-"
        cells = [_cell(runs[shape, way]) for shape in shapes]
        rows.append(f"| {title} | {reached} | {' | '.join(cells)} |")
    ahead = [shape for shape in shapes if runs[shape, "together"]["gain"][1] > 0]
    recipe = record["recipe"]
    return f"""
A pruned expert learns from the answers of what it was cut from. Does it learn more from better ones? Two experts of the
shapes that ship were pruned from the unpruned one and retrained alike, {recipe["epochs"] + recipe["plain"]} epochs of
{record["images"]:,} images, with the labels alone, with the unpruned expert's answers, with those of
{record["teachers"]["larger"]["networks"]} larger networks (`train-global --teachers`), and with the mean of all
(Hinton et al., arXiv 1503.02531). Accuracy in % on {record["test"]}, {record["tested"]:,} images; in brackets the
points gained on the unpruned expert's teaching, with the 95 % interval of a paired bootstrap:

{chr(10).join(rows)}

The mean of all teaches better than the unpruned expert alone, with an interval that excludes 0, for {len(ahead)} of
{len(shapes)} shapes. These retrainings are short, of one seed; the experts that ship had all images and five times the
epochs.
"""


def _cell(run: dict[str, Any]) -> str:
    mean, low, high = (100 * x for x in run["gain"])
    gain = "" if run["way"] == "unpruned" else f" ({mean:+.2f}; {low:+.2f} to {high:+.2f})"
    return f"{100 * run['accuracy']:.2f}{gain}"
