"""What training costs: the formulas against the products that the trainer does."""

from dataclasses import replace

import numpy as np
import pytest

from edgemoe.accounting.cost import PartCost
from edgemoe.accounting.training_cost import PASSES, Shape, as_part, last_layer_cost, training_cost
from edgemoe.device.gate import fit_gate
from edgemoe.device.local_expert import ROUNDING_STEPS, Lesson, fit_local_expert

WHOLE = PartCost(macs_by_bits={8: 5000}, weight_bytes_read=100, bytes_read=20, bytes_written=10)
SHAPE = Shape(samples=40, classes=7, inputs=13, features=30, retained=800, kept=0.15, profile_bytes=400)
RNG = np.random.default_rng(0)


class Counted(np.ndarray):
    """An array that counts the MACs of every matrix product that it is in."""

    macs = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [np.asarray(x) if isinstance(x, np.ndarray) else x for x in inputs]
        if out is not None:
            options["out"] = tuple(np.asarray(x) for x in out)
        result = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul:
            Counted.macs += int(np.prod(np.shape(result), dtype=int)) * np.shape(plain[0])[-1]
        return result.view(Counted) if isinstance(result, np.ndarray) else result


def counted(shape: tuple[int, ...]) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32).view(Counted)


def macs_of(steps, name: str) -> int:
    return next(step.macs for step in steps if step.name == name)


def test_training_the_local_expert_has_the_products_that_are_counted() -> None:
    n, classes, inputs = SHAPE.samples, SHAPE.classes, SHAPE.inputs
    lesson = Lesson(
        counted((n, inputs)),
        counted((n, classes)),
        RNG.integers(0, classes, n),
        np.ones(n, np.float32),
        np.ones((classes, 1), np.float32),
    )
    Counted.macs = 0
    fit_local_expert(lesson)
    lengths = n  # the inputs' mean squared length, once
    assert Counted.macs - lengths == macs_of(training_cost(WHOLE, SHAPE), "local expert")


def test_the_gate_has_the_products_that_are_counted_and_the_device_halves_those_of_a_symmetric_matrix() -> None:
    user, generic, precision = counted((40, 30)), counted((100, 30)), counted((30, 30))
    Counted.macs = 0
    fit_gate(user, generic, precision)
    steps = training_cost(WHOLE, SHAPE)  # an eighth of 800 retained samples
    newton = Counted.macs - macs_of(steps, "gate, its direction") - 2 * macs_of(steps, "gate, each sample's share")
    assert 0 <= newton <= 30 * 12 * 140  # two parameters: rounds, products in a round, scores


def test_copies_multiply_what_the_local_expert_takes_and_leave_the_gate() -> None:
    plain, copied = training_cost(WHOLE, SHAPE), training_cost(WHOLE, replace(SHAPE, copies=3))
    for name in (PASSES, "local expert", "cross-validation, local experts"):
        assert macs_of(copied, name) == 4 * macs_of(plain, name)
    for name in ("gate, each sample's share", "gate, its direction", "acceptance test", "cross-validation, answers"):
        assert macs_of(copied, name) == macs_of(plain, name)


def test_every_pass_of_the_global_expert_is_a_whole_inference() -> None:
    step = training_cost(WHOLE, SHAPE)[0]
    assert (step.macs, step.bits, step.bytes) == (40 * 5000, 8, 40 * 130)


def test_with_too_few_samples_there_is_no_cross_validation() -> None:
    few = training_cost(WHOLE, replace(SHAPE, samples=19))
    assert not any("cross-validation" in step.name for step in few)
    assert sum("cross-validation" in s.name for s in training_cost(WHOLE, replace(SHAPE, samples=20))) == 3


def test_steps_add_up_by_width() -> None:
    steps = training_cost(WHOLE, SHAPE)
    whole = as_part(steps)
    assert whole.macs == sum(step.macs for step in steps)
    assert whole.macs_by_bits[8] == sum(step.macs for step in steps if step.bits == 8)
    assert whole.bytes_read == sum(step.bytes for step in steps)


def test_the_last_layer_is_the_local_experts_training_of_another_width() -> None:
    steps = last_layer_cost(WHOLE, SHAPE, SHAPE.inputs)
    assert [step.macs for step in steps] == [
        macs_of(training_cost(WHOLE, SHAPE), name) for name in (PASSES, "local expert")
    ]


def test_flash_takes_every_sample_and_a_slot_with_the_profile() -> None:
    assert SHAPE.flash_bytes == 40 * (1 + 30 + 7) + 416  # 16 of header and 400, a multiple of 32


@pytest.mark.parametrize("kept", [0.15, 1.0])
def test_weights_rounded_to_nothing_are_not_multiplied_by(kept: float) -> None:
    step = macs_of(training_cost(WHOLE, replace(SHAPE, kept=kept)), "rounding it")
    assert step == pytest.approx(ROUNDING_STEPS * 40 * 7 * 13 * (1 + kept))
