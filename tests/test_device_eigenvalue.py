"""The estimate against numpy's eigenvalues."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemoe.device.eigenvalue import largest_eigenvalue


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
