"""The acceptance test on trials made by hand, and its promise on random ones."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemoe.device.acceptance import ENOUGH, THRESHOLDS, Trial, accept, blend


def trial(*groups):
    """Samples of two classes: (how many, global right?, local right?, gate's log-odds) a group."""
    logits, correction, odds = [], [], []
    for count, global_right, local_right, log_odds in groups:
        answer = 1.0 if global_right else -1.0
        logits += [[answer, -answer]] * count
        change = (1 if local_right else -1) * 3.0 - answer
        correction += [[change, -change]] * count
        odds += [log_odds] * count
    n = len(odds)
    return Trial(*(np.array(a, np.float32) for a in (logits, correction, odds)), np.zeros(n, np.int64))


def direct_gain(given, threshold):
    """The mixture's accuracy less the global expert's, one sample and one probability after the other."""
    better = 0
    for logits, correction, odds, label in zip(
        given.logits.astype(float), given.correction.astype(float), given.log_odds, given.labels, strict=True
    ):
        weight = 1 / (1 + math.exp(threshold - float(odds)))
        weight = weight if weight >= 0.02 else 0
        first, second = (np.exp(v) / np.exp(v).sum() for v in (logits, logits + correction))
        mixed = [(1 - weight) * a + weight * b for a, b in zip(first, second, strict=True)]
        better += int(int(np.argmax(mixed)) == label) - int(int(np.argmax(logits)) == label)
    return better / len(given.labels)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 9))
def test_the_blend_is_the_gates_mean_of_both_experts_probabilities(seed, n, classes):
    rng = np.random.default_rng(seed)
    logits, correction = (rng.normal(0, 4, (n, classes)).astype(np.float32) for _ in range(2))
    gate = rng.uniform(0, 1, n).astype(np.float32)
    got = blend(logits, correction, gate)
    for row in range(n):
        parts = [np.exp(v) / np.exp(v).sum() for v in (logits[row].astype(float), (logits + correction)[row])]
        np.testing.assert_allclose(got[row], parts[0] + gate[row] * (parts[1] - parts[0]), atol=1e-6)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got.sum(1), 1, atol=1e-5)


def test_a_closed_gate_gives_the_global_expert_and_an_open_one_the_local():
    both = trial((1, True, False, 0.0))
    shut, open_ = (blend(both.logits, both.correction, np.array([g], np.float32)) for g in (0, 1))
    assert (shut.argmax(), open_.argmax()) == (0, 1)


def test_the_gain_counts_the_answers_that_turn():
    given = trial((3, False, True, 4.0), (1, True, False, 4.0), (4, True, True, 0.0), (2, False, True, -4.0))
    assert given.gain(0.0) == pytest.approx(0.2)  # three turn right, one turns wrong
    assert given.gain(-8.0) == pytest.approx(0.4)
    assert given.gain(12.0) == 0


def test_the_threshold_is_raised_until_generic_accuracy_holds():
    # Ten of a thousand generic samples are lost while the gate trusts the local expert with them: it does from
    # log-odds of about the threshold on, for the local expert is the surer of the two.
    generic = trial((10, True, False, 1.0), (990, True, True, -3.0))
    verdict = accept(generic, None, 0.002)
    assert verdict.accepted
    assert verdict.user_gain is None
    assert verdict.generic_loss == 0
    assert direct_gain(generic, verdict.threshold) == 0
    assert direct_gain(generic, verdict.threshold - 0.25) == pytest.approx(-0.01)  # and not by a step too many


def test_a_budget_is_spent_but_not_exceeded():
    generic = trial((5, True, False, 0.0), (5, True, False, 3.0), (990, True, True, 0.0))
    losses = [accept(generic, None, budget).generic_loss for budget in (0.0, 0.004, 0.005, 0.009, 0.01)]
    assert losses == pytest.approx([0, 0, 0.005, 0.005, 0.01])
    thresholds = [accept(generic, None, budget).threshold for budget in (0.0, 0.005, 0.01)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert len(set(thresholds)) == 3


def test_a_threshold_is_not_allowed_if_a_higher_one_loses():
    # At a low threshold a gain elsewhere hides the loss; that is luck, and not relied on.
    generic = trial((10, True, False, 2.0), (20, False, True, -1.0), (970, True, True, 0.0))
    assert direct_gain(generic, -4.0) > 0 > direct_gain(generic, 1.0)
    verdict = accept(generic, None, 0.0)
    assert verdict.threshold > 1
    assert verdict.generic_loss == 0


def test_it_declines_when_no_threshold_holds():
    generic = trial((10, True, False, 40.0), (90, True, True, 0.0))
    verdict = accept(generic, trial((ENOUGH, False, True, 40.0)), 0.05)
    assert not verdict.accepted
    assert verdict.generic_loss == 0  # the global expert alone loses nothing
    assert accept(generic, None, 0.1).accepted


def test_it_declines_when_the_user_loses():
    user = trial((ENOUGH - 1, True, True, 0.0), (1, True, False, 5.0))
    verdict = accept(trial((100, True, True, 0.0)), user, 0.002)
    assert not verdict.accepted
    assert verdict.user_gain == pytest.approx(-1 / ENOUGH)
    assert verdict.generic_loss == 0


def test_no_gain_is_not_held_against_the_mixture():
    verdict = accept(trial((100, True, True, 0.0)), trial((ENOUGH, True, True, 5.0)), 0.002)
    assert verdict.accepted
    assert verdict.user_gain == 0


def test_the_user_is_judged_at_the_threshold_that_others_need():
    # The gate is sure enough of five of the user's samples; of five others it is less sure than of ten strangers.
    generic = trial((10, True, False, 3.0), (990, True, True, 0.0))
    user = trial((10, True, True, 0.0), (5, False, True, 9.0), (5, False, True, 1.0))
    verdict = accept(generic, user, 0.002)
    assert direct_gain(user, 0.0) == pytest.approx(0.5)
    assert verdict.user_gain == pytest.approx(0.25) == direct_gain(user, verdict.threshold)


def test_no_threshold_trusts_what_the_gate_itself_does_not():
    assert accept(trial((100, True, True, -3.0)), None, 0.002).threshold == THRESHOLDS[0] == 0


def test_it_accepts_what_the_user_gains():
    user = trial((ENOUGH - 5, True, True, 0.0), (5, False, True, 1.0))
    verdict = accept(trial((100, True, True, 0.0)), user, 0.002)
    assert verdict.accepted
    assert verdict.user_gain == pytest.approx(5 / ENOUGH)


def test_a_few_user_samples_are_no_evidence():
    user = trial((ENOUGH - 1, True, False, 5.0))
    generic = trial((100, True, True, 0.0))
    assert accept(generic, user, 0.002) == accept(generic, None, 0.002)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.002, 0.02, 0.3]), st.booleans(), st.floats(0.1, 20))
def test_generic_accuracy_never_falls_by_more_than_the_budget(seed, budget, known, spread):
    rng = np.random.default_rng(seed)

    def random_trial(n, classes=5):
        numbers = (rng.normal(0, 2, (n, classes)), rng.normal(0, 3, (n, classes)), rng.normal(0, spread, n))
        return Trial(*(a.astype(np.float32) for a in numbers), rng.integers(0, classes, n))

    generic, user = random_trial(200), random_trial(60) if known else None
    verdict = accept(generic, user, budget)
    if verdict.accepted:
        loss = -direct_gain(generic, verdict.threshold)
        assert loss <= budget + 1e-9
        assert verdict.generic_loss == pytest.approx(loss, abs=1e-9)
        if user is not None:
            assert verdict.user_gain == pytest.approx(direct_gain(user, verdict.threshold), abs=1e-9)
            assert verdict.user_gain >= 0
    else:
        assert verdict.generic_loss == 0
