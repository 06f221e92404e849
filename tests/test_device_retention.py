"""The retention set's integers and the scales that are measured on it."""

import numpy as np
import pytest

from edgemoe.device.global_expert import load_global_expert
from edgemoe.device.retention import RetentionSet, Taps
from edgemoe.device.standardize import Standardizer


@pytest.fixture(scope="module")
def retention():
    rng = np.random.default_rng(0)
    codes = {
        "logits": rng.integers(0, 256, (50, 4), np.uint8),
        "hidden": rng.integers(0, 90, (50, 6), np.uint8),
        "features": rng.integers(3, 256, (50, 9), np.uint8),
    }
    scales, zeros = {"logits": 0.21, "hidden": 0.037, "features": 0.011}, {"logits": 128, "hidden": 0, "features": 3}
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


def test_standardized_taps_have_mean_zero_and_one_unit_of_variance_in_all(retention):
    taps, scale = retention.taps(), Standardizer.of(retention)
    for values in (scale.hidden(taps), scale.features(taps)):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)
        assert np.mean(values.astype(np.float64) ** 2) == pytest.approx(1, abs=1e-5)


def test_one_scale_serves_a_whole_tap(retention):
    taps, scale = retention.taps(), Standardizer.of(retention)
    wide = taps.hidden.astype(np.float64)
    spread = np.sqrt(((wide - wide.mean(0)) ** 2).mean())
    assert scale.hidden_scale == pytest.approx(spread, rel=1e-5)
    np.testing.assert_allclose(scale.hidden(taps), (wide - wide.mean(0)) / spread, atol=1e-4)


def test_the_shipped_sets_halves_share_no_sample_and_leave_none_out():
    ge = load_global_expert()
    held_out, labels = ge.held_out
    everything = ge.retention.taps().logits
    assert np.array_equal(np.concatenate([ge.generic.logits, held_out.logits]), everything)
    assert abs(len(ge.generic) - len(held_out)) <= 1
    assert np.array_equal(labels, ge.retention.labels[len(ge.generic) :])
    assert labels.dtype == np.int64
    # Recorded with the expert's own logits: it is right about as often as its figures say.
    figure = next(iter(ge.metadata["figures"].values()))["int8"]
    assert (everything.argmax(1) == ge.retention.labels).mean() == pytest.approx(figure, abs=0.05)
