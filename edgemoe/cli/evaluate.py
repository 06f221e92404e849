"""`edgemoe evaluate`: accuracies of global expert, local expert and mixture."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from edgemoe import MixtureOfExperts
from edgemoe.cli.inputs import find_expert, generic_samples, user_samples
from edgemoe.cli.options import Expert, Json, ProfileFile, SamplesPath, Seed, WriterId
from edgemoe.cli.output import emit, percent, table
from edgemoe.cli.pictures import draw_confusions
from edgemoe.device.mixture import Answers
from edgemoe.device.rejection import coverage_curve
from edgemoe.files import write_atomic

__all__ = ["evaluate", "figures", "figures_table"]

PER_CLASS = 20  # samples of each class from a simulated writer
REJECTS = [0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]


def evaluate(
    profile: ProfileFile,
    ge: Expert = "lenet5-balanced",
    samples: SamplesPath = None,
    writer: WriterId = None,
    generic: Annotated[
        str | None, typer.Option(help="Samples by other people, as --samples; without it, simulated writers'.")
    ] = None,
    seed: Seed = 0,
    reject_curve: Annotated[
        bool, typer.Option("--reject-curve", help="Add how much is read, and how well, at each --reject of predict.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw here as PNG what the user's characters are taken for, before and after.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure global expert, local expert and mixture on the user's samples and on generic ones.

    Use samples that personalize did not learn from: what its --rest wrote, or, of a simulated writer, none at all.

    Example: edgemoe evaluate --profile me.moe --samples rest.npz --generic emnist.zip:byclass-part:test
    """
    expert = find_expert(ge, profile=profile)
    moe = MixtureOfExperts.load(profile, expert)
    user = user_samples(samples, writer, expert, seed, PER_CLASS, sample_seed=1, symbols=moe.profile.symbols)
    others = generic_samples(generic, expert, seed)
    read = {"user": (moe.explain(user.images), user.labels), "generic": (moe.explain(others.images), others.labels)}
    sides = {name: figures(*side) for name, side in read.items()}
    result: dict[str, Any] = {**sides, "source": {"user": user.source, "generic": others.source}}
    if reject_curve:
        result["reject_curve"] = {"reject": REJECTS, **{name: _curve(*side) for name, side in read.items()}}
    if picture is not None:
        answers, truth = read["user"]
        title, footer = "What the user's characters are taken for", f"{expert.name}, profile {profile}, {user.source}"
        drawn = draw_confusions(moe.classes_, truth, answers.global_labels, answers.labels, title, footer)
        write_atomic(picture, drawn)
        result["picture"] = str(picture)

    def show(console: Console) -> None:
        console.print(figures_table(f"Accuracy of {expert.name} with {profile}", sides))
        if reject_curve:
            curves = result["reject_curve"]
            columns = [curves[name][part] for name in sides for part in ("coverage", "accuracy")]
            rows = zip(
                REJECTS, *([percent(share) if share is not None else "" for share in c] for c in columns), strict=True
            )
            headings = ("reject", "user read", "of it right", "generic read", "of it right")
            console.print(table("Answers below a probability rejected", headings, rows))
        if picture is not None:
            console.print(f"Picture: {picture}", markup=False)
        console.print(f"User: {user.source}. Generic: {others.source}.", markup=False)

    emit(result, as_json, show)


def _curve(answers: Answers, truth: npt.NDArray[np.str_]) -> dict[str, list[float | None]]:
    coverage, accuracy = coverage_curve(answers.probabilities.max(axis=1), answers.labels == truth, REJECTS)
    return {
        "coverage": [float(share) for share in coverage],
        "accuracy": [None if np.isnan(share) else float(share) for share in accuracy],
    }


def figures(answers: Answers, truth: npt.NDArray[np.str_]) -> dict[str, Any]:
    """Return n, the accuracies in [0, 1], and the share of samples whose gate favours the local expert."""
    parts = {"global": answers.global_labels, "local": answers.local_labels, "mixture": answers.labels}
    accuracies = {name: float(np.mean(labels == truth)) for name, labels in parts.items()}
    return {"n": len(truth), **accuracies, "routed": float(np.mean(answers.gate >= 0.5))}


def figures_table(title: str, result: dict[str, dict[str, Any]]) -> Table:
    """Make a table of some samples' figures."""
    rows = (
        (name, f"{row['n']:,}", *(percent(row[key]) for key in ("global", "local", "mixture", "routed")))
        for name, row in result.items()
    )
    headings = ("samples", "n", "global", "local", "mixture", "routed")
    return table(title, headings, rows)
