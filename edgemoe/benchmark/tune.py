"""Chooses the constants of each method that personalization is compared with, on writers kept apart for it.

python -m edgemoe.benchmark.tune --writers unipen/writers_small.npz --generic emnist.zip:bymerge-part:test --out J.json

The constants that were chosen are the defaults of the functions in `edgemoe.benchmark.methods`.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from edgemoe.benchmark.method import Characters
from edgemoe.benchmark.methods import METHODS
from edgemoe.benchmark.network import characters, one_thread
from edgemoe.classes import merge_labels
from edgemoe.data import draw_shots, load_samples
from edgemoe.device.global_expert import GlobalExpert, load_global_expert
from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded, write_atomic

__all__ = ["GRIDS", "ROUTES", "Writers", "draw_writers", "main", "tune"]

GRIDS: dict[str, dict[str, Sequence[Any]]] = {
    "threshold-router": {"threshold": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)},
    "nearest-mean": {"features": ("hidden", "pooled", "convolution"), "unit": (False, True)},
    "knn-per": {
        "features": ("hidden", "pooled", "convolution"),
        "unit": (True,),
        "neighbours": (20, 50),
        "width": (0.06, 0.1, 0.17, 0.3),
        "share": (0.4, 0.5, 0.6),
    },
    "pfl-moe": {
        "features": ("hidden", "pooled", "convolution"),
        "rate": (0.001, 0.01),
        "steps": (20, 60, 200),
        "decay": (0.0, 1.0, 10.0),
    },
    "linear-probe": {
        "features": ("hidden", "pooled", "convolution"),
        "decay": (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
        "steps": (50, 300),
    },
    "last-layer": {"decay": (0.0, 0.1, 0.3, 1.0, 3.0, 10.0), "steps": (10, 30, 100, 300)},
    "bias-only": {"rate": (0.01, 0.03, 0.1), "epochs": (40,), "distort": (False, True)},
    "lora": {"rank": (4, 8, 16), "rate": (0.003, 0.01, 0.03), "epochs": (40,), "distort": (True,)},
    "full-finetune": {"rate": (0.001, 0.003), "epochs": (40, 80), "distort": (False, True)},
}
"""The values that are tried, in all combinations.

Full fine-tuning gained another 0.2 points of user accuracy from 160 epochs, and lost 5 generic ones, at twice the time.
"""

ROUTES = frozenset({"threshold-router", "knn-per", "pfl-moe"})
"""Methods that choose or interpolate between the global expert and something of the user's: they are to read both
well, and the mean of both accuracies counts. The others replace the global expert, and the user's accuracy counts."""

TIE = 0.001  # of accuracy: a fraction of the standard error over 24 writers
LEAST = 150  # samples of a writer, so that there are enough to test on
LIMIT = 16 << 20  # bytes of an earlier result


@dataclass(frozen=True)
class Writers:
    """What is tuned on: what each writer gives to learn from, and the same writer's other samples."""

    supports: list[Characters]
    rests: list[Characters]


def draw_writers(ge: GlobalExpert, source: str, people: int, shots: int, seed: int) -> Writers:
    """Draw writers with at least `LEAST` samples, and the samples that each gives.

    Raises
    ------
    EdgemoeError
        If the file names no writers or too few.
    """
    images, labels, owners = load_samples(source)
    if owners is None:
        raise EdgemoeError(f"{source}: names no writers")
    names, counts = np.unique(owners, return_counts=True)
    rich_names = names[counts >= LEAST]
    if len(rich_names) < people:
        raise EdgemoeError(f"{source}: has {len(rich_names)} writers with {LEAST} samples, and {people} are asked for")
    found = Writers([], [])
    for name in np.sort(np.random.default_rng(seed).permutation(rich_names)[:people]):
        own = np.flatnonzero(owners == name)
        merged = merge_labels(labels[own], ge.classes, source)
        samples = characters(ge, images[own], indices(ge, merged))
        chosen, rest = draw_shots(merged, shots, seed)
        found.supports.append(samples[chosen])
        found.rests.append(samples[rest])
    return found


def indices(ge: GlobalExpert, labels: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """Return the class indices of labels that the global expert knows."""
    return np.array([ge.classes.index(label) for label in labels], np.int64)


def tune(ge: GlobalExpert, name: str, writers: Writers, generic: Characters, progress: Console) -> dict[str, Any]:
    """Try a method's whole grid.

    Returns
    -------
    dict
        ``objective`` ("user" or "mean"), ``chosen`` (the parameters) and ``points``: of each the parameters, and the
        accuracies on the writers' other samples (mean over the writers) and on the generic ones.
    """
    objective = "mean" if name in ROUTES else "user"
    grid = [dict(zip(GRIDS[name], values, strict=True)) for values in itertools.product(*GRIDS[name].values())]
    points = []
    with one_thread():
        for parameters in track(grid, name, console=progress):
            user, others = [], []
            for support, rest in zip(writers.supports, writers.rests, strict=True):
                adapted = METHODS[name](ge, support, 0, **parameters)
                user.append((adapted.predict(rest) == rest.labels).mean())
                others.append((adapted.predict(generic) == generic.labels).mean())
            points.append({**parameters, "user": round(np.mean(user), 5), "generic": round(np.mean(others), 5)})
    return {"objective": objective, "chosen": choose(objective, grid, points), "points": points}


def choose(objective: str, grid: Sequence[dict[str, Any]], points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the parameters of the best point; of those within `TIE` of it, the kindest to the generic samples."""
    scores = [(p["user"] + p["generic"]) / 2 if objective == "mean" else p["user"] for p in points]
    good = [i for i, score in enumerate(scores) if score >= max(scores) - TIE]
    return grid[max(good, key=lambda i: points[i]["generic"])]


def main() -> None:
    """Run from the command line. What the output file has of other methods is kept."""
    parser = argparse.ArgumentParser(description="Choose each method's constants.")
    parser.add_argument("--writers", required=True, help="samples with writer ids")
    parser.add_argument("--generic", required=True, help="samples of people in general")
    parser.add_argument("--out", required=True, help="the JSON file to write")
    parser.add_argument("--method", action="append", help="one of those that have a grid; may be repeated (all)")
    parser.add_argument("--ge", default="lenet5-balanced", help="a shipped name or a bundle")
    parser.add_argument("--people", type=int, default=24, help="writers, drawn by the seed")
    parser.add_argument("--samples", type=int, default=2000, help="generic samples, drawn by the seed")
    parser.add_argument("--shots", type=int, default=5, help="samples of each character to learn from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    progress = Console(stderr=True)
    try:
        for name in options.method or ():
            if name not in GRIDS:
                raise EdgemoeError(f"--method {name}: nothing to tune; there are {', '.join(GRIDS)}")
        ge = load_global_expert(options.ge)
        writers = draw_writers(ge, options.writers, options.people, options.shots, options.seed)
        images, labels, _ = load_samples(options.generic)
        drawn = np.random.default_rng(options.seed).permutation(len(images))[: options.samples]
        generic = characters(ge, images[drawn], indices(ge, merge_labels(labels[drawn], ge.classes, options.generic)))
        out = Path(options.out)
        methods = json.loads(read_bounded(out, LIMIT))["methods"] if out.exists() else {}
        for name in options.method or GRIDS:
            command = (
                f"python -m edgemoe.benchmark.tune --writers {options.writers} --generic {options.generic} "
                f"--ge {options.ge} --people {options.people} --samples {options.samples} --shots {options.shots} "
                f"--seed {options.seed} --method {name} --out {options.out}"
            )
            methods[name] = {"command": command, **tune(ge, name, writers, generic, progress)}
            ordered = {key: methods[key] for key in GRIDS if key in methods}
            write_atomic(out, (json.dumps({"methods": ordered}, indent=1) + "\n").encode())
    except EdgemoeError as error:
        sys.exit(f"edgemoe: {error}")


if __name__ == "__main__":
    main()
