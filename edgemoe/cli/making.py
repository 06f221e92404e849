"""The bundle at the end of a training verb: pruned, retrained, measured, and on record."""

import json
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edgemoe.cli.output import facts
from edgemoe.cli.teachers import Taught
from edgemoe.cli.trained import Trained
from edgemoe.cli.training import Sets, epochs_bar
from edgemoe.files import write_atomic

if TYPE_CHECKING:
    from edgemoe.global_expert.train import Recipe

__all__ = ["Plan", "make_expert", "show_expert"]

PALETTE_RATE = 4e-4  # of the training with palettes, whose peak is a quarter of it: a long training is behind it


@dataclass(frozen=True)
class Plan:
    """How experts are made of a trained one.

    Attributes
    ----------
    criterion, schedule : str
        Names of a pruning criterion and of a schedule.
    recipe : Recipe
        Of the retraining.
    palette_epochs : int
        Of the training with palettes behind it; 0 if the dense layers keep weights of 8 bits.
    retained : int
        Samples in the retention set.
    """

    criterion: str
    schedule: str
    recipe: "Recipe"
    palette_epochs: int
    retained: int


def make_expert(
    trained: Trained,
    shape: tuple[int, ...],
    plan: Plan,
    sets: Sets,
    taught: Taught,
    name: str,
    out: Path,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Prune a trained expert, retrain it, write the bundle and the log, and return what came of it.

    Called again after a kill, it goes on after the last whole epoch.
    """
    from edgemoe.global_expert import build
    from edgemoe.global_expert.layers import parameter_count
    from edgemoe.global_expert.train import accuracy, settle_normalization
    from edgemoe.pruning.cost import layout_of
    from edgemoe.pruning.criteria import find_criterion
    from edgemoe.pruning.schedules import Run, find_schedule
    from edgemoe.pruning.unification import even_dense_layers

    network, samples, lessons = trained.network, sets.train, taught.lessons
    palette_log: list[dict[str, Any]] = []
    state = out / "pruned.npz" if trained.resumable else None
    with epochs_bar("retraining", plan.recipe.total) as progress:
        run = Run(trained.classes, state, (sets.validation.images, sets.validation.labels), progress)
        prune, criterion = find_schedule(plan.schedule), find_criterion(plan.criterion)
        model, log = prune(network, shape, criterion, lessons, plan.recipe, run)
    pruning: dict[str, Any] = {
        "criterion": plan.criterion, "schedule": plan.schedule, "recipe": vars(plan.recipe), **taught.record,
    }  # fmt: skip
    if plan.palette_epochs:
        last = replace(plan.recipe, epochs=0, plain=plan.palette_epochs, rate=PALETTE_RATE, fall="cosine")
        with epochs_bar("training with palettes", last.total) as progress:
            model, palette_log = build.share_weights(
                model, trained.classes, samples, sets.validation, last, lessons,
                out / "palettes.npz" if trained.resumable else None, progress,
            )  # fmt: skip
        pruning["palettes"] = {"bits": build.PALETTE_BITS, "layers": even_dense_layers(model), "recipe": vars(last)}
    unpruned = settle_normalization(network, samples.images)
    layout = layout_of(unpruned, plan.palette_epochs > 0)
    training: dict[str, Any] = {
        "shape": list(layout.widths),
        "parameters": parameter_count(unpruned),
        "recipe": trained.record.get("recipe"),
        "figures": {test.source: round(accuracy(unpruned, test.images, test.labels), 5) for test in sets.tests},
    }
    bundle, command = out / f"{name}.bundle", shlex.join(["edgemoe", *sys.argv[1:]])
    metadata = build.bundle_expert(
        model, name, trained.classes, sets.train, sets.validation, sets.tests,
        {"training": training, "pruning": pruning, "command": command}, bundle, plan.retained,
    )  # fmt: skip
    record = {
        "settings": settings,
        "training": {**training, "log": trained.record.get("log")},
        "pruning": {**pruning, "log": log, "palette_log": palette_log},
        "shape": metadata["shape"],
        "parameters": metadata["parameters"],
        "cost": vars(layout.cost(shape)),
        "figures": metadata["figures"],
    }
    write_atomic(out / "log.json", json.dumps(record, indent=1).encode())
    return {"bundle": str(bundle), **{k: v for k, v in record.items() if k != "settings"}}


def show_expert(result: dict[str, Any], console: Console) -> None:
    """Print what `make_expert` returned."""
    cost, training = result["cost"], result["training"]
    rows = [
        ("bundle", result["bundle"]),
        ("shape", "-".join(map(str, result["shape"]))),
        ("parameters", f"{result['parameters']:,} of {training['parameters']:,}"),
        ("int8", f"flash {cost['flash']:,} bytes, RAM {cost['ram']:,} bytes, {cost['macs']:,} MACs"),
        *(
            (test, f"unpruned {training['figures'][test]:.2%}, pruned {forms['float32']:.2%}, int8 {forms['int8']:.2%}")
            for test, forms in result["figures"].items()
        ),
    ]
    console.print(facts(f"Made {Path(result['bundle']).stem}", rows))
