"""The generic statistics: mean and inverse covariance, as closely as codes of 8 bits keep them, and what reads them."""

import numpy as np
import pytest

from edgemoe.device.bundle import Bundle, read_bundle, write_bundle
from edgemoe.device.retention import RetentionSet, Taps
from edgemoe.device.standardize import Standardizer
from edgemoe.device.statistics import SHRINKAGE, TOP, measure_statistics, pool

MAP = (3, 5, 4)
FEATURES = 60


def samples(kind, n=2000, seed=0):
    """Features of `FEATURES` dimensions: independent ones, mixed ones, or ones like a ReLU's after pooling."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, FEATURES))
    if kind != "independent":
        values = values @ (np.eye(FEATURES) + rng.standard_normal((FEATURES, FEATURES)) / np.sqrt(FEATURES))
    if kind == "rectified":  # neighbours alike, none below zero, of very different sizes, one always zero
        values = np.maximum(values + np.roll(values, 1, axis=1), 0) * np.exp(rng.normal(0, 1, FEATURES))
        values[:, 7] = 0
    return values.astype(np.float32)


def exact_inverse(features):
    covariance = np.cov(features.T.astype(np.float64), bias=True)
    return np.linalg.inv(covariance + SHRINKAGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance)))


KINDS = ("independent", "mixed", "rectified")


@pytest.mark.parametrize("kind", KINDS)
def test_the_inverse_is_numpys_but_for_the_codes(kind):
    features = samples(kind)
    statistics, exact = measure_statistics(features, MAP), exact_inverse(features)
    roots = np.sqrt(np.diag(exact))
    off = np.abs((statistics.inverse - exact) / roots / roots[:, None])
    assert np.diag(off).max() < 1e-4
    # A code c stands for step c^2: rounding moves an entry by at most half of the way to the next one, step (c + 1/4).
    largest = np.abs(exact / roots / roots[:, None] - np.eye(FEATURES)).max()
    assert off.max() < 1.01 * largest / TOP + 1e-4
    assert np.linalg.norm(statistics.inverse - exact) < 0.01 * np.linalg.norm(exact)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_symmetric_and_positive_definite(kind):
    inverse = measure_statistics(samples(kind), MAP).inverse
    assert inverse.dtype == np.float32
    np.testing.assert_array_equal(inverse, inverse.T)
    assert np.linalg.eigvalsh(inverse.astype(np.float64)).min() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_direction_found_with_the_codes_is_that_of_the_exact_inverse(kind):
    features = samples(kind)
    means = samples(kind, 30, seed=0).mean(axis=0) - features.mean(axis=0) + 0.3
    kept, exact = (matrix @ means for matrix in (measure_statistics(features, MAP).inverse, exact_inverse(features)))
    assert kept @ exact / np.linalg.norm(kept) / np.linalg.norm(exact) > 0.999


def test_the_shipped_experts_inverse_is_positive_and_inverts_what_people_write(ge):
    scale = ge.standardizer
    precision = scale.precision
    assert np.linalg.eigvalsh(precision.astype(np.float64)).min() > 0
    whitened = scale.gate_inputs(ge.held_out[0])
    # Of samples of covariance C the mean of x' inv(C) x is F; shrinkage leaves less, other people's samples more.
    mean = ((whitened @ precision) * whitened).sum(axis=1).mean()
    assert 0.4 < mean / len(precision) < 1.2
    assert np.abs(whitened.mean(axis=0)).max() < 0.25  # the mean is theirs, too
    assert whitened.std(axis=0).mean() == pytest.approx(1, abs=0.1)


def test_mean_and_scales_are_those_of_the_samples():
    features = samples("rectified")
    statistics, wide = measure_statistics(features, MAP), samples("rectified").astype(np.float64)
    np.testing.assert_allclose(statistics.mean, wide.mean(axis=0), rtol=1e-5)
    assert statistics.feature_scale == pytest.approx(wide.std(axis=0).mean(), rel=1e-5)
    assert statistics.pooled_scale == pytest.approx(pool(features, MAP).std(axis=0).mean(), rel=1e-4)


@pytest.mark.parametrize("features", [np.zeros((5, FEATURES)), np.full((5, FEATURES), 3.0), samples("mixed", n=1)])
def test_features_that_never_change_have_finite_statistics(features):
    with np.errstate(all="raise", under="ignore"):
        statistics = measure_statistics(features.astype(np.float32), MAP)
    assert not statistics.codes.any()
    assert np.isfinite(statistics.inverse).all()
    assert statistics.roots.min() > 0
    assert (statistics.feature_scale, statistics.pooled_scale) == (1, 1)


def test_fewer_samples_than_features_do():
    features = samples("mixed", n=10)
    exact = exact_inverse(features)
    found = measure_statistics(features, MAP).inverse
    assert np.linalg.norm(found - exact) < 0.02 * np.linalg.norm(exact)


def test_a_bundle_keeps_every_bit_of_them(tmp_path):
    statistics = measure_statistics(samples("rectified"), MAP)
    codes = {"logits": np.zeros((8, 2), np.uint8), "features": np.zeros((8, FEATURES), np.uint8)}
    retention = RetentionSet(
        codes, {"logits": 1.0, "features": 1.0}, {"logits": 0, "features": 0}, np.zeros(8, np.uint8)
    )
    metadata = {"name": "tiny", "classes": "ab", "feature_map": MAP}
    write_bundle(tmp_path / "tiny.bundle", Bundle(metadata, b"", b"", retention, statistics))
    back = read_bundle(tmp_path / "tiny.bundle").statistics
    for field in ("mean", "roots", "codes"):
        assert np.array_equal(getattr(back, field), getattr(statistics, field))
        assert getattr(back, field).dtype == getattr(statistics, field).dtype
    for field in ("step", "feature_scale", "pooled_scale"):
        assert getattr(back, field) == getattr(statistics, field)
    np.testing.assert_array_equal(back.inverse, statistics.inverse)


# --- what gate and local expert read by them


def test_the_gate_reads_centred_features_in_one_unit():
    features = samples("rectified")
    scale = Standardizer(MAP, measure_statistics(features, MAP))
    wide = features.astype(np.float64)
    expected = (wide - wide.mean(0)) / wide.std(0).mean()  # one scale for all, not one a feature
    inputs = scale.gate_inputs(Taps(np.zeros((len(features), 2), np.float32), features))
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, expected, atol=1e-4)


def test_the_precision_is_the_inverse_covariance_of_what_the_gate_reads():
    features = samples("mixed")
    scale = Standardizer(MAP, measure_statistics(features, MAP))
    inputs = scale.gate_inputs(Taps(np.zeros((len(features), 2), np.float32), features))
    exact = exact_inverse(inputs)
    assert np.linalg.norm(scale.precision - exact) < 0.01 * np.linalg.norm(exact)
    assert scale.precision is scale.precision  # prepared once


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


def test_the_local_expert_reads_the_means_of_four_quarters_in_one_unit():
    features = samples("rectified", n=50)
    taps, scale = Taps(np.zeros((50, 2), np.float32), features), Standardizer(MAP, measure_statistics(features, MAP))
    direct = np.array([quarters(sample) for sample in features])
    assert direct.shape == (50, 12)
    expected = (direct - direct.mean(0)) / direct.std(0).mean()
    assert scale.local_inputs(taps).dtype == np.float32
    np.testing.assert_allclose(scale.local_inputs(taps), expected, atol=2e-4)


def test_an_odd_map_shares_its_middle_row_and_column_and_an_even_one_does_not():
    features = np.arange(9, dtype=np.float32)[None]
    assert pool(features, (1, 3, 3)).tolist() == [[2.0, 3.0, 5.0, 6.0]]
    assert pool(features[:, :4], (1, 2, 2)).tolist() == [[0, 1, 2, 3]]


def test_a_sample_reads_the_same_whatever_others_are_looked_at(ge, writer):
    taps, scale = ge.taps(writer[0][:20]), ge.standardizer
    assert np.array_equal(scale.gate_inputs(taps[:7]), scale.gate_inputs(taps)[:7])
    np.testing.assert_allclose(scale.local_inputs(taps[:7]), scale.local_inputs(taps)[:7], atol=1e-6)
