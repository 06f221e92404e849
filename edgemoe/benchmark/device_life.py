"""Life on a device, measured: corrections one by one, taking back, symbols, rejection, users of noise.

python -m edgemoe.benchmark.device_life --writers unipen/writers_small.npz --generic emnist.zip:bymerge-part:test \
    --out docs/figures/device_life.json
"""

import argparse
import json
import sys
import time
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.classes import merge_labels
from edgemoe.data import load_samples
from edgemoe.device.bundle import Bundle
from edgemoe.device.global_expert import GlobalExpert, load_global_expert
from edgemoe.device.personalizer import Personalizer
from edgemoe.device.rejection import coverage_curve
from edgemoe.device.retention import Taps
from edgemoe.errors import EdgemoeError
from edgemoe.files import write_atomic
from edgemoe.simulator import SYMBOLS, generic_samples, simulated_samples

__all__ = ["main", "measure"]

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.str_]
User = tuple[Images, Labels, Images, Labels]  # to learn from, in random order, and to test on

COUNTS = (5, 10, 20, 50, 100, 235)
PEOPLE = 12  # real writers, of those with the most samples; and simulated ones for the symbols
THRESHOLDS = np.round(np.arange(0, 1, 0.05), 2)


def measure(ge: GlobalExpert, writers: str, generic: str) -> dict[str, Any]:
    """Measure all of it; see the keys of what comes back."""
    users = real_users(ge, writers)
    others, names, _ = load_samples(generic)
    chosen = np.random.default_rng(0).permutation(len(others))[:4000]
    others, truth = others[chosen], merge_labels(names[chosen], ge.classes, generic)
    return {
        "learn": {
            "empty": learning_curve(ge, users, 0),
            "two_shots": learning_curve(ge, users, 2),
            "cost": learning_cost(ge, users[0]),
        },
        "exact": exactness(ge, users[0]),
        "symbols_simulated": simulated_symbols(ge, others, truth),
        "symbols_masked": masked_symbols(ge, users, others, truth),
        "reject": reject_curves(ge, users, others, truth),
        "noise": noise_users(ge, users),
    }


def real_users(ge: GlobalExpert, path: str) -> list[User]:
    """Read the writers with the most samples, each split into two halves at random."""
    images, names, owners = load_samples(path)
    if owners is None:
        raise EdgemoeError(f"{path}: names no writers")
    labels = merge_labels(names, ge.classes, path)
    found, counts = np.unique(owners, return_counts=True)
    users = []
    for index, owner in enumerate(found[np.argsort(-counts, kind="stable")][:PEOPLE]):
        own = np.random.default_rng(index).permutation(np.flatnonzero(owners == owner))
        cut = len(own) // 2
        users.append((images[own[:cut]], labels[own[:cut]], images[own[cut:]], labels[own[cut:]]))
    return users


def learning_curve(ge: GlobalExpert, users: list[User], shots: int) -> list[dict[str, Any]]:
    """Compare n corrections one at a time with one fit on the same samples, after `shots` of each class or nothing."""
    rows: dict[int, list[tuple[float, float]]] = {n: [] for n in COUNTS}
    for images, labels, test, truth in users:
        order = np.arange(len(labels))
        rank = np.array([np.sum(labels[:row] == labels[row]) for row in order])
        first, later = order[rank < shots], order[rank >= shots]
        moe = Personalizer(ge)
        if shots:
            moe.fit(images[first], labels[first])
        for n, row in enumerate(later[: COUNTS[-1]], start=1):
            moe.learn(images[row], str(labels[row]))
            if n in rows:
                known = np.concatenate([first, later[:n]])
                batch = Personalizer(ge).fit(images[known], labels[known])
                rows[n].append((moe.score(test, truth), batch.score(test, truth)))
    return [
        {"n": n, "writers": len(row), "learn": mean([a for a, _ in row]), "batch": mean([b for _, b in row])}
        for n, row in rows.items()
        if row
    ]


def learning_cost(ge: GlobalExpert, user: User) -> dict[str, float]:
    """Time each of 235 corrections from nothing, and inferences in between."""
    images, labels = user[:2]
    moe, learnt, read, mixed = Personalizer(ge), [], [], []
    for row in range(min(len(labels), COUNTS[-1])):
        image, label = images[row], str(labels[row])
        learnt.append(seconds(partial(moe.learn, image, label)))
        read.append(seconds(partial(ge.predict, image)))
        mixed.append(seconds(partial(moe.predict, image)))
    one, whole = float(np.median(read)), float(np.median(mixed))
    return {
        "corrections": len(learnt),
        "global_inference_ms": round(1e3 * one, 4),
        "mixture_inference_ms": round(1e3 * whole, 4),
        "median_in_global_inferences": round(float(np.median(learnt)) / one, 1),
        "mean_in_global_inferences": round(float(np.mean(learnt)) / one, 1),
        "median_in_mixture_inferences": round(float(np.median(learnt)) / whole, 1),
        "longest_ms": round(1e3 * max(learnt), 1),
    }


def exactness(ge: GlobalExpert, user: User) -> dict[str, bool]:
    """Take corrections back, and forget a sample; compare bytes."""
    images, labels = user[:2]
    moe = Personalizer(ge).fit(images[:40], labels[:40])
    states = []
    for row in range(40, 55):
        states.append(moe.profile.to_bytes())
        moe.learn(images[row], str(labels[row]))
    undone = all(moe.undo().profile.to_bytes() == state for state in reversed(states))
    kept = np.array([row for row in range(40) if images[row].tobytes() != images[3].tobytes()])
    moe.forget(images[3])
    without = Personalizer(ge).fit(images[kept], labels[kept])
    return {"undo": undone, "forget": moe.profile.to_bytes() == without.profile.to_bytes()}


def simulated_symbols(ge: GlobalExpert, others: Images, truth: Labels) -> dict[str, float]:
    """Teach simulated writers' symbols that no global expert ever saw, five of each, beside five of each class."""
    rows = []
    for seed in range(100, 100 + PEOPLE):
        plain, both = (simulated_samples(seed, 5, ge.classes + extra) for extra in ("", SYMBOLS))
        fresh, right = simulated_samples(seed, 5, ge.classes + SYMBOLS, sample_seed=1)
        rows.append(symbol_row(ge, plain, both, SYMBOLS, fresh, right, others, truth))
    return means(rows)


def masked_symbols(ge: GlobalExpert, users: list[User], others: Images, truth: Labels) -> dict[str, float]:
    """Drop four classes from the global expert's output and teach them as symbols.

    The features have still seen them in training: easier than symbols that are new.
    """
    rows = []
    for index, (images, labels, test, right) in enumerate(users):
        common = [c for c in ge.classes if (labels == c).sum() >= 4 and (right == c).sum() >= 4]
        if len(common) < 8:
            continue
        hidden = "".join(np.random.default_rng(index).choice(common, 4, replace=False))
        masked = without_classes(ge, hidden)
        ordinary = ~np.isin(labels, list(hidden))
        seen = ~np.isin(truth, list(hidden))
        rows.append(
            symbol_row(
                masked, (images[ordinary], labels[ordinary]), (images, labels), hidden, test, right,
                others[seen], truth[seen],
            )
        )  # fmt: skip
    return {"writers": len(rows), **means(rows)}


class _Masked(GlobalExpert):
    """A global expert some of whose classes are hidden."""

    kept: npt.NDArray[np.int64]

    def taps(self, images: npt.ArrayLike) -> Taps:
        taps = super().taps(images)
        return Taps(taps.logits[:, self.kept], taps.features)


def without_classes(ge: GlobalExpert, hidden: str) -> GlobalExpert:
    """Return the expert without some of its classes, and a retention set without their samples."""
    kept = np.array([index for index, c in enumerate(ge.classes) if c not in hidden])
    known, retention = np.isin(ge.retention.labels, kept), ge.retention
    codes = {"logits": retention.codes["logits"][known][:, kept], "features": retention.codes["features"][known]}
    labels = np.searchsorted(kept, retention.labels[known]).astype(np.uint8)
    metadata = {**ge.metadata, "classes": "".join(ge.classes[i] for i in kept)}
    bundle = ge.bundle
    left = type(retention)(codes, retention.scales, retention.zeros, labels)
    masked = _Masked(Bundle(metadata, bundle.float32, bundle.int8, left, bundle.statistics))
    masked.kept = kept
    return masked


def symbol_row(
    ge: GlobalExpert, plain: tuple[Images, Labels], both: tuple[Images, Labels], symbols: str, fresh: Images,
    right: Labels, others: Images, truth: Labels,
) -> dict[str, float]:  # fmt: skip
    """Compare a personalizer that was taught symbols with one that was not."""
    before = Personalizer(ge).fit(*plain)
    after = Personalizer(ge, symbols=symbols).fit(*both)
    new = np.isin(right, list(symbols))
    return {
        "symbols": float((after.predict(fresh[new]) == right[new]).mean()),
        "ordinary_without": float((before.predict(fresh[~new]) == right[~new]).mean()),
        "ordinary_with": float((after.predict(fresh[~new]) == right[~new]).mean()),
        "generic_global": float((ge.predict(others) == truth).mean()),
        "generic_without": float((before.predict(others) == truth).mean()),
        "generic_with": float((after.predict(others) == truth).mean()),
        "accepted": float(after.profile.verdict.accepted),
    }


def reject_curves(ge: GlobalExpert, users: list[User], others: Images, truth: Labels) -> dict[str, Any]:
    """Return coverage and accuracy over thresholds for users, other people, and what is no character."""
    rng = np.random.default_rng(0)
    symbols, _ = generic_samples(7, 60, SYMBOLS)
    noise = rng.integers(0, 256, (360, 28, 28), np.uint8)
    inputs = (others, symbols, noise)
    found: dict[str, list[Any]] = {name: [] for name in ("user", "generic", "symbols", "noise")}
    for images, labels, test, right in users:
        moe = Personalizer(ge).fit(images[:235], labels[:235])
        for name, shown, labelled in zip(found, (test, *inputs), (right, truth, None, None), strict=True):
            probabilities = moe.predict_proba(shown)
            answers = moe.classes_[probabilities.argmax(axis=1)]
            hits = np.zeros(len(shown), bool) if labelled is None else answers == labelled
            found[name].append(coverage_curve(probabilities.max(axis=1), hits, THRESHOLDS))
    return {
        "reject": THRESHOLDS.tolist(),
        **{
            name: {
                part: np.round(np.nanmean([curve[place] for curve in curves], axis=0), 4).tolist()
                for place, part in enumerate(("coverage", "accuracy"))
            }
            for name, curves in found.items()
        },
    }


def noise_users(ge: GlobalExpert, users: list[User]) -> dict[str, dict[str, float]]:
    """Fit users of random pixels, and of real characters with shuffled labels: how often they are declined."""
    rows: dict[str, list[tuple[bool, float]]] = {"random_pixels": [], "shuffled_labels": []}
    for index, (images, labels, test, right) in enumerate(users):
        rng = np.random.default_rng(index)
        pixels = rng.integers(0, 256, (200, 28, 28), np.uint8)
        given = {
            "random_pixels": (pixels, rng.choice(list(ge.classes), 200)),
            "shuffled_labels": (images[:200], rng.permutation(labels[:200])),
        }
        for name, (shown, told) in given.items():
            moe = Personalizer(ge).fit(shown, told)
            change = moe.score(test, right) - float((ge.predict(test) == right).mean())
            rows[name].append((moe.profile.verdict.accepted, change))
    return {
        name: {
            "declined": mean([not accepted for accepted, _ in row]),
            "worst_change_of_the_user": round(min(change for _, change in row), 4),
        }
        for name, row in rows.items()
    }


def seconds(call: Any) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def mean(values: list[Any]) -> float:
    """Return a mean, for the record."""
    return round(float(np.mean(values)), 4)


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each column."""
    return {key: mean([row[key] for row in rows]) for key in rows[0]}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Measure life on a device.")
    parser.add_argument("--writers", required=True, help="samples with writer ids")
    parser.add_argument("--generic", required=True, help="samples of people in general")
    parser.add_argument("--out", required=True, help="the JSON file to write")
    parser.add_argument("--ge", default="lenet5-balanced", help="a shipped name or a bundle")
    options = parser.parse_args()
    command = (
        f"python -m edgemoe.benchmark.device_life --writers {options.writers} --generic {options.generic} "
        f"--ge {options.ge} --out {options.out}"
    )
    try:
        found = measure(load_global_expert(options.ge), options.writers, options.generic)
        write_atomic(options.out, (json.dumps({"command": command, **found}, indent=1) + "\n").encode())
    except EdgemoeError as error:
        sys.exit(f"edgemoe: {error}")


if __name__ == "__main__":
    main()
