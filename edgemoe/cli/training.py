"""What the two training verbs share: options, samples, the folder of a run that can be killed and goes on, progress."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded, write_atomic

if TYPE_CHECKING:
    from edgemoe.global_expert.build import Samples
    from edgemoe.global_expert.train import Recipe

__all__ = [
    "RATE",
    "Criterion",
    "DataPaths",
    "Fall",
    "OutFolder",
    "PaletteEpochs",
    "Rate",
    "Retained",
    "Sets",
    "TestPaths",
    "ValidationPath",
    "count_bar",
    "digest",
    "epochs_bar",
    "import_build",
    "open_run",
    "read_sets",
    "retraining",
]

DataPaths = Annotated[
    list[str], typer.Option("--data", help="What to train on, as --samples of personalize; may be given several times.")
]
ValidationPath = Annotated[
    str | None,
    typer.Option("--validation", help="Tried after each epoch, and its features make the retention set. "
                 "Without it a twentieth of the data is held out."),
]  # fmt: skip
TestPaths = Annotated[
    list[str] | None, typer.Option("--test", help="What to measure at the end; may be given several times.")
]
Criterion = Annotated[
    str,
    typer.Option(
        "--criterion",
        help="What tells which channels go: taylor, magnitude, oracle and others; a wrong name lists them.",
    ),
]
Rate = Annotated[float, typer.Option(min=0, help="Peak learning rate of the retraining.")]
Retained = Annotated[
    int,
    typer.Option(
        min=8,
        help="Generic samples in the retention set: fewer make a smaller bundle and a weaker acceptance test, "
        "which with under 1,000 can accept nobody.",
    ),
]
Fall = Annotated[str, typer.Option(help="How the rate falls from its peak: cosine, linear, steps or constant.")]
PaletteEpochs = Annotated[
    int,
    typer.Option(
        "--palette-epochs", min=0,
        help="Of the last training, in which each dense layer comes to have 16 values alone, so that its weights take "
        "4 bits in the int8 file. 0: they keep 8 bits.",
    ),
]  # fmt: skip
OutFolder = Annotated[
    Path, typer.Option("--out", help="Folder for the bundle, the log and the state; called again, a run goes on there.")
]

RATE = 1e-2  # peak learning rate of a retraining: three times what trains from scratch (docs/studies.md)
DISTILL = 0.95  # weight of the teachers' answers in it; the labels, some of them wrong, have the rest

_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


@dataclass(frozen=True)
class Sets:
    """What a run reads."""

    train: "Samples"
    validation: "Samples"
    tests: "list[Samples]"


def import_build(verb: str) -> ModuleType:
    """Import what needs torch, or say how to get it."""
    try:
        from edgemoe.global_expert import build
    except ModuleNotFoundError as error:
        raise EdgemoeError(f"{verb} needs {error.name}, which is not here: pip install 'edgemoe[train]'") from error
    return build


def read_sets(
    build: ModuleType, data: list[str], validation: str | None, tests: list[str] | None, classes: str, seed: int
) -> Sets:
    """Read all samples of a run before its first step; those of other classes are left out, and a note says so."""

    def read(paths: list[str]) -> "Samples":
        samples: Samples = build.read_samples(paths, classes, only=True)
        if samples.left_out:
            text = f"{samples.source}: {samples.left_out:,} samples of other classes are left out"
            Console(stderr=True).print(text, markup=False)
        if not len(samples.labels):
            raise EdgemoeError(f"{samples.source}: no sample is of the {len(classes)} classes")
        return samples

    train = read(data)
    if validation is None:
        train, held = build.hold_out(train, seed)
    else:
        held = read([validation])
    return Sets(train, held, [held, *(read([path]) for path in tests or [])])


def open_run(out: Path, settings: dict[str, Any]) -> None:
    """Make the folder of a run, or check that the run in it is this one.

    Raises
    ------
    EdgemoeError
        If the folder cannot be made, or holds another run: its state must not pass for this one's.
    """
    log = out / "log.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgemoeError(f"{out}: cannot be made ({error.strerror})") from error
    if not log.exists():
        write_atomic(log, json.dumps({"settings": settings}, indent=1).encode())
        return
    try:
        kept = json.loads(read_bounded(log, 1 << 24))["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise EdgemoeError(f"{log}: not the log of a run ({error})") from error
    for name in settings:
        if kept.get(name) != settings[name]:
            raise EdgemoeError(
                f"{out}: holds another run, with {name} {kept.get(name)!r} and not {settings[name]!r}; "
                "remove it or choose another --out"
            )


@contextmanager
def epochs_bar(title: str, epochs: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show a run's steps as a bar on stderr and print a line an epoch; yields what `train` reports to."""
    with Progress(*_COLUMNS, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def report(event: dict[str, Any]) -> None:
            if "epoch" in event:
                bar.console.print(
                    f"{title}: epoch {event['epoch']} of {epochs}, loss {event['loss']:.4f}, "
                    f"validation {event['validation']:.2%}"
                )
            else:
                bar.update(
                    task,
                    completed=event["step"],
                    total=event["steps"],
                    description=f"{title}, loss {event['loss']:.3f}",
                )

        yield report


@contextmanager
def count_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a count as a bar on stderr; yields what takes how many are done, and of how many."""
    with Progress(*_COLUMNS, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def retraining(epochs: int, plain: int, rate: float, fall: str, seed: int) -> "Recipe":
    """Return how pruned experts are retrained."""
    from edgemoe.global_expert.train import Recipe

    return Recipe(epochs, plain, rate=rate, fall=fall, distill=DISTILL, seed=seed)


def digest(path: Path) -> str:
    """Return the SHA-256 of a trained expert's file."""
    return hashlib.sha256(read_bounded(path, 1 << 28)).hexdigest()
