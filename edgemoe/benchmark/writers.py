"""Personalize for every writer of a set, several times, and measure on what was not learnt from.

python -m edgemoe.benchmark.writers --writers unipen/writers.npz --generic emnist.zip:byclass-part:test --out DIR/w.json
"""

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from edgemoe.classes import merge_labels
from edgemoe.data import draw_shots, load_samples
from edgemoe.device.global_expert import GlobalExpert, load_global_expert
from edgemoe.device.personalizer import SIZES, Personalizer
from edgemoe.errors import EdgemoeError
from edgemoe.files import write_atomic

__all__ = ["main", "measure_writers"]

RESAMPLES = 2000  # of the bootstrap over writers (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13)


def measure_writers(
    ge: GlobalExpert, writers: str, generic: str, shots: int, draws: int, progress: Console
) -> dict[str, Any]:
    """Measure every writer, in every profile size, by per-sample routing.

    Returns
    -------
    dict
        For each size the means over the writers (each the mean of its draws) of the user's accuracy before and after,
        the share of the global expert's errors removed, the generic accuracy and what was lost of it, with 95 %
        bootstrap intervals over the writers; the worst writer's change; the share of declined fits; the rows.
    """
    images, names, owners = load_samples(writers)
    if owners is None:
        raise EdgemoeError(f"{writers}: names no writers")
    labels = merge_labels(names, ge.classes, writers)
    others, other_names, _ = load_samples(generic)
    truth = merge_labels(other_names, ge.classes, generic)
    taps = ge.taps(others)
    before = float((ge.label(taps.logits) == truth).mean())
    sizes: dict[str, Any] = {}
    for size in SIZES:
        rows = []
        for index, owner in enumerate(track(np.unique(owners), f"{size} profiles", console=progress)):
            own = np.flatnonzero(owners == owner)
            for draw in range(draws):
                chosen, rest = draw_shots(labels[own], shots, seed=1000 * index + draw)
                started = time.perf_counter()
                moe = Personalizer(ge, size, seed=draw).fit(images[own[chosen]], labels[own[chosen]])
                seconds = time.perf_counter() - started
                answers = moe.explain(images[own[rest]])
                right = labels[own[rest]]
                rows.append(
                    {
                        "writer": str(owner),
                        "draw": draw,
                        "learnt": len(chosen),
                        "user_global": float((answers.global_labels == right).mean()),
                        "user_local": float((answers.local_labels == right).mean()),
                        "user": float((answers.labels == right).mean()),
                        "generic": float((moe.explain_taps(taps).labels == truth).mean()),
                        "accepted": moe.profile.verdict.accepted,
                        "threshold": moe.profile.verdict.threshold,
                        "bytes": len(moe.profile.to_bytes()),
                        "seconds": round(seconds, 4),
                    }
                )
        sizes[size] = {**_summary(rows, before), "per_writer": _per_writer(rows)}
    return {"writers": len(np.unique(owners)), "draws": draws, "shots": shots, "sizes": sizes}


def _per_writer(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = ("learnt", "user_global", "user_local", "user", "generic", "accepted")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["writer"], []).append(row)
    return [
        {"writer": writer, **{key: round(float(np.mean([row[key] for row in group])), 5) for key in keys}}
        for writer, group in groups.items()
    ]


def _summary(rows: list[dict[str, Any]], generic_global: float) -> dict[str, Any]:
    people = _per_writer(rows)
    table = {
        key: np.array([person[key] for person in people]) for key in ("user_global", "user_local", "user", "generic")
    }

    def figures(chosen: npt.NDArray[np.int64]) -> dict[str, float]:
        means = {key: float(column[chosen].mean()) for key, column in table.items()}
        removed = (means["user"] - means["user_global"]) / (1 - means["user_global"])
        return {**means, "removed": removed, "lost": generic_global - means["generic"]}

    rng = np.random.default_rng(0)
    resampled = [figures(rng.integers(0, len(people), len(people))) for _ in range(RESAMPLES)]
    found = figures(np.arange(len(people)))
    low_high = {key: np.percentile([draw[key] for draw in resampled], [2.5, 97.5]) for key in found}
    return {
        **{key: round(value, 5) for key, value in found.items()},
        "generic_global": round(generic_global, 5),
        "ci95": {key: [round(float(end), 5) for end in pair] for key, pair in low_high.items()},
        "worst_change": round(min(row["user"] - row["user_global"] for row in rows), 5),
        "declined": round(float(np.mean([not row["accepted"] for row in rows])), 5),
        "bytes": int(np.mean([row["bytes"] for row in rows])),
        "median_seconds": float(np.median([row["seconds"] for row in rows])),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Personalize for every writer of a set and measure.")
    parser.add_argument("--writers", required=True, help="samples with writer ids")
    parser.add_argument("--generic", required=True, help="samples of people in general")
    parser.add_argument("--out", required=True, help="the JSON file to write")
    parser.add_argument("--ge", default="lenet5-balanced", help="a shipped name or a bundle")
    parser.add_argument("--shots", type=int, default=5, help="samples of each character to learn from")
    parser.add_argument("--draws", type=int, default=5, help="times that the samples are drawn anew")
    options = parser.parse_args()
    try:
        found = measure_writers(
            load_global_expert(options.ge), options.writers, options.generic, options.shots, options.draws,
            Console(stderr=True),
        )  # fmt: skip
        command = (
            f"python -m edgemoe.benchmark.writers --writers {options.writers} --generic {options.generic} "
            f"--ge {options.ge} --shots {options.shots} --draws {options.draws} --out {options.out}"
        )
        data = f"users: {options.writers}; generic: {options.generic}"
        write_atomic(options.out, (json.dumps({"data": data, "command": command, **found}, indent=1) + "\n").encode())
    except EdgemoeError as error:
        sys.exit(f"edgemoe: {error}")


if __name__ == "__main__":
    main()
