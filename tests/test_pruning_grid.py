"""The integers and the scale that stand best for a codebook."""

import numpy as np
import pytest

from edgemoe.pruning.grid import nearest_grid


@pytest.mark.parametrize("seed", range(3))
def test_no_other_scale_brings_a_codebook_nearer(seed):
    rng = np.random.default_rng(seed)
    values = np.sort(rng.normal(0, 0.3, 16))
    counts = rng.integers(1, 500, 16)

    def error(scale):
        return counts @ (values - scale * np.clip(np.rint(values / scale), -63, 63)) ** 2

    scale, integers = nearest_grid(values, counts, 63)
    assert np.abs(integers).max() <= 63
    reached = counts @ (values - float(scale) * integers) ** 2
    others = np.abs(values).max() / rng.uniform(20, 70, 3000)
    assert reached <= 1.02 * min(error(other) for other in others)
    assert reached < error(np.abs(values).max() / 63)


def test_a_codebook_on_a_grid_comes_back_exactly():
    integers = np.array([-61, -40, -7, 0, 3, 22, 59], np.float32)
    scale, found = nearest_grid(np.float32(0.0123) * integers, np.arange(1, 8), 63)
    np.testing.assert_array_equal(found, integers)
    assert scale == pytest.approx(0.0123, rel=1e-6)


def test_a_codebook_of_zeros_has_a_grid():
    scale, integers = nearest_grid(np.zeros(2), np.array([3, 4]), 63)
    assert scale > 0
    assert not integers.any()
