"""`edgemoe prune`: prunes a trained expert to a shape, or to the best that fit budgets, and exports the bundles."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from edgemoe.cli.making import Plan, make_expert, show_expert
from edgemoe.cli.options import Json
from edgemoe.cli.output import emit, table
from edgemoe.cli.teachers import TeacherFiles, ask_teachers, read_teachers
from edgemoe.cli.trained import Trained, load_trained
from edgemoe.cli.training import (
    RATE,
    Criterion,
    DataPaths,
    Fall,
    OutFolder,
    PaletteEpochs,
    Rate,
    Retained,
    Sets,
    TestPaths,
    ValidationPath,
    count_bar,
    digest,
    import_build,
    open_run,
    read_sets,
    retraining,
)
from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded, write_atomic
from edgemoe.pruning.budget import Budget, parse_budget

__all__ = ["prune"]

SHOWN = 12  # shapes of a search in its table


def prune(
    expert: Annotated[Path, typer.Option(help="The unpruned.npz that train-global left, or a CNN's float .onnx.")],
    data: DataPaths,
    out: OutFolder,
    shape: Annotated[str | None, typer.Option(help="Widths to keep, such as 16-28-40-44.")] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of --shape: finds the best one within flash=32KB, ram=12KB, macs=500k, parameters=0.15 "
            "(a share) or 50000, board=blue-pill, or several joined by commas. Given several times, it makes a family "
            "of experts, each in a folder of its own."
        ),
    ] = None,
    validation: ValidationPath = None,
    test: TestPaths = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of the retraining.")] = 28,
    plain: Annotated[int, typer.Option(min=0, help="Of its end, on undistorted images.")] = 6,
    palette_epochs: PaletteEpochs = 8,
    teacher: TeacherFiles = None,
    rate: Rate = RATE,
    fall: Fall = "cosine",
    retained: Retained = 2500,
    criterion: Criterion = "taylor",
    schedule: Annotated[
        str, typer.Option(help="When channels go: one-shot, iterative, dpf, dpp, rewire or swast.")
    ] = "one-shot",
    name: Annotated[str, typer.Option(help="The expert's name.")] = "lenet5",
    seed: Annotated[int, typer.Option(min=0, help="Of the search and of the retraining.")] = 0,
    as_json: Json = False,
) -> None:
    """Prune a trained expert: remove channels and hidden units, retrain, and export the bundle.

    Example: edgemoe prune --expert runs/balanced/unpruned.npz --budget flash=32KB
    --data emnist.zip:byclass-part:train --out runs/smaller
    """
    if (shape is None) == (not budget):
        raise typer.BadParameter("give one of the two", param_hint="--shape / --budget")
    budgets = _parse_budgets(budget or [])
    build = import_build("prune")
    from edgemoe.pruning.cost import layout_of
    from edgemoe.pruning.criteria import find_criterion
    from edgemoe.pruning.schedules import find_schedule
    from edgemoe.pruning.search import even_shape

    find_criterion(criterion)
    find_schedule(schedule)
    plan = Plan(criterion, schedule, retraining(epochs, plain, rate, fall, seed), palette_epochs, retained)
    trained = load_trained(expert)
    teachers = read_teachers(teacher or [], trained.classes)
    layout = layout_of(trained.network, palette_epochs > 0)
    fixed = None if shape is None else _parse_shape(shape, layout.widths)
    for limit in budgets.values():
        even_shape(layout, limit)
    folders = [out / slug for slug in budgets] if len(budgets) > 1 else [out]
    shared = {
        "expert": digest(expert), "data": data, "validation": validation, "criterion": criterion,
        "schedule": schedule, "epochs": epochs, "plain": plain, "palette_epochs": palette_epochs, "rate": rate,
        "fall": fall, "retained": retained, "seed": seed, "teachers": [digest(file) for file in teacher or []],
    }  # fmt: skip
    aims: list[dict[str, Any]] = (
        [{"shape": list(fixed)}] if fixed else [{"budget": limit.text} for limit in budgets.values()]
    )
    sets = read_sets(build, data, validation, test, trained.classes, seed)
    for folder, aim in zip(folders, aims, strict=True):
        open_run(folder, {**shared, **aim})

    found = _search(trained, plan, sets, dict(zip(folders, budgets.values(), strict=False)), seed)
    taught = ask_teachers(trained, teachers, sets, seed)
    results = []
    for folder, aim in zip(folders, aims, strict=True):
        chosen = fixed or tuple(found[folder]["shape"])
        member = name if folder == out else f"{name}-{folder.name}"
        made = make_expert(trained, chosen, plan, sets, taught, member, folder, {**shared, **aim})
        results.append({**made, **({"search": found[folder]} if folder in found else {})})

    def show(console: Console) -> None:
        for result in results:
            if "search" in result:
                console.print(_tried(result["search"]))
            show_expert(result, console)

    emit(results[0] if len(results) == 1 else {"experts": results}, as_json, show)


def _search(
    trained: Trained, plan: Plan, sets: Sets, budgets: dict[Path, Budget], seed: int
) -> dict[Path, dict[str, Any]]:
    """Find the best shape for each folder's budget, or read there what was found before."""
    from edgemoe.pruning.criteria import find_criterion
    from edgemoe.pruning.search import prepare_base, search

    base, held = None, (sets.validation.images, sets.validation.labels)
    for folder, budget in budgets.items():
        if (folder / "search.json").exists():
            continue
        if base is None:
            with count_bar("preparing the search") as count:
                base = prepare_base(
                    trained.network, trained.classes, find_criterion(plan.criterion),
                    sets.train.images, sets.train.labels, held, seed, count, plan.palette_epochs > 0,
                )  # fmt: skip
        with count_bar(f"searching {budget.text}") as count:
            trials = search(base, budget, seed, count)
        record = {"budget": budget.text, "shape": trials[0].shape, "trials": [asdict(trial) for trial in trials]}
        write_atomic(folder / "search.json", json.dumps(record, indent=1).encode())
    return {folder: _read_search(folder / "search.json") for folder in budgets}


def _parse_budgets(texts: Sequence[str]) -> dict[str, Budget]:
    """Read budgets by the name of each one's folder."""
    try:
        budgets = {re.sub(r"[^A-Za-z0-9.]+", "-", text): parse_budget(text) for text in texts}
    except EdgemoeError as error:
        raise typer.BadParameter(str(error), param_hint="--budget") from error
    if len(budgets) < len(texts):
        raise typer.BadParameter("one is given twice", param_hint="--budget")
    return budgets


def _parse_shape(text: str, widths: Sequence[int]) -> tuple[int, ...]:
    """Read widths such as 16-28-40-44, as many as the expert has and none wider."""
    shape = tuple(int(w) for w in text.split("-")) if re.fullmatch(r"[0-9]{1,6}(-[0-9]{1,6})*", text) else ()
    if len(shape) != len(widths) or any(not 1 <= new <= old for new, old in zip(shape, widths, strict=True)):
        raise EdgemoeError(f"--shape {text} does not lie within {'-'.join(map(str, widths))}")
    return shape


def _read_search(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(read_bounded(path, 1 << 24))
        if not all(isinstance(width, int) for width in record["shape"]) or not isinstance(record["trials"], list):
            raise ValueError("no shape")
    except (ValueError, KeyError, TypeError) as error:
        raise EdgemoeError(f"{path}: not the record of a search ({error}); remove it to search anew") from error
    return record


def _tried(record: dict[str, Any]) -> Table:
    """Show the best shapes of a search, the chosen one first."""
    trials = record["trials"]

    def row(trial: dict[str, Any]) -> list[str]:
        cost, reached = trial["cost"], trial["accuracy"]
        return [
            "-".join(map(str, trial["shape"])),
            *(f"{cost[key]:,}" for key in ("parameters", "flash", "ram", "macs")),
            f"{trial['loss']:.3f}",
            str(trial["epochs"] or "-"),
            "-" if reached is None else f"{reached:.2%}",
        ]

    headings = ("shape", "parameters", "flash", "RAM", "MACs", "loss", "epochs", "validation")
    title = f"{record['budget']}: the best of {len(trials)} shapes that fill it"
    return table(title, headings, [row(trial) for trial in trials[:SHOWN]])
