"""`edgemoe demo`: the main job end to end, offline, on a simulated writer."""

import contextlib
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console

from edgemoe import Personalizer, load_global_expert
from edgemoe.cli.account import cost_report
from edgemoe.cli.evaluate import figures, figures_table
from edgemoe.cli.inputs import UserSamples
from edgemoe.cli.options import Expert, Json, Seed
from edgemoe.cli.output import emit, facts, note
from edgemoe.cli.personalize import describe
from edgemoe.cli.sheet import COLUMNS, Correction, Sheet, draw_sheet
from edgemoe.device.mixture import Answers
from edgemoe.files import write_atomic
from edgemoe.simulator import generic_samples, simulated_samples

__all__ = ["demo"]

SHOTS, TEST = 5, 20  # samples of each class, to learn from and to test on
CAVEAT = "Figures of a simulated writer, who is easier to personalize than a real one; the README has real writers'."


def demo(
    seed: Seed = 0,
    ge: Expert = "lenet5-balanced",
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("edgemoe-demo.png"),
    as_json: Json = False,
) -> None:
    """Personalize the shipped recognizer to a simulated writer, and show what it gave and what it cost.

    Offline, in a few seconds. Every seed is another writer.

    Example: edgemoe demo --seed 7
    """
    began = time.perf_counter()
    expert = load_global_expert(ge)
    with contextlib.nullcontext() if as_json else Console(stderr=True).status("") as status:

        def step(text: str) -> None:
            note(text) if status is None else status.update(text)

        step(f"Simulated writer {seed} writes {SHOTS} of each of {len(expert.classes)} characters to learn from")
        images, labels = simulated_samples(seed, SHOTS, expert.classes)
        step("Local expert and gate are trained")
        start = time.perf_counter()
        moe = Personalizer(expert, seed=seed).fit(images, labels)
        seconds = time.perf_counter() - start
        step(f"The writer writes {TEST} more of each, and {TEST} other people one of each, to test on")
        user = UserSamples(*simulated_samples(seed, TEST, expert.classes, sample_seed=1), None, "user")
        generic, truth = generic_samples(seed, TEST, expert.classes)
        answers, retained = moe.explain(user.images), moe.explain_taps(expert.held_out[0])
        step("Costs are counted and the picture is drawn")
        costs = cost_report(expert, moe.profile)
        result: dict[str, Any] = {
            "writer": seed,
            "expert": expert.name,
            "user": figures(answers, user.labels),
            "generic": figures(moe.explain(generic), truth),
            "retention": figures(
                retained, expert.label(np.eye(len(expert.classes), dtype=np.float32)[expert.held_out[1]])
            ),
            "fixed": int(np.sum((answers.global_labels != user.labels) & (answers.labels == user.labels))),
            "broken": int(np.sum((answers.global_labels == user.labels) & (answers.labels != user.labels))),
            "verdict": asdict(moe.profile.verdict),
            "samples": len(labels),
            "profile_bytes": costs["profile"]["bytes"],
            "overhead": costs["overhead"],
            "personalize_seconds": round(seconds, 3),
            "picture": str(out),
        }
        write_atomic(out, draw_sheet(_sheet(result, answers, retained.gate, user)))
    result["seconds"] = round(time.perf_counter() - began, 3)

    def show(console: Console) -> None:
        rows = {"this writer": "user", "simulated others": "generic", "EMNIST, held out": "retention"}
        title = f"Simulated writer {seed}, {expert.name}, {SHOTS} samples a class"
        console.print(figures_table(title, {name: result[key] for name, key in rows.items()}))
        over = result["overhead"]
        cost = (
            ("acceptance test", describe(moe.profile.verdict)),
            ("characters", f"{result['fixed']} wrong ones now right, {result['broken']} right ones now wrong"),
            ("profile", f"{result['profile_bytes']:,} bytes, {over['bytes']:.2%} of the global expert"),
            ("MACs", f"{over['macs']:.2%} on top of the global expert's"),
            ("energy", f"{over['energy']:.2%} on top, by {costs['model']}'s ratios"),
            ("time", f"{seconds:.2f} s to personalize, {result['seconds']:.1f} s in all"),
            ("picture", str(out)),
        )
        console.print(facts("What it gave and cost", cost))
        console.print(CAVEAT, soft_wrap=True)

    emit(result, as_json, show)


def _sheet(result: dict[str, Any], answers: Answers, retained: npt.NDArray[np.float32], user: UserSamples) -> Sheet:
    """Compose the picture from the first corrected character of each class, and then the second, and so on."""
    now_right = np.flatnonzero((answers.global_labels != user.labels) & (answers.labels == user.labels))
    turn = {i: int(np.sum(user.labels[now_right[:place]] == user.labels[i])) for place, i in enumerate(now_right)}
    shown = sorted(now_right, key=lambda i: (turn[i], i))[: 3 * COLUMNS]
    mine, others, over = result["user"], result["retention"], result["overhead"]
    return Sheet(
        title="One hand learnt by a frozen recognizer",
        subtitle=f"edgemoe demo: simulated writer {result['writer']}, global expert {result['expert']}, "
        f"{result['samples']} characters to learn from, {mine['n']:,} others to test on",
        headlines=(
            ("this writer, read right", f"{mine['mixture']:.1%}", f"global expert alone: {mine['global']:.1%}"),
            ("others (EMNIST), read right", f"{others['mixture']:.1%}", f"global expert alone: {others['global']:.1%}"),
            ("kept on the device", f"{result['profile_bytes']:,} bytes", f"{over['bytes']:.1%} of the global expert"),
            ("learnt in", f"{result['personalize_seconds']:.2f} s", f"then {over['energy']:.1%} more energy a reading"),
        ),
        caption=f"Wrong before, right now: {len(shown)} of {result['fixed']} such characters "
        f"({result['broken']} went the other way). Bar: the gate's weight of the local expert",
        corrections=[
            Correction(
                user.images[i], str(answers.global_labels[i]), str(answers.labels[i]), float(answers.gate[i])
            )
            for i in shown
        ],
        user_gate=answers.gate,
        generic_gate=retained,
        footer=CAVEAT,
    )  # fmt: skip
