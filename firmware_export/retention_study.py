"""How much of the retention set does a microcontroller need? ``python3 -m firmware_export.retention_study --help``.

Each form of it, fewer samples or fewer bits, personalizes for the same writers as the firmware does: the integers'
trainer without distorted copies. What it costs is flash; what it may change is the gate's calibration, the threshold
that the acceptance test finds, and so the user's accuracy, the generic loss, and who is accepted at all.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.classes import merge_labels
from edgemoe.data import draw_shots, load_samples
from edgemoe.device.global_expert import GlobalExpert, load_global_expert
from edgemoe.device.learning import CONFIDENCE
from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.device.retention import RetentionSet, Taps
from edgemoe.device.support import Own
from edgemoe.device.training import SIZES, train
from edgemoe.files import write_atomic

__all__ = ["FORMS", "Form", "measure", "reduced"]

SHOTS, BUDGET = 5, 0.002
GENERIC = 4000  # samples that the loss is measured on


@dataclass(frozen=True)
class Form:
    """A form of the retention set: how many samples, and bits of a feature's and a logit's code."""

    samples: int
    feature_bits: int = 4
    logit_bits: int = 8

    def nbytes(self, features: int, classes: int) -> int:
        """Return the flash that it takes, each sample's codes in whole bytes, and a byte for the label."""
        return self.samples * (-(-features * self.feature_bits // 8) - (-classes * self.logit_bits // 8) + 1)


FORMS = (
    *(Form(count) for count in (500, 1000, 1500, 2000, 2500)),
    *(Form(1500, bits) for bits in (3, 2)),
    Form(1500, 4, 4),
)


def reduced(retention: RetentionSet, form: Form) -> RetentionSet:
    """Return a retention set of 4-bit features and 8-bit logits as a form of it keeps it.

    The first samples, which are drawn at random as all are. With fewer bits codes are rounded to as many levels, and 0
    of a feature stays 0.
    """
    features, logits = (retention.codes[tap][: form.samples] for tap in ("features", "logits"))
    width = 15 / (2**form.feature_bits - 1)
    step = 2 ** (8 - form.logit_bits)
    codes = {
        "features": np.rint(np.rint(features / width) * width).astype(np.uint8),
        "logits": (logits // step * step + step // 2).astype(np.uint8),
    }
    return RetentionSet(codes, retention.scales, retention.zeros, retention.labels[: form.samples])


def measure(
    ge: GlobalExpert,
    form: Form,
    users: list[tuple[Own, Taps, npt.NDArray[np.int64]]],
    generic: tuple[Taps, npt.NDArray[np.int64]],
) -> dict[str, Any]:
    """Personalize for each user against one form, and return the means.

    Parameters
    ----------
    ge : GlobalExpert
    form : Form
    users : list
        Of each what he gives, and taps ``(n, ...)`` and class indices ``(n,)`` to test on.
    generic : tuple
        Taps and class indices of other people's samples.
    """
    small = GlobalExpert(replace(ge.bundle, retention=reduced(ge.retention, form)))
    rows = []
    for own, taps, truth in users:
        profile, _ = train(small, own, SIZES["compact"], BUDGET, CONFIDENCE, 0, "")
        mixture = MixtureOfExperts(small, profile)
        answers = [mixture.explain_taps(of).probabilities.argmax(axis=1) for of in (taps, generic[0])]
        alone = [of.logits.argmax(axis=1) for of in (taps, generic[0])]
        before = (alone[0] == truth).mean(), (alone[1] == generic[1]).mean()
        after = (answers[0] == truth).mean(), (answers[1] == generic[1]).mean()
        rows.append((before[0], after[0], before[1] - after[1], profile.verdict.accepted, profile.verdict.threshold))
    means = map(float, np.mean(rows, axis=0))
    names = ("user_global", "user_mixture", "generic_loss", "accepted", "threshold")
    size = form.nbytes(len(ge.standardizer.feature_mean), len(ge.classes))
    return {**asdict(form), "bytes": size, **dict(zip(names, means, strict=True))}


def main() -> None:
    """Measure every form, print a table, and write the record."""
    parser = argparse.ArgumentParser(prog="python3 -m firmware_export.retention_study", description=__doc__)
    parser.add_argument("writers", help="samples of many writers")
    parser.add_argument("generic", help="samples of other people")
    parser.add_argument("--out", type=Path, required=True, help="the record, as JSON")
    parser.add_argument("--people", type=int, default=20, help="writers, those with most samples")
    arguments = parser.parse_args()
    ge = load_global_expert()
    images, labels, owners = load_samples(arguments.writers)
    if owners is None:
        parser.error(f"{arguments.writers}: its samples do not tell who wrote them")
    labels = merge_labels(labels, ge.classes)
    ids, counts = np.unique(owners, return_counts=True)
    users = []
    for owner in ids[np.argsort(-counts, kind="stable")][: arguments.people]:
        rows = np.flatnonzero(owners == owner)
        chosen, rest = (rows[part] for part in draw_shots(labels[rows], SHOTS, seed=0))
        given = ge.taps(images[chosen])
        users.append(
            (Own(given, given[:0], indices(ge, labels[chosen]), 0), ge.taps(images[rest]), indices(ge, labels[rest]))
        )
    other, names, _ = load_samples(arguments.generic)
    names = merge_labels(names[:GENERIC], ge.classes)
    generic = ge.taps(other[:GENERIC]), indices(ge, names)
    forms = []
    for form in FORMS:
        found = measure(ge, form, users, generic)
        forms.append(found)
        print(
            f"{form.samples:5d} samples, features {form.feature_bits} bits, logits {form.logit_bits} bits: "
            f"{found['bytes'] / 1024:6.1f} KB, user {found['user_mixture']:.2%} (alone {found['user_global']:.2%}), "
            f"generic loss {found['generic_loss']:.2%}, accepted {found['accepted']:.0%}, "
            f"threshold {found['threshold']:.2f}",
            flush=True,
        )
    record = {
        "expert": ge.fingerprint.hex(),
        "writers": len(users),
        "shots": SHOTS,
        "generic": len(names),
        "forms": forms,
    }
    write_atomic(arguments.out, (json.dumps(record, indent=1) + "\n").encode())


def indices(ge: GlobalExpert, labels: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """Return the class indices of labels ``(n,)``."""
    return np.array([ge.classes.index(label) for label in labels], np.int64)


if __name__ == "__main__":
    main()
