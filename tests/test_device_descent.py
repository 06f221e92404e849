"""The trainer against closed-form minima, and its step size against numpy's eigenvalues."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemoe.device.descent import descend, largest_eigenvalue


def quadratic(curvatures, seed=0):
    """A convex quadratic of given curvatures in random directions: its gradient, its value and its minimum."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((len(curvatures),) * 2))[0]
    matrix = ((directions * curvatures) @ directions.T).astype(np.float32)
    minimum = rng.standard_normal(len(curvatures)).astype(np.float32)

    def value(point):
        apart = (point - minimum).astype(np.float64)
        return 0.5 * apart @ matrix.astype(np.float64) @ apart

    return lambda point: matrix @ (point - minimum), value, minimum


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_the_minimum_of_a_quadratic(seed):
    gradient, _, minimum = quadratic(np.geomspace(0.05, 10, 12), seed)
    found = descend(gradient, np.zeros(12, np.float32), 10, 300)
    assert found.dtype == np.float32
    assert np.abs(found - minimum).max() < 1e-4


@pytest.mark.parametrize("steps", [10, 30, 100])
def test_it_is_as_fast_as_nesterov_proved(steps):
    # f(x_k) - f* <= 2 L |x_0 - x*|^2 / (k + 1)^2 (Beck and Teboulle, FISTA, 2009, theorem 4.4).
    gradient, value, minimum = quadratic(np.geomspace(1e-4, 10, 30))
    found = descend(gradient, np.zeros(30, np.float32), 10, steps)
    assert value(found) <= 2 * 10 * float(minimum @ minimum) / (steps + 1) ** 2


def test_it_beats_plain_gradient_descent_with_the_same_step():
    gradient, value, _ = quadratic(np.geomspace(0.01, 10, 20))
    plain = np.zeros(20, np.float32)
    for _ in range(100):
        plain = plain - gradient(plain) / np.float32(10)
    assert value(descend(gradient, np.zeros(20, np.float32), 10, 100)) < 0.1 * value(plain)


def test_restarts_keep_momentum_from_overshooting():
    # Without restarts the method oscillates on a strongly convex function; with them it settles.
    gradient, value, _ = quadratic(np.array([0.3, 10.0]))
    start = np.array([5, 5], np.float32)
    values = [value(descend(gradient, start, 10, steps)) for steps in range(0, 80, 8)]
    assert all(later <= earlier * 1.05 + 1e-9 for earlier, later in pairwise(values))
    assert values[-1] < 1e-8


def test_no_steps_leave_the_start_as_it_was():
    start = np.array([[1, 2], [3, 4]], np.float32)
    assert descend(lambda p: p, start, 1, 0) is start
    descend(lambda p: p, start, 1, 5)
    assert start.tolist() == [[1, 2], [3, 4]]


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 20), st.floats(0.1, 10))
def test_the_eigenvalue_estimate_lies_just_above_the_true_one(seed, rows, columns, mean):
    rng = np.random.default_rng(seed)
    matrix = (rng.standard_normal((rows, columns)) + rng.standard_normal(columns) * mean).astype(np.float32)
    weights = rng.uniform(0.1, 2, rows).astype(np.float32)
    wide = matrix.astype(np.float64)
    true = np.linalg.eigvalsh(wide.T @ (weights[:, None] * wide))[-1]
    assert 0.95 * true <= largest_eigenvalue(matrix, weights) <= 1.0501 * true


def test_the_estimate_does_not_depend_on_the_mean_being_informative():
    # Two images and their mirror images about the mean: the mean direction is the bias's alone.
    matrix = np.array([[8, 0, 1], [-8, 0, 1], [4, 0, 1], [-4, 0, 1]], np.float32)
    assert largest_eigenvalue(matrix, np.ones(4, np.float32)) >= 160


def test_the_estimate_of_nothing_is_zero():
    assert largest_eigenvalue(np.zeros((3, 2), np.float32), np.ones(3, np.float32)) == 0
