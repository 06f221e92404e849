"""`edgemoe evaluate`: accuracies of global expert, local expert and mixture."""

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from edgemoe import MixtureOfExperts, load_global_expert
from edgemoe.cli.inputs import generic_samples, user_samples
from edgemoe.cli.options import Expert, Json, ProfileFile, SamplesPath, Seed, WriterId
from edgemoe.cli.output import emit, percent, table
from edgemoe.device.mixture import Answers

__all__ = ["evaluate", "figures", "figures_table"]

PER_CLASS = 20  # samples of each class from a simulated writer


def evaluate(
    profile: ProfileFile,
    ge: Expert = "lenet5-balanced",
    samples: SamplesPath = None,
    writer: WriterId = None,
    generic: Annotated[
        str | None, typer.Option(help="Samples by other people, as --samples; without it, simulated writers'.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure global expert, local expert and mixture on the user's samples and on generic ones.

    Use samples that personalize did not learn from: what its --rest wrote, or, of a simulated writer, none at all.

    Example: edgemoe evaluate --profile me.moe --samples rest.npz --generic emnist.zip:byclass-part:test
    """
    expert = load_global_expert(ge)
    moe = MixtureOfExperts.load(profile, expert)
    user = user_samples(samples, writer, expert, seed, PER_CLASS, sample_seed=1)
    others = generic_samples(generic, expert, seed)
    sides = {
        "user": figures(moe.explain(user.images), user.labels),
        "generic": figures(moe.explain(others.images), others.labels),
    }
    result = {**sides, "source": {"user": user.source, "generic": others.source}}

    def show(console: Console) -> None:
        console.print(figures_table(f"Accuracy of {expert.name} with {profile}", sides))
        console.print(f"User: {user.source}. Generic: {others.source}.", markup=False)

    emit(result, as_json, show)


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
