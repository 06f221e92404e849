"""The Pareto front: accuracy against int8 bytes, ours and magnitude pruning, with equal retraining."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from torch import nn

from edgemoe.device.global_expert import load_global_expert, shipped_experts
from edgemoe.global_expert.architectures import build_network
from edgemoe.global_expert.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgemoe.global_expert.export import quantize, to_onnx
from edgemoe.global_expert.lenet5 import fold_normalization, widths
from edgemoe.global_expert.lessons import Lessons
from edgemoe.global_expert.record import CALIBRATION
from edgemoe.global_expert.train import Recipe, train
from edgemoe.pruning.budget import parse_budget
from edgemoe.pruning.cost import layout_of
from edgemoe.pruning.criteria import find_criterion
from edgemoe.pruning.schedules.schedule import SCORED
from edgemoe.pruning.search import even_shape
from edgemoe.pruning.surgery import prune
from edgemoe.studies.bootstrap import paired_interval
from edgemoe.studies.graphs import Answers
from edgemoe.studies.inputs import Inputs
from edgemoe.studies.pictures import save
from edgemoe.studies.teaching import settled, teach

__all__ = ["draw", "run", "section"]

SHAPES = {
    10: (9, 8, 15, 20),
    15: (12, 10, 22, 32),
    25: (16, 14, 30, 48),
    35: (18, 15, 44, 64),
    45: (20, 16, 54, 88),
    60: (20, 20, 66, 88),
}
"""Ours, by the limit in thousand bytes of the int8 ONNX file. Those of 25 and 45 were chosen among some 25 by short
retrainings, on the validation part; the others are in their proportions, and fill their limit."""

IMAGES, VARIANTS, STRENGTH = 44_000, 2, 0.5  # training images that every retraining sees, and distorted ones of each
RECIPE = Recipe(epochs=4, plain=2, batch=128, rate=1e-2)
WAYS = {
    "ours": "Taylor, shape chosen by short retrainings",
    "magnitude": "magnitude, all layers narrowed in one ratio",
    "magnitude-shape": "magnitude, our shape",
}


def run(inputs: Inputs, progress: Any) -> dict[str, Any]:
    """Prune to each size in each way, retrain all alike, quantize, and measure."""
    trained, validation, test = inputs.trained(), inputs.validation(), inputs.test()
    teacher, lessons = teach(inputs, IMAGES, VARIANTS, STRENGTH)
    layout = layout_of(teacher)
    seen = lessons.images[0][:SCORED], lessons.labels[:SCORED]
    scores = {name: find_criterion(name).score_channels(teacher, *seen) for name in ("taylor", "magnitude")}
    done, total = 0, len(SHAPES) * len(WAYS)
    rows, right = [], {}
    for size, ours in SHAPES.items():
        even = even_shape(layout, parse_budget(f"file={size}KB"))
        for way in WAYS:
            shape = even if way == "magnitude" else ours
            kept = None if inputs.runs is None else inputs.runs / f"front-{way}-{size}.npz"
            if kept is not None and kept.is_file():
                model: nn.Sequential = build_network(load_checkpoint(kept))
            else:
                model = prune(teacher, scores["taylor" if way == "ours" else "magnitude"], shape)
                train(model, trained.classes, lessons.images[0], lessons.labels, RECIPE, teacher=lessons)
                model = settled(model, lessons)
                if kept is not None:
                    _keep(kept, model, shape, trained.classes)
            row, hits = _measure(model, lessons, validation.images, validation.labels, test.images, test.labels)
            cost = layout.cost(shape)
            rows.append({"way": way, "size": size, "macs": cost.macs, "parameters": cost.parameters, **row})
            right[way, size] = hits
            done += 1
            progress(done, total)
    for row in rows:
        if row["way"] != "ours":
            row["behind"] = paired_interval(right["ours", row["size"]] - right[row["way"], row["size"]])
    unpruned, _ = _measure(teacher, lessons, validation.images, validation.labels, test.images, test.labels)
    return {
        "images": len(lessons), "variants": VARIANTS, "recipe": vars(RECIPE), "test": test.source,
        "unpruned": unpruned, "rows": rows, "shipped": _shipped(test.source),
    }  # fmt: skip


def _keep(path: Path, model: nn.Sequential, shape: tuple[int, ...], classes: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    save_checkpoint(path, Checkpoint(list(shape), classes, RECIPE.total, tensors))


def _measure(
    model: nn.Sequential,
    lessons: Lessons,
    held: npt.NDArray[np.uint8],
    held_labels: npt.NDArray[np.int64],
    test: npt.NDArray[np.uint8],
    test_labels: npt.NDArray[np.int64],
) -> tuple[dict[str, Any], npt.NDArray[np.float64]]:
    """Return a network's row, and for each test image 1 where its int8 form is right and 0 where it is not."""
    float32 = to_onnx(fold_normalization(model))
    int8 = quantize(float32, lessons.images[0][:CALIBRATION])
    answers = {"float32": Answers(float32), "int8": Answers(int8)}
    hits = (answers["int8"](test) == test_labels).astype(np.float64)
    return {
        "shape": list(widths(model)),
        "bytes": len(int8),
        "validation": round(float((answers["int8"](held) == held_labels).mean()), 5),
        "float32": round(float((answers["float32"](test) == test_labels).mean()), 5),
        "int8": round(float(hits.mean()), 5),
    }, hits


def _shipped(source: str) -> list[dict[str, Any]]:
    """Return the experts of 47 classes that ship: retrained for longer, on all images."""
    found = [load_global_expert(name) for name in shipped_experts()]
    return [
        {"name": ge.name, "bytes": len(ge.bundle.int8), "int8": ge.metadata["figures"][source]["int8"]}
        for ge in found
        if len(ge.classes) == 47 and source in ge.metadata["figures"]
    ]


def draw(record: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw accuracy against bytes, a line for each way."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    colours = {"ours": "#0b6e4f", "magnitude": "#c1440e", "magnitude-shape": "#888888"}
    for way, title in WAYS.items():
        rows = [row for row in record["rows"] if row["way"] == way]
        axes.plot(
            [row["bytes"] / 1000 for row in rows], [100 * row["int8"] for row in rows], "o-", label=title,
            color=colours[way], markersize=4,
        )  # fmt: skip
    for row in record["shipped"]:
        axes.plot(row["bytes"] / 1000, 100 * row["int8"], "*", color="#0b6e4f", markersize=12)
        at = (row["bytes"] / 1000, 100 * row["int8"])
        axes.annotate(row["name"], at, (0, -16), textcoords="offset points", ha="center", fontsize=8)
    axes.axhline(100 * record["unpruned"]["int8"], color="#444444", linewidth=0.8, linestyle=":")
    axes.annotate("unpruned", (10, 100 * record["unpruned"]["int8"]), (0, -10), textcoords="offset points", fontsize=8)
    axes.set_xlabel("int8 ONNX file, thousand bytes")
    axes.set_ylabel("accuracy on byclass-part test, 47 classes, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    save(figure, path)


def section(record: dict[str, Any]) -> str:
    """Return the front as a table."""
    recipe = record["recipe"]
    lines = [
        f"Accuracy of the int8 file on {record['test']}, 47 classes, against its size. Each is pruned from the "
        f"same unpruned one ({100 * record['unpruned']['int8']:.2f} %, {record['unpruned']['bytes']:,} bytes) and "
        f"retrained alike, {recipe['epochs'] + recipe['plain']} epochs of {record['images']:,} images with its "
        "answers. In parentheses how far it is behind ours, in points, with the 95 % interval of a paired bootstrap.",
        "",
        f"| bytes at most | ours: {WAYS['ours']} | {WAYS['magnitude']} | {WAYS['magnitude-shape']} |",
        "|---|---|---|---|",
    ]
    for size in dict.fromkeys(row["size"] for row in record["rows"]):
        cells = []
        for row in (row for row in record["rows"] if row["size"] == size):
            shape = "-".join(map(str, row["shape"]))
            cell = f"{100 * row['int8']:.2f} %, {shape}, {row['bytes']:,} bytes"
            if "behind" in row:
                mean, low, high = (100 * x for x in row["behind"])
                cell += f" ({mean:.2f}; {low:.2f} to {high:.2f})"
            cells.append(cell)
        lines.append(f"| {size},000 | {' | '.join(cells)} |")
    better = {
        way: [row["size"] for row in record["rows"] if row["way"] == way and row["behind"][0] > 0]
        for way in WAYS
        if way != "ours"
    }
    clear = [row["size"] for row in record["rows"] if row["way"] == "magnitude" and row["behind"][1] > 0]
    sizes = len({row["size"] for row in record["rows"]})
    lines += [
        "",
        f"Ours is ahead of magnitude pruning at {len(better['magnitude'])} of {sizes} sizes, with an interval that "
        f"excludes 0 at {len(clear)}; of magnitude with our shape at {len(better['magnitude-shape'])}.",
    ]
    if record["shipped"]:
        shipped = ", ".join(f"`{r['name']}` {100 * r['int8']:.2f} % in {r['bytes']:,} bytes" for r in record["shipped"])
        lines.append(
            "The experts that ship were retrained for longer on all images, learnt from larger networks too (see "
            f"`teachers`), and keep dense weights as 4-bit codes into palettes: {shipped}."
        )
    return "\n".join(lines)
