"""`edgemoe benchmark`: every method on every writer, one table."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edgemoe import load_global_expert
from edgemoe.cli.options import Expert, Json
from edgemoe.cli.output import emit, note
from edgemoe.errors import EdgemoeError
from edgemoe.files import write_atomic

if TYPE_CHECKING:
    from edgemoe.benchmark.method import Method

__all__ = ["benchmark"]

CURVE = (1, 2, 3, 5, 10)  # shots of --curve


def benchmark(
    writers: Annotated[str, typer.Option(help="Samples with writer ids, as --samples of personalize.")],
    generic: Annotated[str, typer.Option(help="Samples of people in general, as --samples of personalize.")],
    out: Annotated[Path, typer.Option(help="Folder for rows, results and pictures; called again, a study goes on.")],
    shots: Annotated[int, typer.Option(min=1, help="Samples of each character to learn from.")] = 5,
    ge: Expert = "lenet5-balanced",
    draws: Annotated[int, typer.Option(min=1, max=1000, help="Times that a writer's samples are drawn anew.")] = 5,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many writers alone.")] = None,
    methods: Annotated[str | None, typer.Option(help="Some methods alone, by name, with commas between.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; each computes on one thread.")] = 1,
    curve: Annotated[
        bool, typer.Option("--curve", help="Also with 1, 2, 3, 5 and 10 shots, in DIR/shots-K, and a picture of all.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Drop what is there of an earlier run.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    as_json: Json = False,
) -> None:
    """Compare personalization with its alternatives on every writer.

    Every method learns from the same samples and is asked about the same others: the user's, other writers'
    (bystanders') and generic ones. Stopped at any moment, the same call goes on where it was.

    Example: edgemoe benchmark --writers writers.npz --generic emnist.zip:byclass-part:test --shots 5 --out runs/study
    """
    try:
        from edgemoe.benchmark.methods import METHODS, SEQUENTIAL
        from edgemoe.benchmark.network import characters
        from edgemoe.benchmark.plots import curve as draw_curve
        from edgemoe.benchmark.report import terminal_table
        from edgemoe.benchmark.study import Plan, run_study
        from edgemoe.benchmark.tasks import load_data
    except ModuleNotFoundError as error:
        raise EdgemoeError(
            f"benchmark needs {error.name}, which is not here: pip install 'edgemoe[benchmark]'"
        ) from error

    chosen = _chosen(methods, METHODS)
    expert = load_global_expert(ge)
    note("Reading the samples ...")
    data = load_data(expert, writers, generic, characters)
    if data.skipped:
        note(f"{writers}: no two samples of any class by {', '.join(data.skipped)}; they are bystanders alone.")
    command = _command(
        writers=writers, generic=generic, shots=shots, ge=ge, draws=draws, limit=limit, methods=methods, seed=seed,
        curve=curve, out=out,
    )  # fmt: skip
    plan = Plan(chosen, SEQUENTIAL, draws, limit, seed, jobs, command)
    studies: dict[int, dict[str, Any]] = {}
    for count in dict.fromkeys([shots, *(CURVE if curve else ())]):
        folder = out if count == shots else out / f"shots-{count}"
        with _bar(f"{count} shots") as progress:
            studies[count] = run_study(expert, data, plan, count, folder, fresh, progress)
    written = [out / "results.json", out / "results.md", out / "scatter.png"]
    if curve:
        written.append(out / "curve.png")
        write_atomic(written[-1], draw_curve(studies))

    def show(console: Console) -> None:
        console.print(terminal_table(studies[shots]))
        console.print(f"Written: {', '.join(map(str, written))}", markup=False)

    emit(studies[shots], as_json, show)


def _chosen(names: str | None, known: "dict[str, Method]") -> "dict[str, Method]":
    """Return the methods asked for, in the registry's order."""
    if names is None:
        return dict(known)
    asked = {name.strip() for name in names.split(",")}
    if strangers := sorted(asked - known.keys()):
        raise typer.BadParameter(f"no method {strangers[0]!r}; there are {', '.join(known)}", param_hint="--methods")
    return {name: method for name, method in known.items() if name in asked}


def _command(**options: Any) -> str:
    words = ["edgemoe", "benchmark"]
    for name, value in options.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and value is not False:
            words += [f"--{name}", str(value)]
    return shlex.join(words)


@contextmanager
def _bar(title: str) -> "Iterator[Any]":
    """Show the steps of a study as a bar on stderr; yields what `run_study` reports to."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
