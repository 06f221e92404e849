"""The logistic gate's gradient against torch's, and its weights against a solver run to convergence."""

import numpy as np
import pytest

from edgemoe.benchmark.experiments.logistic_gate import DECAY, fit_logistic, gate_gradient, settle_logistic
from edgemoe.device.gate import Gate
from edgemoe.device.quantized import quantize

torch = pytest.importorskip("torch")


def problem(users=30, generic=80, features=25, apart=1.0, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal(features) * apart
    user = rng.standard_normal((users, features)) + direction
    return user.astype(dtype), rng.standard_normal((generic, features)).astype(dtype)


def torch_loss(weights, inputs, users, importance, decay):
    scores = torch.from_numpy(inputs) @ weights[:-1] + weights[-1]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(scores, torch.from_numpy(users), reduction="none")
    return (torch.from_numpy(importance) * entropy).sum() + decay / 2 * (weights[:-1] ** 2).sum()


def both_sides(user, generic):
    """Each side weighs as much as half of the generic samples."""
    inputs = np.concatenate([user, generic]).astype(np.float64)
    users = np.array([1.0] * len(user) + [0.0] * len(generic))
    importance = np.array([0.5 * len(generic) / len(user)] * len(user) + [0.5] * len(generic))
    return inputs, users, importance


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-6), (np.float32, 2e-4)])
@pytest.mark.parametrize("decay", [0.0, 0.5, 10.0])
def test_the_gradient_is_torchs(dtype, tolerance, decay):
    rng = np.random.default_rng(2)
    inputs, users, _ = (a.astype(dtype) for a in both_sides(*problem()))
    importance = rng.uniform(0, 3, len(users)).astype(dtype)
    start = rng.standard_normal(26).astype(dtype)
    weights = torch.tensor(start, requires_grad=True)
    torch_loss(weights, inputs, users, importance, decay).backward()
    gradient = gate_gradient(start, inputs, users, importance, decay)
    np.testing.assert_allclose(gradient, weights.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("users", "apart"), [(30, 1.0), (30, 0.2), (1, 1.0), (400, 1.0)])
def test_the_weights_are_those_of_a_solver_run_to_convergence(users, apart):
    user, generic = problem(users=users, apart=apart)
    data = both_sides(user, generic)
    weights = torch.zeros(26, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=2000, tolerance_grad=1e-12, tolerance_change=0, history_size=50,
                               line_search_fn="strong_wolfe")  # fmt: skip

    def closure():
        solver.zero_grad()
        loss = torch_loss(weights, *data, DECAY)
        loss.backward()
        return loss

    solver.step(closure)
    found, bias = fit_logistic(user, generic)
    with torch.inference_mode():
        mine = torch.from_numpy(np.append(found, bias).astype(np.float64))
        best, nothing, loss = (float(torch_loss(w, *data, DECAY)) for w in (weights, torch.zeros(26).double(), mine))
    assert best < nothing
    assert loss - best < 1e-4 * (nothing - best)


def test_user_and_generic_samples_weigh_the_same_however_many_there_are():
    user, generic = problem()
    once, bias = fit_logistic(user, generic)
    thrice, other = fit_logistic(np.concatenate([user] * 3), generic)
    np.testing.assert_allclose(once, thrice, atol=1e-4)
    assert bias == pytest.approx(other, abs=1e-4)


def test_it_tells_the_users_samples_from_generic_ones():
    user, generic = problem()
    weights, bias = fit_logistic(user, generic)
    gate = Gate(quantize(weights[None], 8), bias)
    fresh_user, fresh_generic = problem(seed=0, users=200, generic=200)
    assert (gate.log_odds(fresh_user) > 0).mean() > 0.9
    assert (gate.log_odds(fresh_generic) < 0).mean() > 0.9


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_settled_weights_lose_no_more_by_rounding_than_trained_ones(bits, seed):
    user, generic = problem(seed=seed, apart=0.3)
    data = both_sides(user, generic)
    weights, bias = fit_logistic(user, generic)

    def rounded_loss(exact, free):
        values = np.append(quantize(exact[None], bits).values()[0], free).astype(np.float64)
        with torch.inference_mode():
            return float(torch_loss(torch.from_numpy(values), *data, DECAY))

    losses = [rounded_loss(*settle_logistic(weights, bias, user, generic, bits)), rounded_loss(weights, bias)]
    assert losses[0] <= losses[1] + 1e-3


def test_settled_weights_tell_a_writer_better_than_plainly_rounded_ones(ge, writer):
    user, generic = (ge.standardizer.gate_inputs(taps) for taps in (ge.taps(writer[0]), ge.generic))
    weights, bias = fit_logistic(user, generic)
    inputs, users, importance = both_sides(user, generic)

    def loss(exact, free):
        odds = inputs @ quantize(exact[None], 3).values()[0].astype(float) + free
        return (importance * (np.logaddexp(0, odds) - users * odds)).sum()

    assert loss(*settle_logistic(weights, bias, user, generic, 3)) < 0.95 * loss(weights, bias)
