"""`edgemoe train-global`: from images of characters to a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from edgemoe.classes import class_set
from edgemoe.cli.making import Plan, make_expert, show_expert
from edgemoe.cli.options import Json
from edgemoe.cli.output import emit
from edgemoe.cli.teachers import TeacherEpochs, Teachers, ask_teachers, train_teachers
from edgemoe.cli.trained import load_trained
from edgemoe.cli.training import (
    RATE,
    Criterion,
    DataPaths,
    Fall,
    OutFolder,
    PaletteEpochs,
    Rate,
    Retained,
    TestPaths,
    ValidationPath,
    digest,
    epochs_bar,
    import_build,
    open_run,
    read_sets,
    retraining,
)
from edgemoe.errors import EdgemoeError

__all__ = ["train_global"]


def train_global(
    data: DataPaths,
    out: OutFolder,
    validation: ValidationPath = None,
    test: TestPaths = None,
    classes: Annotated[str, typer.Option(help="digits, letters, balanced or byclass.")] = "balanced",
    shape: Annotated[
        str, typer.Option(help="Widths of the LeNet-5: two convolutions, then dense layers.")
    ] = "20-50-500-128",
    pruned: Annotated[str, typer.Option(help="Widths that are left after pruning.")] = "20-20-88-108",
    start: Annotated[
        Path | None,
        typer.Option(help="An unpruned.npz of other classes to start from, such as that of balanced for digits."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=0, help="Of the training.")] = 30,
    plain: Annotated[int, typer.Option(min=0, help="Of its end, on undistorted images.")] = 6,
    teachers: Teachers = 2,
    teacher_epochs: TeacherEpochs = 14,
    prune_epochs: Annotated[int, typer.Option(min=0, help="Of the retraining after pruning.")] = 28,
    prune_plain: Annotated[int, typer.Option(min=0, help="Of its end, on undistorted images.")] = 6,
    palette_epochs: PaletteEpochs = 8,
    rate: Rate = RATE,
    fall: Fall = "cosine",
    retained: Retained = 2500,
    criterion: Criterion = "taylor",
    name: Annotated[
        str | None, typer.Option(help="The expert's name; by default lenet5- and the classes' name.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of both trainings.")] = 0,
    as_json: Json = False,
) -> None:
    """Train a LeNet-5 with torch, prune it, retrain it, and export the bundle.

    Called again after a kill with the same options, it goes on after the last whole epoch.

    Example: edgemoe train-global --data emnist.zip:byclass-part:train --data emnist.zip:bymerge-part:train
    --validation emnist.zip:bymerge-part:test --test emnist.zip:byclass-part:test --out runs/balanced
    """
    build = import_build("train-global")
    from edgemoe.global_expert.lenet5 import parse_shape
    from edgemoe.global_expert.train import Recipe
    from edgemoe.pruning.criteria import find_criterion

    labels, full, small = class_set(classes), parse_shape(shape), parse_shape(pruned)
    if len(full) != len(small) or any(after > before for after, before in zip(small, full, strict=True)):
        raise EdgemoeError(f"--pruned {pruned} does not lie within --shape {shape}")
    find_criterion(criterion)
    recipe, training = retraining(prune_epochs, prune_plain, rate, fall, seed), Recipe(epochs, plain, seed=seed)
    settings = {
        "data": data, "validation": validation, "classes": classes, "shape": shape, "pruned": pruned,
        "start": None if start is None else digest(start), "criterion": criterion, "epochs": epochs, "plain": plain,
        "prune_epochs": prune_epochs, "prune_plain": prune_plain, "palette_epochs": palette_epochs, "rate": rate,
        "fall": fall, "retained": retained, "seed": seed, "teachers": teachers, "teacher_epochs": teacher_epochs,
    }  # fmt: skip
    sets = read_sets(build, data, validation, test, labels, seed)
    open_run(out, settings)
    state = out / "unpruned.npz"
    with epochs_bar("training", training.total) as progress:
        build.train_expert(full, labels, sets.train, sets.validation, training, state, progress, start=start)
    trained = load_trained(state)
    taught = ask_teachers(trained, train_teachers(teachers, teacher_epochs, labels, sets, out, seed), sets, seed)
    called = name or f"lenet5-{classes}"
    plan = Plan(criterion, "one-shot", recipe, palette_epochs, retained)
    result = make_expert(trained, small, plan, sets, taught, called, out, settings)
    emit(result, as_json, lambda console: show_expert(result, console))
