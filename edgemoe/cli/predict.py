"""`edgemoe predict`: label, confidence, and which expert answered."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from edgemoe import MixtureOfExperts
from edgemoe.cli.inputs import find_expert, user_samples
from edgemoe.cli.options import Expert, Json, ProfileFile, SamplesPath, Seed, WriterId
from edgemoe.cli.output import emit, percent, table
from edgemoe.cli.pictures import draw_answers
from edgemoe.data import load_unlabelled
from edgemoe.errors import EdgemoeError
from edgemoe.files import write_atomic

__all__ = ["predict"]

PER_CLASS = 2  # samples of each class from a simulated writer
ROWS = 50  # shown to a person; --json has all


def predict(
    profile: ProfileFile,
    ge: Expert = "lenet5-balanced",
    samples: SamplesPath = None,
    writer: WriterId = None,
    seed: Seed = 0,
    reject: Annotated[
        float, typer.Option(min=0, max=1, help="Give no label where the answer's probability is lower.")
    ] = 0.0,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the characters here as PNG, misread ones first, with what each said.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read characters, labelled or not: label, confidence, and which expert answered.

    The expert is the one whose own answer the mixture gave: global, local, or both. It is neither where the answer is
    rejected, or in the rare case that blending them put a third label first.

    Example: edgemoe predict --profile me.moe --samples photos
    """
    expert = find_expert(ge, profile=profile)
    moe = MixtureOfExperts.load(profile, expert)
    plain = None if samples is None else load_unlabelled(samples)
    if plain is None:
        symbols = moe.profile.symbols
        found = user_samples(samples, writer, expert, seed, PER_CLASS, sample_seed=1, symbols=symbols)
        images, source, names, truths = found.images, found.source, None, found.labels.tolist()
    else:
        (images, names), source = plain, str(samples)
        truths = [None] * len(images)
        for option, given in (("--writer", writer), ("--picture", picture)):
            if given is not None:
                raise EdgemoeError(f"{samples}: has no labels, which {option} needs")
    answers = moe.explain(images, reject)
    predictions: list[dict[str, Any]] = [
        {
            "index": index,
            "file": None if names is None else names[index],
            "label": str(label),
            "confidence": float(row.max()),
            "global": str(of_global),
            "local": str(of_local),
            "expert": {(1, 0): "global", (0, 1): "local", (1, 1): "both", (0, 0): "neither"}[
                int(label == of_global), int(label == of_local)
            ],
            "gate": float(gate),
            "truth": truth,
        }
        for index, (label, row, of_global, of_local, gate, truth) in enumerate(
            zip(
                answers.labels,
                answers.probabilities,
                answers.global_labels,
                answers.local_labels,
                answers.gate,
                truths,
                strict=True,
            )
        )
    ]

    if picture is not None:
        footer = f"{expert.name}, profile {profile}, {source}"
        write_atomic(picture, draw_answers(images, answers, np.array(truths), "Which ones, and why", footer))

    def show(console: Console) -> None:
        rows = (
            (
                p["index"] if names is None else p["file"],
                p["label"],
                *([] if p["truth"] is None else [p["truth"]]),
                percent(p["confidence"]),
                p["expert"],
                f"{p['gate']:.2f}",
            )
            for p in predictions[:ROWS]
        )
        headings = ("sample", "label", *(["truth"] if plain is None else []), "confidence", "expert", "gate")
        console.print(table(f"{len(predictions):,} characters of {source}", headings, rows))
        if len(predictions) > ROWS:
            console.print(f"The first {ROWS}; --json prints all.")
        counts = Counter(p["expert"] for p in predictions)
        if picture is not None:
            console.print(f"Picture: {picture}", markup=False)
        console.print("Answered by: " + ", ".join(f"{name} {count:,}" for name, count in counts.most_common()))

    result = {"source": source, "picture": None if picture is None else str(picture), "predictions": predictions}
    emit(result, as_json, show)
