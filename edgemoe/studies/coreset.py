"""Which generic samples should the retention set keep for the gate to be set against?

The product's gate learns what is generic from statistics of 60,000 samples that ship with the expert; the samples of
the retention set's first part set no more than the slope and the shift of its log-odds, and the others judge
acceptance. When the study was made, the gate was a logistic regression and learnt from these samples alone (it is now
`edgemoe.benchmark.experiments.logistic_gate`): the record is of that gate, and the page says so. Run today, the study
asks how much the choice matters to the calibration.

Every way of `selection.WAYS` chooses the first part of the shipped expert's retention set from the same pool; the
product's own trainer then personalizes for the same users against each. The held-out part, which judges acceptance, is
the same random sample each time: what the acceptance test shows of a chosen one would not hold for people in general.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from edgemoe.benchmark.experiments.figures import area_under_curve, interval
from edgemoe.classes import merge_labels
from edgemoe.data import draw_shots
from edgemoe.device.folded import fold
from edgemoe.device.global_expert import GlobalExpert, load_global_expert
from edgemoe.device.personalizer import Personalizer
from edgemoe.device.retention import RetentionSet, Taps
from edgemoe.global_expert.build import Samples
from edgemoe.global_expert.retain import record_retention, tap_grids
from edgemoe.studies.inputs import Inputs
from edgemoe.studies.pictures import save
from edgemoe.studies.selection import WAYS, Pool, select

__all__ = ["Chosen", "User", "draw", "measure", "run", "section", "with_retention"]

SIZES = (250, 500, 1000)  # rows that the gate is set against
HELD_OUT = 3000  # rows that judge acceptance
GATE = "discriminant"  # that the record is of; one without this field is of the logistic gate
PEOPLE, SHOTS = 24, 5
LEAST = 150  # samples of a writer, so that there are enough to test on
RANDOM = "random"
DRAWS = 3  # of it, to see what chance does


@dataclass(frozen=True)
class Chosen(RetentionSet):
    """A retention set whose first `chosen` rows the gate is set against."""

    chosen: int = 0

    @property
    def training(self) -> slice:
        """The rows that the gate's log-odds are measured against."""
        return slice(0, self.chosen)

    @property
    def held_out(self) -> slice:
        """The rows that the mixture is tried on."""
        return slice(self.chosen, len(self))


@dataclass(frozen=True)
class User:
    """A writer's samples to learn from, and the others as the global expert sees them.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, 28, 28)
    labels : ndarray of str, shape (n,)
    taps : Taps
        Of m other samples.
    truth : ndarray of str, shape (m,)
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.str_]
    taps: Taps
    truth: npt.NDArray[np.str_]


def run(inputs: Inputs, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Measure every way at every size."""
    ge = load_global_expert()
    source, generic, users = inputs.validation(), inputs.test(), _users(inputs, ge)
    order = np.random.default_rng(0).permutation(len(source.labels))
    held, rest = order[:HELD_OUT], order[HELD_OUT:]
    taps = ge.taps(source.images[rest])
    pool = Pool(ge.standardizer.gate_inputs(taps), source.labels[rest], _losses(taps.logits, source.labels[rest]))
    people = ge.taps(generic.images), np.array(list(ge.classes))[generic.labels]
    settings = [(way, size, seed) for size in SIZES for way in WAYS for seed in range(DRAWS if way == RANDOM else 1)]
    found: dict[tuple[str, int], list[dict[str, npt.NDArray[np.float64]]]] = {}
    for index, (way, size, seed) in enumerate(settings):
        rows = rest[select(pool, way, size, seed)]
        expert = with_retention(ge, source, rows, held)
        each = []
        for number, user in enumerate(users):
            each.append(measure(expert, user, people))
            progress(index * len(users) + number + 1, len(settings) * len(users))
        found.setdefault((way, size), []).append({key: np.array([row[key] for row in each]) for key in each[0]})
    return {
        "expert": f"{ge.name} {ge.fingerprint.hex()[:8]}",
        "gate": GATE,
        "users": len(users),
        "shots": SHOTS,
        "pool": len(rest),
        "held_out": HELD_OUT,
        "generic": len(generic.labels),
        "draws": DRAWS,
        "rows": [
            {"way": way, "size": size, **summary(draws, found[RANDOM, size])} for (way, size), draws in found.items()
        ],
    }


def with_retention(
    ge: GlobalExpert, samples: Samples, chosen: npt.NDArray[np.int64], held: npt.NDArray[np.int64]
) -> GlobalExpert:
    """Return the same expert with another retention set: rows to set the gate against, and rows to hold it to.

    Raises
    ------
    EdgemoeError
        If the expert's int8 graph does not say how its taps are quantized.
    """
    rows = np.concatenate([chosen, held])
    kept = record_retention(ge.taps(samples.images[rows]), samples.labels[rows], tap_grids(ge.bundle.int8))
    retention = Chosen(kept.codes, kept.scales, kept.zeros, kept.labels, len(chosen))
    return GlobalExpert(replace(ge.bundle, retention=retention))


def measure(ge: GlobalExpert, user: User, people: tuple[Taps, npt.NDArray[np.str_]]) -> dict[str, float]:
    """Personalize for a user, and try the mixture on the user's other samples and on people in general.

    Returns
    -------
    dict
        ``auc``, of the gate's log-odds between the two; ``errors`` of the global expert on the user's, and accuracy
        ``gained`` there; ``lost`` on the generic ones; ``accepted``, 0 or 1.
    """
    moe = Personalizer(ge, "compact").fit(user.images, user.labels)
    mine, theirs = moe.explain_taps(user.taps), moe.explain_taps(people[0])
    parts = fold(moe.profile, ge.standardizer)
    before = mine.global_labels == user.truth
    return {
        "auc": area_under_curve(parts.log_odds(user.taps), parts.log_odds(people[0])),
        "errors": float(1 - before.mean()),
        "gained": float((mine.labels == user.truth).mean() - before.mean()),
        "lost": float((theirs.global_labels == people[1]).mean() - (theirs.labels == people[1]).mean()),
        "accepted": float(moe.profile.verdict.accepted),
    }


def summary(
    draws: list[dict[str, npt.NDArray[np.float64]]], random: list[dict[str, npt.NDArray[np.float64]]]
) -> dict[str, Any]:
    """Return means over users and draws, and what is removed more than after a random choice, with its 95 % interval.

    Parameters
    ----------
    draws, random : list of dict
        For each draw one value a user, under `measure`'s keys.
    """
    errors = draws[0]["errors"]
    gained, of_random = (np.mean([one["gained"] for one in many], axis=0) for many in (draws, random))
    low, high = interval(gained - of_random, errors)
    removed = [float(one["gained"].sum() / errors.sum()) for one in draws]
    lost = np.concatenate([one["lost"] for one in draws])
    values: dict[str, float] = {
        "auc": float(np.mean([one["auc"] for one in draws])),
        "removed": float(np.mean(removed)),
        "removed_least": min(removed),
        "removed_most": max(removed),
        "more": float((gained - of_random).sum() / errors.sum()),
        "more_low": low,
        "more_high": high,
        "lost": float(lost.mean()),
        "lost_most": float(lost.max()),
        "accepted": float(np.mean([one["accepted"] for one in draws])),
    }
    return {key: round(value, 5) for key, value in values.items()}


def _users(inputs: Inputs, ge: GlobalExpert) -> list[User]:
    images, names, owners = inputs.writers("writers_small")
    labels = merge_labels(names, ge.classes)
    people, counts = np.unique(owners, return_counts=True)
    users = []
    for index, owner in enumerate(np.random.default_rng(0).permutation(people[counts >= LEAST])[:PEOPLE]):
        own = np.flatnonzero(owners == owner)
        chosen, rest = draw_shots(labels[own], SHOTS, seed=index)
        users.append(User(images[own[chosen]], labels[own[chosen]], ge.taps(images[own[rest]]), labels[own[rest]]))
    return users


def _losses(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return each sample's cross-entropy."""
    top = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    losses: npt.NDArray[np.float32] = total - logits[np.arange(len(labels)), labels]
    return losses


def draw(record: dict[str, Any], path: Any) -> None:
    """Draw the gate's AUC and the errors removed against the rows that it is set against, a line a way."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    panels = (("auc", "AUC of the gate: the user's characters, others'", 1), ("removed", "user errors removed, %", 100))
    for axes, (key, title, unit) in zip(figure.subplots(1, 2), panels, strict=True):
        for number, way in enumerate(WAYS):
            rows = [row for row in record["rows"] if row["way"] == way]
            sizes = [row["size"] for row in rows]
            plain = way == RANDOM
            axes.plot(
                sizes, [unit * row[key] for row in rows], marker="osD^vX"[number % 6], label=way, markersize=5,
                color="black" if plain else f"C{number}", linewidth=2 if plain else 1.2,
            )  # fmt: skip
            if plain and key == "removed":
                ends = ([unit * row[f"removed_{end}"] for row in rows] for end in ("least", "most"))
                axes.fill_between(sizes, *ends, color="black", alpha=0.12, linewidth=0)
        axes.set_xscale("log", base=2)
        axes.set_xticks(SIZES, [str(size) for size in SIZES])
        axes.set_xlabel("generic samples chosen")
        axes.set_title(title, fontsize=10)
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(WAYS), frameon=False)
    save(figure, path)


def section(record: dict[str, Any]) -> str:
    """Return what was found."""
    rows = {(row["way"], row["size"]): row for row in record["rows"]}
    ways = list(dict.fromkeys(row["way"] for row in record["rows"]))
    sizes = sorted({row["size"] for row in record["rows"]})
    today = record.get("gate") == GATE
    what = "the gate's log-odds were set against samples" if today else "the gate learned to tell them from samples"
    lines = [
        f"Which generic samples should a gate {'be set against' if today else 'learn from'}? {record['users']} writers "
        f"of `writers_small.npz` gave {record['shots']} samples of each character; {what} chosen in {len(ways)} ways "
        f"out of {record['pool']:,} of `bymerge-part`'s test images, and was tried on the writers' other samples and "
        f"on {record['generic']:,} of `byclass-part`'s. The {record['held_out']:,} that judge "
        "acceptance were one random sample for all: a chosen one is unlike people in general, and what the acceptance "
        "test shows on it would be no promise. The ways: at random; as many of each class; herding, which keeps the "
        "mean (arXiv 1611.07725); k-centre, which leaves nothing far off (arXiv 1708.00489); the hardest to the "
        "expert, a choice by loss as SWaST makes it (arXiv 2511.09901). Each cell: AUC of the gate, user errors "
        f"removed, generic accuracy lost in points; for random the mean of {record['draws']} draws.",
        "",
        "| way | " + " | ".join(f"{size:,} samples" for size in sizes) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    for way in ways:
        cells = [
            f"{rows[way, size]['auc']:.3f}, {rows[way, size]['removed']:.1%}, {100 * rows[way, size]['lost']:.2f}"
            for size in sizes
        ]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    top, few = rows[RANDOM, sizes[-1]], rows[RANDOM, sizes[0]]
    others = [rows[way, sizes[-1]] for way in ways if way != RANDOM]
    # Clear is what differs over the writers, and by more than chance in the choice explains.
    better = [row for row in others if row["more_low"] > 0 and row["removed"] > top["removed_most"]]
    worse = [row for row in others if row["more_high"] < 0 and row["removed"] < top["removed_least"]]
    sharpest, best = (
        max((rows[way, sizes[-1]] for way in ways), key=lambda row: row[key]) for key in ("auc", "removed")
    )
    text = []
    if not today:
        text.append(
            f"**This is of a gate and an expert of before** ({record['expert']}): a logistic regression that learnt "
            "from these samples alone. Today's gate is a linear discriminant that learns what is generic from the mean "
            "and the inverse covariance of 60,000 samples, which ship with the expert; samples of the retention set "
            "only calibrate it and judge acceptance. Which of them it is calibrated against was not measured.\n"
        )
    text.append(
        f"At {sizes[-1]:,} samples clearly better than a random choice: {_listed(better)}; clearly worse: "
        f"{_listed(worse)} (points of the errors more or less, with 95 % intervals over the writers, paired; the "
        f"random draws lie {100 * (top['removed_most'] - top['removed_least']):.1f} points apart). A random choice of "
        f"{sizes[-1]:,} instead of {sizes[0]:,} removes {100 * (top['removed'] - few['removed']):.1f} points more: so "
        "much is the number worth."
    )
    if sharpest["way"] != best["way"]:
        text.append(
            f"The AUC alone does not tell: {sharpest['way']} has the highest, and {best['way']} removes the most. It "
            "weighs all thresholds alike, and a gate works at one, where few generic inputs open it."
        )
    return "\n".join([*lines, "", *text])


def _listed(rows: list[dict[str, Any]]) -> str:
    return ", ".join(_more(row) for row in rows) or "none"


def _more(row: dict[str, Any]) -> str:
    low, high = 100 * row["more_low"], 100 * row["more_high"]
    return f"{row['way']} ({100 * row['more']:+.1f}, {low:+.1f} to {high:+.1f})"
