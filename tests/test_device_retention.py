"""The retention set's integers, and its two parts."""

import numpy as np
import pytest

from edgemoe.device.global_expert import load_global_expert
from edgemoe.device.retention import RetentionSet, Taps


@pytest.fixture(scope="module")
def retention():
    rng = np.random.default_rng(0)
    codes = {"logits": rng.integers(0, 256, (50, 4), np.uint8), "features": rng.integers(3, 256, (50, 60), np.uint8)}
    scales, zeros = {"logits": 0.21, "features": 0.011}, {"logits": 128, "features": 3}
    return RetentionSet(codes, scales, zeros, rng.integers(0, 4, 50).astype(np.uint8))


def test_values_are_scale_times_code_less_zero(retention):
    taps = retention.taps()
    assert len(retention) == len(taps) == 50
    for tap, codes in retention.codes.items():
        direct = retention.scales[tap] * (codes.astype(np.float64) - retention.zeros[tap])
        values = getattr(taps, tap)
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, direct, rtol=1e-6)
    assert taps.logits.min() < 0  # codes below the zero point do not wrap around


def test_rows_of_taps_are_cut_alike(retention):
    taps = retention.taps()
    for rows in (slice(10, 20), np.array([3, 1, 3])):
        part = taps[rows]
        assert isinstance(part, Taps)
        assert all(np.array_equal(getattr(part, tap), getattr(taps, tap)[rows]) for tap in retention.codes)


def test_the_shipped_sets_parts_share_no_sample_and_leave_none_out():
    ge = load_global_expert()
    held_out, labels = ge.held_out
    everything = ge.retention.taps().logits
    assert np.array_equal(np.concatenate([ge.generic.logits, held_out.logits]), everything)
    assert len(ge.generic) == len(ge.retention) // 8  # two numbers are found from them, and the rest is tried on
    assert np.array_equal(labels, ge.retention.labels[len(ge.generic) :])
    assert labels.dtype == np.int64
    # Recorded with the expert's own logits: it is right about as often as its figures say.
    figure = next(iter(ge.metadata["figures"].values()))["int8"]
    assert (everything.argmax(1) == ge.retention.labels).mean() == pytest.approx(figure, abs=0.05)
