"""Accelerated descent against closed-form minima."""

from itertools import pairwise

import numpy as np
import pytest

from edgemoe.benchmark.descent import descend


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
