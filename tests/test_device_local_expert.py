"""The local expert's gradient against torch's, and its weights against a solver run to convergence."""

import numpy as np
import pytest

from edgemoe.device.local_expert import (
    DECAY,
    LocalExpert,
    correction_gradient,
    fit_local_expert,
    round_local_expert,
    with_bias,
)
from edgemoe.device.quantized import quantize

torch = pytest.importorskip("torch")


def problem(n=40, hidden=12, classes=7, taught=7, seed=0, dtype=np.float32):
    """Standardized inputs, logits that are often wrong, and targets of the first `taught` classes."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, taught, n)
    centres = rng.standard_normal((classes, hidden))
    inputs = centres[targets] + rng.standard_normal((n, hidden))
    return inputs.astype(dtype), (2 * rng.standard_normal((n, classes))).astype(dtype), targets


def torch_loss(weights, matrix, logits, targets, decay):
    scores = torch.from_numpy(logits) + torch.from_numpy(matrix) @ weights.T
    entropy = torch.nn.functional.cross_entropy(scores, torch.from_numpy(targets), reduction="sum")
    return entropy + decay / 2 * (weights**2).sum()


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-6), (np.float32, 1e-4)])
@pytest.mark.parametrize("decay", [0.0, 0.25, 4.0])
def test_the_gradient_is_torchs(dtype, tolerance, decay):
    inputs, logits, targets = problem(dtype=dtype)
    matrix = with_bias(inputs)
    assert matrix.dtype == dtype
    start = np.random.default_rng(1).standard_normal((7, 13)).astype(dtype)
    weights = torch.tensor(start, requires_grad=True)
    torch_loss(weights, matrix, logits, targets, decay).backward()
    gradient = correction_gradient(start, matrix, logits, targets, decay)
    np.testing.assert_allclose(gradient, weights.grad.numpy(), rtol=tolerance, atol=tolerance)


def test_the_gradient_survives_logits_that_would_overflow_an_exponential():
    inputs, logits, targets = problem()
    gradient = correction_gradient(np.zeros((7, 13), np.float32), with_bias(inputs), logits * 1000, targets, 1.0)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("taught", [7, 3, 1])
def test_the_weights_are_those_of_a_solver_run_to_convergence(taught):
    inputs, logits, targets = problem(taught=taught)
    wide = with_bias(inputs).astype(np.float64), logits.astype(np.float64), targets
    free = torch.zeros(7, 1, dtype=torch.float64)
    free[np.unique(targets)] = 1
    weights = torch.zeros((7, 13), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=2000, tolerance_grad=1e-12, tolerance_change=0, history_size=50,
                               line_search_fn="strong_wolfe")  # fmt: skip

    def closure():
        solver.zero_grad()
        loss = torch_loss(weights * free, *wide, DECAY)
        loss.backward()
        return loss

    solver.step(closure)
    found = fit_local_expert(inputs, logits, targets)
    with torch.inference_mode():
        mine = torch.from_numpy(found.astype(np.float64))
        best, nothing, loss = (float(torch_loss(w, *wide, DECAY)) for w in (weights * free, 0 * weights, mine))
    assert best < 0.9 * nothing  # there was something to learn
    assert loss - best < 1e-5 * (nothing - best)
    assert np.abs(found - (weights * free).detach().numpy()).max() < 1e-2


def test_classes_without_a_sample_are_left_uncorrected():
    inputs, logits, targets = problem(taught=3)
    weights = fit_local_expert(inputs, logits, targets)
    assert weights.shape == (7, 13)
    assert not weights[3:].any()
    assert all(weights[c].any() for c in range(3))
    correction = LocalExpert(quantize(weights, 4)).correct(inputs)
    assert not correction[:, 3:].any()


def rounded_loss(matrix, inputs, logits, targets):
    with torch.inference_mode():
        values = torch.from_numpy(matrix.values().astype(np.float64))
        wide = with_bias(inputs).astype(np.float64), logits.astype(np.float64), targets
        return float(torch_loss(values, *wide, DECAY))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rounding_with_the_samples_loses_no_more_than_rounding_without_them(bits, seed):
    data = problem(seed=seed)
    weights = fit_local_expert(*data)
    plain, taught = quantize(weights, bits), round_local_expert(weights, *data, bits)
    assert taught.bits == bits
    assert np.abs(taught.codes).max() < 2 ** (bits - 1)
    exact = rounded_loss(type("Exact", (), {"values": lambda _: weights})(), *data)
    losses = [rounded_loss(matrix, *data) for matrix in (taught, plain)]
    assert exact - 1e-3 <= losses[0] <= losses[1] + 1e-3
    if bits == 2:  # where rounding hurts most
        assert losses[0] < losses[1]


def test_rounding_leaves_classes_without_a_sample_uncorrected():
    data = problem(taught=3)
    assert not round_local_expert(fit_local_expert(*data), *data, 2).codes[3:].any()


def test_the_correction_is_the_quantized_weights_times_input_and_one():
    inputs, logits, targets = problem()
    expert = LocalExpert(quantize(fit_local_expert(inputs, logits, targets), 3))
    values = expert.weights.codes * expert.weights.scales.astype(np.float64)[:, None]
    direct = inputs.astype(np.float64) @ values[:, :-1].T + values[:, -1]
    np.testing.assert_allclose(expert.correct(inputs), direct, atol=1e-4)


def test_it_teaches_what_the_logits_got_wrong():
    inputs, logits, targets = problem()
    expert = LocalExpert(quantize(fit_local_expert(inputs, logits, targets), 8))
    before = (logits.argmax(1) == targets).mean()
    assert before < 0.5 < 0.95 <= ((logits + expert.correct(inputs)).argmax(1) == targets).mean()


def test_one_sample_is_enough_to_train_on():
    inputs, logits, targets = problem(n=1)
    weights = fit_local_expert(inputs, logits, targets)
    raised = logits + with_bias(inputs) @ weights.T
    assert np.isfinite(weights).all()
    assert raised[0, targets[0]] > logits[0, targets[0]]
