"""What it costs to train a profile on the device, counted from the algorithm.

Of `edgemoe.device.training.train`, and of the C library's em_train, which does the same: one MAC is one multiplication
and one addition. Softmax, pooling, Newton's method on scores (two parameters), and choosing samples have none here, as
elsewhere in the accounting. Where how much is done depends on the samples, the most is counted:

- the acceptance test asks the local expert on every held-out sample, although only where the gate opens it need be;
- every sample is held out once by the cross-validation, although a class's only sample is not.

Widths: the global expert's passes have 8 bits; products with the inverse covariance, codes of 8 bits squared times
inputs of 16, count as 16; the updates are float32.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgemoe.accounting.cost import PartCost
from edgemoe.device.acceptance import ENOUGH
from edgemoe.device.local_expert import BATCH, EPOCHS, ROUNDING_STEPS
from edgemoe.device.training import FOLDS

__all__ = ["PASSES", "Shape", "Step", "as_part", "last_layer_cost", "shape_of", "training_cost", "training_record"]

PASSES = "passes of the global expert"
_POWER_ROUNDS = 20  # of edgemoe/device/eigenvalue.py
_FLASH_UNIT = 32  # a slot of a profile is a multiple of it, with a header of 16 bytes (EM_FLASH_UNIT of edgemoe.h)
_FLOAT = 4


@dataclass(frozen=True)
class Shape:
    """What training depends on.

    Parameters
    ----------
    samples, copies : int
        The user's characters, and distorted copies of each that the local expert learns too: none on a microcontroller.
    classes, inputs, features : int
        Rows of the local expert, its inputs with the bias's, and the gate's inputs.
    retained : int
        Samples of the retention set on the device; an eighth of them measure the gate's log-odds, the others are
        held out.
    kept : float
        Share of the local expert's weights that rounding leaves other than 0: only these are multiplied by when it
        looks for the best rounding.
    profile_bytes : int
    """

    samples: int
    classes: int
    inputs: int
    features: int
    retained: int
    copies: int = 0
    kept: float = 1.0
    profile_bytes: int = 0

    @property
    def lessons(self) -> int:
        """Samples with their copies."""
        return self.samples * (1 + self.copies)

    @property
    def flash_bytes(self) -> int:
        """Bytes written to flash: each sample's label, features and logits in bytes, and a slot with the profile."""
        slot = -(-(16 + self.profile_bytes) // _FLASH_UNIT) * _FLASH_UNIT
        return self.samples * (1 + self.features + self.classes) + slot


@dataclass(frozen=True)
class Step:
    """A part of the training: MACs, their width in bits, and bytes read and written for it."""

    name: str
    macs: int
    bits: int
    bytes: int = 0


def training_cost(whole: PartCost, shape: Shape) -> list[Step]:
    """Count the steps of training a profile anew on all samples.

    Parameters
    ----------
    whole : PartCost
        One inference of the global expert, of 8 bits.
    shape : Shape
    """
    weights, lessons = shape.classes * shape.inputs, shape.lessons
    tried, held_out = shape.retained // 8, shape.retained - shape.retained // 8
    square = shape.inputs * (shape.inputs + 1) // 2
    steps = [
        _passes(whole, lessons),
        _updates("local expert", EPOCHS * lessons, weights),
        Step("curvature of its loss", lessons * square + _POWER_ROUNDS * shape.inputs**2, 32, _FLOAT * square),
        Step(
            "rounding it",
            round(ROUNDING_STEPS * lessons * weights * (1 + shape.kept)),
            32,
            ROUNDING_STEPS * _traffic(lessons, weights),
        ),
        Step("gate, each sample's share", shape.samples * shape.features**2 // 2, 16, shape.features**2 // 2),
        Step("gate, its direction", shape.features**2 + shape.features * (shape.samples + tried), 32),
        Step("acceptance test", held_out * (shape.features + weights), 8, held_out * (shape.features + shape.classes)),
    ]
    if shape.samples >= ENOUGH:
        learnt = (FOLDS - 1) * lessons  # in all folds together, as each leaves a share out
        steps += [
            _updates("cross-validation, local experts", EPOCHS * learnt, weights),
            Step(
                "cross-validation, gates",
                FOLDS * (shape.features**2 + shape.features * tried) + (FOLDS - 1) * shape.samples * shape.features,
                32,
            ),
            Step("cross-validation, answers", shape.samples * (weights + shape.features), 32),
        ]
    return steps


def last_layer_cost(whole: PartCost, shape: Shape, inputs: int) -> list[Step]:
    """Count retraining the global expert's last dense layer, of so many inputs with the bias's, for as many epochs.

    Nothing is tried afterwards, and nothing tells the user from others: it costs less, and forgets (docs/studies.md).
    """
    return [_passes(whole, shape.lessons), _updates("last layer", EPOCHS * shape.lessons, shape.classes * inputs)]


def shape_of(ge: Any, profile: Any, samples: int, copies: int = 0, retained: int | None = None) -> Shape:
    """Return the shape of training a `Profile` of a `GlobalExpert` on so many samples."""
    codes = profile.local.weights.codes
    return Shape(
        samples=samples,
        classes=codes.shape[0],
        inputs=codes.shape[1],
        features=profile.gate.weights.codes.shape[1],
        retained=len(ge.retention) if retained is None else retained,
        copies=copies,
        kept=float((codes != 0).mean()) if profile.local.weights.bits == 2 else 1.0,
        profile_bytes=len(profile.to_bytes()),
    )


def as_part(steps: Sequence[Step]) -> PartCost:
    """Return steps as a part: their MACs by width and all their traffic."""
    return sum((PartCost(macs_by_bits={s.bits: s.macs}, bytes_read=s.bytes) for s in steps), PartCost())


def training_record(shape: Shape, steps: Sequence[Step], energy_nj: float, inference_nj: float) -> dict[str, Any]:
    """Return the record's "training"."""
    whole = as_part(steps)
    return {
        "samples": shape.samples,
        "copies": shape.copies,
        "retained": shape.retained,
        "steps": [asdict(step) for step in steps],
        "macs": whole.macs,
        "macs_by_bits": {str(bits): macs for bits, macs in whole.macs_by_bits.items()},
        "energy_nj": energy_nj,
        "inferences": energy_nj / inference_nj if inference_nj else None,
        "flash_bytes": shape.flash_bytes,
    }


def _passes(whole: PartCost, lessons: int) -> Step:
    traffic = whole.weight_bytes_read + whole.bytes_read + whole.bytes_written
    return Step(PASSES, lessons * whole.macs, 8, lessons * traffic)


def _updates(name: str, seen: int, weights: int) -> Step:
    """A pass forward and one back for each sample that is seen."""
    return Step(name, 2 * seen * weights, 32, _traffic(seen, weights))


def _traffic(seen: int, weights: int) -> int:
    """Bytes of weights: read twice and written once for each batch."""
    return 3 * _FLOAT * weights * -(-seen // BATCH)
