"""The retention set's integers and the scales that are measured on it."""

import numpy as np
import pytest

from edgemoe.device.global_expert import load_global_expert
from edgemoe.device.retention import RetentionSet, Taps
from edgemoe.device.standardize import Standardizer, pool

MAP = (3, 5, 4)


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


def test_the_gate_reads_centred_features_in_one_unit(retention):
    taps, scale = retention.taps(), Standardizer.of(retention, MAP)
    wide = taps.features.astype(np.float64)
    expected = (wide - wide.mean(0)) / wide.std(0).mean()  # one scale for all, not one a feature
    assert scale.gate_inputs(taps).dtype == np.float32
    np.testing.assert_allclose(scale.gate_inputs(taps), expected, atol=1e-4)


def quarters(sample):
    """The mean over each quarter of each channel's map, one value after the other; a middle row is in both halves."""
    channels, rows, columns = MAP
    features = sample.astype(np.float64).reshape(MAP)
    halves = [(range(-(-n // 2)), range(n // 2, n)) for n in (rows, columns)]
    return [
        np.mean([features[c, y, x] for y in vertical for x in horizontal])
        for c in range(channels)
        for vertical in halves[0]
        for horizontal in halves[1]
    ]


def test_the_local_expert_reads_the_means_of_four_quarters_in_one_unit(retention):
    taps, scale = retention.taps(), Standardizer.of(retention, list(MAP))
    direct = np.array([quarters(sample) for sample in taps.features])
    assert direct.shape == (50, 12)
    expected = (direct - direct.mean(0)) / direct.std(0).mean()
    assert scale.local_inputs(taps).dtype == np.float32
    np.testing.assert_allclose(scale.local_inputs(taps), expected, atol=2e-4)


def test_an_odd_map_shares_its_middle_row_and_column_and_an_even_one_does_not():
    features = np.arange(9, dtype=np.float32)[None]
    assert pool(features, (1, 3, 3)).tolist() == [[2.0, 3.0, 5.0, 6.0]]
    assert pool(features[:, :4], (1, 2, 2)).tolist() == [[0, 1, 2, 3]]


def test_other_samples_are_measured_by_the_retention_sets_scales(retention):
    taps, scale = retention.taps(), Standardizer.of(retention, MAP)
    whole = scale.gate_inputs(taps), scale.local_inputs(taps)
    assert np.array_equal(scale.gate_inputs(taps[:7]), whole[0][:7])
    np.testing.assert_allclose(scale.local_inputs(taps[:7]), whole[1][:7], atol=1e-6)


def test_the_shipped_sets_parts_share_no_sample_and_leave_none_out():
    ge = load_global_expert()
    held_out, labels = ge.held_out
    everything = ge.retention.taps().logits
    assert np.array_equal(np.concatenate([ge.generic.logits, held_out.logits]), everything)
    assert len(held_out) == 3 * len(ge.generic)
    assert np.array_equal(labels, ge.retention.labels[len(ge.generic) :])
    assert labels.dtype == np.int64
    # Recorded with the expert's own logits: it is right about as often as its figures say.
    figure = next(iter(ge.metadata["figures"].values()))["int8"]
    assert (everything.argmax(1) == ge.retention.labels).mean() == pytest.approx(figure, abs=0.05)
