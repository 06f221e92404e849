"""Sessions: the gate's memory against a direct recursion, and no look ahead."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemoe import MixtureOfExperts, Personalizer, load_global_expert
from edgemoe.device.gate import CLOSED
from edgemoe.device.session import CAUTION, EVIDENCE, SWITCH
from edgemoe.simulator import generic_samples, simulated_samples


@pytest.fixture(scope="module")
def moe():
    return Personalizer(load_global_expert()).fit(*simulated_samples(seed=6, per_class=5))


@pytest.fixture(scope="module")
def stream():
    """The user and strangers in turns of unequal length."""
    user, user_labels = simulated_samples(seed=6, per_class=3, sample_seed=1)
    people, people_labels = generic_samples(seed=9, per_class=3)
    order = np.random.default_rng(0).permutation(len(user))
    pieces = [
        ((user, user_labels) if turn % 2 else (people, people_labels), order[a:b])
        for turn, (a, b) in enumerate([(0, 25), (0, 40), (25, 26), (40, 60), (26, 80), (60, 61)])
    ]
    return tuple(np.concatenate([source[part][rows] for source, rows in pieces]) for part in range(2))


def forward(odds):
    """The HMM's forward algorithm in its textbook form: joint probabilities, then normalized (Rabiner, III.A)."""
    transition = np.array([[1 - SWITCH, SWITCH], [SWITCH, 1 - SWITCH]])  # rows: user, other
    alpha = np.array([0.5, 0.5])
    for value in odds.astype(np.float64):
        likelihood = np.array([np.exp(np.clip(value, -EVIDENCE, EVIDENCE)), 1.0])
        alpha = (alpha @ transition) * likelihood
        alpha = alpha / alpha.sum()
        yield alpha[0]


def log_odds(moe, images):
    return moe.profile.gate.log_odds(moe.ge.standardizer.gate_inputs(moe.ge.taps(images)))


def test_the_weight_is_the_forward_recursions(moe, stream):
    images, _ = stream
    weights = moe.session().route(images)
    assert weights.dtype == np.float32
    user = np.array(list(forward(log_odds(moe, images))))
    expected = 1 / (1 + (1 - user) / user * np.exp(CAUTION * moe.profile.verdict.threshold))
    assert moe.profile.verdict.threshold > 0
    np.testing.assert_allclose(weights, np.where(expected < CLOSED, 0, expected), atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_an_answer_never_depends_on_what_comes_later(moe, stream, data):
    images, _ = stream
    cut = data.draw(st.integers(1, len(images) - 1))
    seed = data.draw(st.integers(0, 1000))
    later = np.random.default_rng(seed).integers(0, 256, (5, 28, 28), np.uint8)
    whole = moe.session()
    assert np.array_equal(moe.session().predict(images)[:cut], moe.session().predict(images[:cut]))
    assert np.array_equal(
        whole.route(np.concatenate([images[:cut], later]))[:cut],
        moe.session().route(images)[:cut],
    )


def test_images_one_by_one_are_answered_as_all_at_once(moe, stream):
    images, _ = stream
    alone, together = moe.session(), moe.session()
    assert [alone.predict(image)[0] for image in images[:40]] == together.predict(images[:40]).tolist()
    assert alone.predict(images[40:]).tolist() == together.predict(images[40:]).tolist()


def test_sessions_do_not_share_their_memory(moe, stream):
    images, _ = stream
    expected = moe.session().route(images[:10])
    busy = moe.session()
    busy.route(images[30:60])
    assert np.array_equal(moe.session().route(images[:10]), expected)
    assert not np.array_equal(busy.route(images[:10]), expected)


def test_no_images_leave_the_memory_as_it_was(moe, stream):
    images, _ = stream
    session, other = moe.session(), moe.session()
    session.route(images[:5])
    other.route(images[:5])
    assert session.predict(images[:0]).shape == (0,)
    assert np.array_equal(session.route(images[5:9]), other.route(images[5:9]))


def test_memory_routes_better_than_one_sample_at_a_time(moe):
    user, _ = simulated_samples(seed=6, per_class=2, sample_seed=4)
    people, _ = generic_samples(seed=11, per_class=2)
    unmoved = MixtureOfExperts(
        moe.ge, dataclasses.replace(moe.profile, verdict=dataclasses.replace(moe.profile.verdict, threshold=0.0))
    )

    def misrouted(view):
        return (view().route(user) < 0.5).mean() + (view().route(people) > 0.5).mean()

    assert misrouted(moe.session) < 0.5 * misrouted(lambda: unmoved)


def test_no_single_outlier_flips_the_memory(moe):
    session = moe.session()
    odds = list(session._filter(np.array([4, 4, 4, 4, -1e9, 4], np.float32)))
    assert odds[4] > -2
    assert odds[5] > 2


def test_a_declined_profile_answers_with_the_global_expert_in_sessions_too(moe, stream):
    images, _ = stream
    verdict = dataclasses.replace(moe.profile.verdict, accepted=False)
    declined = MixtureOfExperts(moe.ge, dataclasses.replace(moe.profile, verdict=verdict)).session()
    assert not declined.route(images).any()
    assert np.array_equal(declined.predict(images), moe.ge.predict(images))


def test_answers_are_blended_with_the_remembered_weight(moe, stream):
    images, _ = stream
    weights = moe.session().route(images)[:, None]
    answers = moe.explain(images)
    assert not np.allclose(answers.gate, weights[:, 0], atol=0.1)  # memory makes a difference
    taps = moe.ge.taps(images)
    correction = moe.profile.local.correct(moe.ge.standardizer.local_inputs(taps))
    parts = [np.exp(s) / np.exp(s).sum(1, keepdims=True) for s in (taps.logits, taps.logits + correction)]
    expected = moe.classes_[((1 - weights) * parts[0] + weights * parts[1]).argmax(1)]
    assert np.array_equal(moe.session().predict(images), expected)


def test_answers_of_less_probability_than_asked_for_are_left_out(moe, stream):
    images, _ = stream
    answers, kept = moe.session().predict(images), moe.session().predict(images, reject=0.8)
    assert 0 < (kept == "").mean() < 0.9
    assert np.array_equal(kept[kept != ""], answers[kept != ""])
