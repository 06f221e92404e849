"""The experiments' figures are those of sweeps, of pairs and of counting."""

import numpy as np
import pytest

from edgemoe.benchmark.experiments import figures
from edgemoe.device.acceptance import mix
from edgemoe.device.gate import CLOSED, weigh
from edgemoe.device.global_expert import softmax


@pytest.fixture(scope="module")
def trials():
    """Three writers' made-up answers, with ties and weights on the edge."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(3):
        logits = np.round(rng.normal(0, 2, (150, 5)).astype(np.float32) * 2) / 2
        correction = rng.normal(0, 2, (150, 5)).astype(np.float32)
        odds, labels = rng.normal(-2, 3, 150).astype(np.float32), rng.integers(0, 5, 150)
        labels[:90] = logits[:90].argmax(axis=1)
        made.append((logits, correction, odds, labels))
    return made


def judged(trials):
    return [figures.judge(o, softmax(z), softmax(z + c), y) for z, c, o, y in trials]


def right(trial, threshold):
    logits, correction, odds, labels = trial
    return mix(softmax(logits), softmax(logits + correction), weigh(odds, threshold)).argmax(axis=1) == labels


def test_an_interval_of_weights_says_who_is_right_at_every_threshold(trials):
    for trial, found in zip(trials, judged(trials), strict=True):
        for threshold in np.linspace(-9, 9, 37):
            assert (found.right(threshold) == right(trial, threshold)).all()


@pytest.mark.parametrize("budget", [0.0, 0.001, 0.02, 0.1])
def test_the_threshold_is_the_lowest_that_a_sweep_finds(trials, budget):
    def loss(threshold):
        return np.mean([(t[0].argmax(axis=1) == t[3]).mean() - right(t, threshold).mean() for t in trials])

    found = figures.threshold_within(judged(trials), budget)
    sweep = np.arange(14, -14, -0.03)
    losses = np.array([loss(threshold) for threshold in sweep])
    over = np.flatnonzero(losses > budget + 1e-9)
    assert over.size
    assert found == pytest.approx(sweep[over[0]], abs=0.2)
    assert loss(found) <= budget + 1e-9
    assert (losses[sweep > found] <= budget + 1e-9).all()


def test_a_loss_that_is_never_reached_sets_no_threshold(trials):
    assert figures.threshold_within(judged(trials), 1.0) == -30
    assert weigh(np.float32([-10]), -30) > CLOSED


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(1)
    ours, theirs = np.round(rng.normal(1, 1, 80), 1), np.round(rng.normal(0, 1, 200), 1)
    ahead = np.sign(ours[:, None] - theirs)
    assert figures.area_under_curve(ours, theirs) == pytest.approx((ahead.mean() + 1) / 2)


def test_the_interval_holds_the_share_and_is_a_point_for_equal_writers():
    gains, errors = np.random.default_rng(2).uniform(0, 0.2, 30), np.full(30, 0.25)
    low, high = figures.interval(gains, errors)
    assert low < gains.sum() / errors.sum() < high
    assert figures.interval(np.full(30, 0.1), errors) == pytest.approx((0.4, 0.4))
