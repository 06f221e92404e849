"""`edgemoe personalize`: trains the local expert and the gate on a user's samples."""

import io
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from edgemoe import Personalizer
from edgemoe.cli.inputs import UserSamples, find_expert, kept_beside, user_samples
from edgemoe.cli.options import Expert, Json, SamplesPath, Seed, WriterId
from edgemoe.cli.output import emit, facts
from edgemoe.data import draw_shots
from edgemoe.device.acceptance import Verdict
from edgemoe.device.bundle import write_bundle
from edgemoe.device.symbols import check_symbols
from edgemoe.files import write_atomic

__all__ = ["describe", "personalize"]

SHOTS = 5  # samples of each class from a simulated writer


class ProfileSize(StrEnum):
    """Sizes of a profile."""

    compact = "compact"
    full = "full"


def personalize(
    out: Annotated[Path, typer.Option("--out", help="The profile to write.")],
    ge: Expert = "lenet5-balanced",
    samples: SamplesPath = None,
    writer: WriterId = None,
    shots: Annotated[
        int | None,
        typer.Option(min=1, help="Learn from so many of each class, drawn at random, never more than half of them."),
    ] = None,
    rest: Annotated[
        Path | None, typer.Option(help="With --shots: write the untouched samples here as an .npz of images.")
    ] = None,
    size: Annotated[ProfileSize, typer.Option(help="Few bits a weight, or 8.")] = ProfileSize.compact,
    budget: Annotated[
        float, typer.Option(min=0, max=1, help="Generic accuracy that may be lost: 0.002 is 0.2 points.")
    ] = 0.002,
    symbols: Annotated[
        str, typer.Option(help="Characters to learn that the global expert has no class for, in one word: '+-='.")
    ] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train the local expert and the gate on a user's samples, and write the profile.

    Example: edgemoe personalize --samples writers.npz --writer w003 --shots 5 --out me.moe --rest rest.npz
    """
    if rest is not None and shots is None:
        raise typer.BadParameter("needs --shots", param_hint="--rest")
    expert = find_expert(ge, samples=samples, writer=writer, symbols=symbols)
    check_symbols(symbols, expert.classes)
    per_class = SHOTS if shots is None else 2 * shots
    found = user_samples(samples, writer, expert, seed, per_class, sample_seed=0, symbols=symbols)
    chosen, left = np.arange(len(found.labels)), np.arange(0)
    if shots is not None:
        chosen, left = draw_shots(found.labels, shots, seed)
    start = time.perf_counter()
    moe = Personalizer(expert, size.value, budget, seed=seed, symbols=symbols).fit(
        found.images[chosen], found.labels[chosen]
    )
    seconds = time.perf_counter() - start
    if rest is not None:
        _write_images(rest, found[left])
    adopted = ge.lower().endswith(".onnx")
    if adopted:
        write_bundle(kept_beside(out), expert.bundle)
    moe.save(out)
    verdict = moe.profile.verdict
    result = {
        "profile": str(out),
        "bytes": len(moe.profile.to_bytes()),
        "expert": expert.name,
        "bundle": str(kept_beside(out)) if adopted else None,
        "symbols": symbols,
        "source": found.source if writer is None else f"{found.source}, writer {writer}",
        "samples": len(chosen),
        "classes": len(np.unique(found.labels[chosen])),
        "rest": None if rest is None else {"path": str(rest), "samples": len(left)},
        "accepted": verdict.accepted,
        "threshold": verdict.threshold,
        "generic_loss": verdict.generic_loss,
        "user_gain": verdict.user_gain,
        "confidence": verdict.confidence,
        "wanted": verdict.wanted,
        "seconds": round(seconds, 3),
    }
    rows = [
        ("learnt from", f"{result['samples']:,} samples of {result['classes']} classes"),
        ("profile", f"{out}, {result['bytes']:,} bytes"),
        ("acceptance test", describe(verdict)),
        ("time", f"{seconds:.2f} s"),
    ]
    if adopted:
        rows.append(("global expert", f"{kept_beside(out)}, to be kept with the profile"))
    if rest is not None:
        rows.append(("untouched samples", f"{rest}, {len(left):,} samples"))
    emit(result, as_json, lambda console: console.print(facts(f"Personalized {expert.name}", rows)))


def describe(verdict: Verdict) -> str:
    """Say in words what the acceptance test found, on samples that no part was trained on."""
    if verdict.accepted:
        gain = "too few samples to tell" if verdict.user_gain is None else f"{100 * verdict.user_gain:+.1f} points"
        shown = f"{verdict.confidence:.0%} sure of the budget"
        more = f"; no gain is seen yet, about {verdict.wanted} more samples would show it" if verdict.wanted else ""
        return f"accepted: user {gain}, generic {-100 * verdict.generic_loss:+.1f} points, held out, {shown}{more}"
    if verdict.user_gain is not None and verdict.user_gain <= 0:
        reason = "the user would lose"
    elif verdict.confidence:
        reason = "the labels do not fit the images"
    else:
        reason = "other people would lose"
    return f"declined: {reason}; the global expert answers alone"


def _write_images(path: Path, samples: UserSamples) -> None:
    arrays = {"image": samples.images, "label": samples.labels}
    if samples.writers is not None:
        arrays["writer"] = samples.writers
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())
