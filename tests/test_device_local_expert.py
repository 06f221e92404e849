"""The local expert's gradient against torch's, and its loss against a solver's."""

import numpy as np
import pytest

from edgemoe.device.distort import distorted
from edgemoe.device.local_expert import (
    DECAY,
    Lesson,
    LocalExpert,
    correction_gradient,
    fit_local_expert,
    given_classes,
    order_of,
    settle,
    with_bias,
)
from edgemoe.device.quantized import quantize
from edgemoe.device.support import Own
from edgemoe.device.training import teach

torch = pytest.importorskip("torch")


def problem(n=40, hidden=12, classes=7, taught=7, seed=0, dtype=np.float32):
    """Standardized inputs, logits that are often wrong, and targets of the first `taught` classes."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, taught, n)
    centres = rng.standard_normal((classes, hidden))
    inputs = centres[targets] + rng.standard_normal((n, hidden))
    return inputs.astype(dtype), (2 * rng.standard_normal((n, classes))).astype(dtype), targets


def lesson_of(inputs, logits, targets, importance=None):
    if importance is None:
        importance = np.random.default_rng(9).uniform(0.1, 2, len(targets))
    given = given_classes(logits.shape[1], targets)
    return Lesson(with_bias(inputs), logits, targets, importance.astype(logits.dtype), given)


def torch_loss(weights, lesson, decay):
    """The loss in double precision if the weights are."""
    inputs, logits, importance = (
        torch.from_numpy(array).to(weights.dtype) for array in (lesson.inputs, lesson.logits, lesson.importance)
    )
    scores = logits + inputs @ weights.T
    entropy = torch.nn.functional.cross_entropy(scores, torch.from_numpy(lesson.targets), reduction="none")
    return (importance * entropy).sum() + decay / 2 * (weights**2).sum()


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-6), (np.float32, 1e-4)])
@pytest.mark.parametrize("decay", [0.0, 0.25, 4.0])
def test_the_gradient_is_torchs(dtype, tolerance, decay):
    lesson = lesson_of(*problem(dtype=dtype))
    assert lesson.inputs.dtype == dtype
    start = np.random.default_rng(1).standard_normal((7, 13)).astype(dtype)
    weights = torch.tensor(start, requires_grad=True)
    torch_loss(weights, lesson, decay).backward()
    gradient = correction_gradient(start, lesson, decay)
    np.testing.assert_allclose(gradient, weights.grad.numpy(), rtol=tolerance, atol=tolerance)


def test_the_gradient_survives_logits_that_would_overflow_an_exponential():
    inputs, logits, targets = problem()
    gradient = correction_gradient(np.zeros((7, 13), np.float32), lesson_of(inputs, logits * 1000, targets), 1.0)
    assert np.isfinite(gradient).all()


def solved(lesson):
    """The weights of the lowest loss, by torch's L-BFGS run to convergence."""
    free = torch.from_numpy(lesson.given.astype(np.float64))
    weights = torch.zeros((lesson.logits.shape[1], lesson.inputs.shape[1]), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=300, tolerance_grad=1e-9, tolerance_change=0, history_size=50,
                               line_search_fn="strong_wolfe")  # fmt: skip

    def closure():
        solver.zero_grad()
        loss = torch_loss(weights * free, lesson, DECAY)
        loss.backward()
        return loss

    solver.step(closure)
    return (weights * free).detach().numpy()


def loss_of(values, lesson):
    with torch.inference_mode():
        return float(torch_loss(torch.from_numpy(values.astype(np.float64)), lesson, DECAY))


def missed(lesson):
    """The share of what a solver takes off the loss that training does not."""
    best, nothing = solved(lesson), np.zeros((lesson.logits.shape[1], lesson.inputs.shape[1]))
    lowest, highest = loss_of(best, lesson), loss_of(nothing, lesson)
    assert lowest < 0.9 * highest  # there was something to learn
    return (loss_of(fit_local_expert(lesson), lesson) - lowest) / (highest - lowest)


@pytest.mark.parametrize("taught", [7, 3, 1])
@pytest.mark.parametrize("n", [40, 5, 3])
def test_training_comes_close_to_a_solvers_loss(n, taught):
    assert 0 <= missed(lesson_of(*problem(n=n, taught=taught))) < 0.05


@pytest.mark.parametrize(("samples", "copies"), [(1, 0), (1, 16), (47, 0), (47, 4), (235, 0)])
def test_of_a_writers_characters_training_learns_nine_tenths_of_what_a_solver_does(ge, writer, samples, copies):
    images, labels = writer[0][:samples], writer[1][:samples]
    targets = np.array([ge.classes.index(label) for label in labels])
    own = Own(ge.taps(images), ge.taps(distorted(images, copies)), targets, 0)
    assert 0 <= missed(teach(ge, own, np.arange(len(targets)))) < 0.1


def test_like_samples_of_two_labels_leave_finite_weights_that_are_better_than_none():
    inputs, logits, _ = problem(n=1)
    inputs, logits = np.repeat(inputs, 40, axis=0), np.repeat(logits, 40, axis=0)
    for targets in (np.repeat([2, 5], 20), np.tile([2, 5], 20), np.full(40, 2)):
        lesson = lesson_of(inputs, logits, targets, np.ones(40))
        weights = fit_local_expert(lesson)
        assert np.abs(weights).max() < 5
        assert loss_of(weights, lesson) < loss_of(0 * weights, lesson)


def test_inputs_of_nothing_teach_the_bias_alone():
    _, logits, targets = problem()
    weights = fit_local_expert(lesson_of(np.zeros((40, 12), np.float32), logits, targets))
    assert not weights[:, :-1].any()
    assert weights[:, -1].any()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 100, 235, 1175, 5550])
def test_the_order_takes_each_sample_once_and_keeps_neighbours_apart(n):
    order = order_of(n)
    assert sorted(order.tolist()) == list(range(n))
    if n >= 100:  # any four that follow each other come from all over
        assert np.abs(np.diff(order)).min() > n / 4


def test_classes_without_a_sample_are_left_uncorrected():
    inputs, logits, targets = problem(taught=3)
    weights = fit_local_expert(lesson_of(inputs, logits, targets))
    assert weights.shape == (7, 13)
    assert not weights[3:].any()
    assert all(weights[c].any() for c in range(3))
    correction = LocalExpert(quantize(weights, 4)).correct(inputs)
    assert not correction[:, 3:].any()


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rounding_with_the_samples_loses_no_more_than_rounding_without_them(bits, seed):
    lesson = lesson_of(*problem(seed=seed))
    weights = fit_local_expert(lesson)
    plain, taught = quantize(weights, bits), quantize(settle(weights, lesson, bits), bits)
    assert taught.bits == bits
    assert np.abs(taught.codes).max() < 2 ** (bits - 1)
    lowest = loss_of(solved(lesson), lesson)
    losses = [loss_of(matrix.values(), lesson) for matrix in (taught, plain)]
    assert lowest - 1e-3 <= losses[0] <= losses[1] + 1e-3
    if bits == 2:  # where rounding hurts most
        assert losses[0] < losses[1]


def test_a_sample_of_no_importance_moves_nothing_but_the_others_order():
    inputs, logits, targets = problem()
    importance = np.ones(40)
    importance[30:] = 0
    lesson = lesson_of(inputs, logits, targets, importance)
    first = lesson_of(inputs[:30], logits[:30], targets[:30], importance[:30])
    assert np.array_equal(lesson.given, first.given)
    assert abs(missed(lesson) - missed(first)) < 0.02


def test_rounding_leaves_classes_without_a_sample_uncorrected():
    lesson = lesson_of(*problem(taught=3))
    assert not quantize(settle(fit_local_expert(lesson), lesson, 2), 2).codes[3:].any()


def test_the_correction_is_the_quantized_weights_times_input_and_one():
    inputs, logits, targets = problem()
    expert = LocalExpert(quantize(fit_local_expert(lesson_of(inputs, logits, targets)), 3))
    values = expert.weights.codes * expert.weights.scales.astype(np.float64)[:, None]
    direct = inputs.astype(np.float64) @ values[:, :-1].T + values[:, -1]
    np.testing.assert_allclose(expert.correct(inputs), direct, atol=1e-4)


def test_it_teaches_what_the_logits_got_wrong():
    inputs, logits, targets = problem()
    expert = LocalExpert(quantize(fit_local_expert(lesson_of(inputs, logits, targets)), 8))
    before = (logits.argmax(1) == targets).mean()
    assert before < 0.5 < 0.95 <= ((logits + expert.correct(inputs)).argmax(1) == targets).mean()


def test_one_sample_is_enough_to_train_on():
    inputs, logits, targets = problem(n=1)
    weights = fit_local_expert(lesson_of(inputs, logits, targets))
    raised = logits + with_bias(inputs) @ weights.T
    assert np.isfinite(weights).all()
    assert raised[0, targets[0]] > logits[0, targets[0]]
