"""The gate's direction against scikit-learn's, its scores against brute force, its calibration against a solver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgemoe import Personalizer
from edgemoe.device.gate import CLOSED, DOUBT, Gate, calibrate, fit_gate, sigmoid, weigh
from edgemoe.device.quantized import quantize

FEATURES = 25


def problem(users=30, generic=80, apart=1.0, seed=0):
    """Generic samples of a known covariance and mean 0, the user's around another mean, and the inverse covariance."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((FEATURES, FEATURES)) / 5 + np.eye(FEATURES)
    user = (rng.standard_normal((users, FEATURES)) + apart * rng.standard_normal(FEATURES)) @ mixing
    others = rng.standard_normal((generic, FEATURES)) @ mixing
    precision = np.linalg.inv(mixing.T @ mixing)
    return user.astype(np.float32), others.astype(np.float32), precision.astype(np.float32)


def calibration_loss(slope, shift, user, generic):
    """The weighted logistic loss, and the penalty of a slope in units of one over the scores' deviation."""
    ours, theirs = slope * user.astype(float) + shift, slope * generic.astype(float) + shift
    entropy = np.logaddexp(0, -ours).sum() + len(user) / len(generic) * np.logaddexp(0, theirs).sum()
    return entropy + DOUBT / 2 * (slope * np.concatenate([user, generic]).astype(float).std()) ** 2


def solved(user, generic):
    from scipy.optimize import minimize

    spread = np.concatenate([user, generic]).std()
    found = minimize(
        lambda w: calibration_loss(w[0] / spread, w[1], user, generic), np.zeros(2), method="BFGS",
        options={"gtol": 1e-9},
    )  # fmt: skip
    return found.x[0] / spread, found.x[1]


# --- direction and scores


def test_the_direction_is_that_of_scikit_learns_discriminant():
    discriminant = pytest.importorskip("sklearn.discriminant_analysis")
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((FEATURES, FEATURES)) / 5 + np.eye(FEATURES)
    user = (rng.standard_normal((400, FEATURES)) + 0.5) @ mixing
    generic = rng.standard_normal((400, FEATURES)) @ mixing
    generic -= generic.mean(axis=0)
    theirs = discriminant.LinearDiscriminantAnalysis(solver="lsqr").fit(
        np.concatenate([user, generic]), [1] * 400 + [0] * 400
    )
    within = (np.cov(user.T, bias=True) + np.cov(generic.T, bias=True)) / 2  # the covariance that it pools
    weights, _ = fit_gate(user.astype(np.float32), generic.astype(np.float32), np.linalg.inv(within).astype(np.float32))
    cosine = weights @ theirs.coef_[0] / np.linalg.norm(weights) / np.linalg.norm(theirs.coef_[0])
    assert cosine == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("users", [2, 3, 30])
def test_a_users_sample_is_scored_by_a_direction_found_without_it(users):
    user, generic, precision = problem(users=users, apart=2.0)
    exact = user.astype(float)
    scores = [exact[i] @ precision @ np.delete(exact, i, axis=0).mean(axis=0) for i in range(users)]
    direction = precision @ exact.mean(axis=0)
    slope, shift = solved(np.array(scores), generic @ direction)
    weights, bias = fit_gate(user, generic, precision)
    assert slope > 0
    np.testing.assert_allclose(weights, slope * direction, rtol=1e-3, atol=1e-3 * np.abs(weights).max())
    assert bias == pytest.approx(shift, rel=1e-3, abs=1e-3)


def test_one_sample_counts_half_of_its_own_score():
    user, generic, precision = problem(users=1)
    direction = precision @ user[0]
    slope, shift = solved(0.5 * user @ direction, generic @ direction)
    weights, bias = fit_gate(user, generic, precision)
    np.testing.assert_allclose(weights, slope * direction, rtol=1e-3, atol=1e-5)
    assert bias == pytest.approx(shift, rel=1e-3)


def test_it_tells_new_samples_of_the_user_from_new_generic_ones():
    user, generic, precision = problem(users=230, generic=280)
    weights, bias = fit_gate(user[:30], generic[:80], precision)
    gate = Gate(quantize(weights[None], 5), bias)
    assert (gate.log_odds(user[30:]) > 0).mean() > 0.9
    assert (gate.log_odds(generic[80:]) < 0).mean() > 0.9


def test_its_log_odds_are_no_surer_than_they_are_right():
    """Of new samples with log-odds about x, both sides weighing the same, sigmoid(x) are the user's."""
    user, generic, precision = problem(users=4100, generic=4400, apart=0.35)
    weights, bias = fit_gate(user[:100], generic[:400], precision)
    odds = [side @ weights + bias for side in (user[100:], generic[400:])]
    for low, high in ((-2, -1), (-1, 0), (0, 1), (1, 2)):
        ours, theirs = (((side >= low) & (side < high)).mean() for side in odds)
        assert ours / (ours + theirs) == pytest.approx(1 / (1 + np.exp(-(low + high) / 2)), abs=0.12)


# --- users that show next to nothing


def test_of_samples_that_have_nothing_in_common_nothing_is_known():
    rng = np.random.default_rng(0)
    row = rng.standard_normal(FEATURES).astype(np.float32)
    user = np.stack([2 * row, -row])  # each scores below other people's, by the other
    weights, bias = fit_gate(user, rng.standard_normal((80, FEATURES)).astype(np.float32), np.eye(FEATURES, dtype="f4"))
    assert not weights.any()
    assert bias == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_gate_of_a_few_characters_is_never_turned_round(ge, writer, seed):
    rows = np.random.default_rng(seed).permutation(len(writer[1]))[:2]
    inputs = ge.standardizer.gate_inputs(ge.taps(writer[0][rows]))
    weights, _ = fit_gate(inputs, ge.standardizer.gate_inputs(ge.generic), ge.standardizer.precision)
    assert weights @ (ge.standardizer.precision @ inputs.mean(axis=0)) >= 0


@pytest.mark.parametrize(
    "user",
    [np.zeros((1, FEATURES)), np.zeros((9, FEATURES)), np.ones((9, FEATURES)), np.full((2, FEATURES), 1e4)],
    ids=["nothing", "nothing, nine times", "one sample, nine times", "far off"],
)
@pytest.mark.parametrize("generic", [np.zeros((1, FEATURES)), np.ones((9, FEATURES)) / 2])
def test_samples_that_are_all_alike_give_a_gate_of_finite_weights(user, generic):
    with np.errstate(all="raise", under="ignore"):
        weights, bias = fit_gate(
            user.astype(np.float32), generic.astype(np.float32), np.eye(FEATURES, dtype=np.float32)
        )
    assert np.isfinite(weights).all()
    assert np.isfinite(bias)
    assert (user[0] @ weights + bias) >= (generic[0] @ weights + bias)


# --- calibration


@pytest.mark.parametrize(("ours", "theirs"), [(30, 80), (80, 30), (1, 500), (200, 1)])
@pytest.mark.parametrize("apart", [0.1, 1.0, 3.0])
def test_the_calibration_is_that_of_a_solver(ours, theirs, apart):
    rng = np.random.default_rng(3)
    user, generic = rng.normal(5 + 2 * apart, 2, ours), rng.normal(5, 2, theirs)
    slope, shift = solved(user, generic)
    found = calibrate(user.astype(np.float32), generic.astype(np.float32))
    if slope > 0:
        assert found == pytest.approx((slope, shift), rel=2e-3, abs=2e-3)
    else:
        assert found == (0, 0)


def test_the_calibration_is_that_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    user, generic = rng.normal(2, 3, 60), rng.normal(0, 3, 200)
    scores = np.concatenate([user, generic])
    truth, weight = np.repeat([1, 0], [60, 200]), np.repeat([1, 60 / 200], [60, 200])
    spread = scores.std()
    theirs = linear.LogisticRegression(C=1 / DOUBT, tol=1e-10).fit((scores / spread)[:, None], truth, weight)
    slope, shift = calibrate(user, generic)
    assert slope == pytest.approx(theirs.coef_[0, 0] / spread, rel=1e-4)
    assert shift == pytest.approx(theirs.intercept_[0], abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float32, st.integers(1, 8), elements=st.floats(-1e4, 1e4, width=32)),
    arrays(np.float32, st.integers(1, 8), elements=st.floats(-1e4, 1e4, width=32)),
)
def test_no_scores_make_the_calibration_fail_or_the_slope_negative(user, generic):
    slope, shift = calibrate(user, generic)
    assert slope >= 0
    assert np.isfinite([slope, shift]).all()
    # No worse than knowing nothing, and no worse than a step to any side of it.
    loss = calibration_loss(slope, shift, user, generic)
    assert loss <= calibration_loss(0, 0, user, generic) * (1 + 1e-6)
    if slope > 0:
        spread = np.concatenate([user, generic]).astype(float).std()
        middle = np.concatenate([user, generic]).astype(float).mean()
        for turn in (0.95, 1.05):  # about the scores' middle
            turned = calibration_loss(turn * slope, shift + (1 - turn) * slope * middle, user, generic)
            assert loss <= turned + 1e-5 * (1 + slope * spread)


def test_user_and_generic_samples_weigh_the_same_however_many_there_are():
    user, generic, _ = problem()
    once = calibrate(user[:, 0], generic[:, 0])
    many = calibrate(user[:, 0], np.tile(generic[:, 0], 5))
    assert once == pytest.approx(many, rel=1e-5)


def test_sides_that_do_not_overlap_get_a_finite_slope():
    slope, shift = calibrate(np.full(20, 3.0), np.full(60, 1.0))
    assert 0 < slope < 50
    assert slope * 3 + shift > 3
    assert slope * 1 + shift < -3


# --- what is kept, and what the weights become


def test_log_odds_are_the_quantized_weights_times_input_plus_the_bias():
    user, generic, precision = problem()
    weights, bias = fit_gate(user, generic, precision)
    gate = Gate(quantize(weights[None], 5), bias)
    direct = user.astype(np.float64) @ (gate.weights.codes[0] * float(gate.weights.scales[0])) + bias
    np.testing.assert_allclose(gate.log_odds(user), direct, atol=1e-4)
    assert gate.log_odds(user).shape == (30,)


def test_five_bits_keep_the_order_that_the_exact_weights_give(ge, writer, fresh):
    scale = ge.standardizer
    weights, bias = fit_gate(scale.gate_inputs(ge.taps(writer[0])), scale.gate_inputs(ge.generic), scale.precision)
    inputs = scale.gate_inputs(ge.taps(fresh[0]))
    kept = Gate(quantize(weights[None], 5), bias).log_odds(inputs)
    assert np.corrcoef(kept, inputs @ weights + bias)[0, 1] > 0.98
    assert Personalizer(ge).fit(*writer).profile.gate.weights.bits == 5


@given(arrays(np.float32, st.integers(1, 5), elements=st.floats(-30, 30, width=32)))
def test_the_sigmoid_is_one_over_one_plus_the_exponential(values):
    np.testing.assert_allclose(sigmoid(values), 1 / (1 + np.exp(-values.astype(np.float64))), atol=2e-7)


def test_the_sigmoid_saturates_without_a_warning():
    with np.errstate(all="raise"):
        assert sigmoid(np.array([-1e30, -1e4, 0, 1e4, 1e30], np.float32)).tolist() == [0, 0, 0.5, 1, 1]


def test_a_weight_too_small_to_matter_is_none():
    odds = np.array([-9, -4, -3.8, 0, 5], np.float32)
    weights = weigh(odds, 0.0)
    assert weights[0] == weights[1] == 0
    np.testing.assert_allclose(weights[2:], sigmoid(odds[2:]))
    assert weights[2] >= CLOSED
    np.testing.assert_array_equal(weigh(odds + np.float32(1.5), 1.5), weights)
