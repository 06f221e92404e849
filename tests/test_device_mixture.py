"""The mixture: its answers against a direct formula, and its binding to one expert."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from verdicts import with_verdict

from edgemoe import EdgemoeError, GlobalExpert, MixtureOfExperts, Personalizer
from edgemoe.device.acceptance import Verdict
from edgemoe.device.gate import CLOSED
from edgemoe.device.mixture import held_out_trial
from edgemoe.device.profile import Profile
from edgemoe.device.symbols import FAR, RARE
from edgemoe.simulator import simulated_samples


@pytest.fixture(scope="module")
def profile(ge, writer):
    return Personalizer(ge).fit(*writer).profile


@pytest.fixture
def moe(ge, profile):
    return MixtureOfExperts(ge, profile)


def other_expert(ge, mark="00" * 32):
    return GlobalExpert(dataclasses.replace(ge.bundle, metadata={**ge.metadata, "fingerprint": mark, "name": "other"}))


def direct_answers(ge, profile, images):
    """The whole forward pass in float64, from the graph's taps and the profile's integers."""
    taps, statistics = ge.taps(images), ge.bundle.statistics

    def pooled(features):
        maps = features.reshape(len(features), -1, 5, 5)
        quarters = [maps[:, :, y : y + 3, x : x + 3].mean((2, 3)) for y in (0, 2) for x in (0, 2)]
        return np.stack(quarters, 2).reshape(len(features), -1)

    def standardized(view, scale):
        mean, values = (view(features.astype(np.float64)) for features in (statistics.mean[None], taps.features))
        return (values - mean) / scale

    def dequantized(matrix):
        return matrix.codes * matrix.scales.astype(np.float64)[:, None]

    local = dequantized(profile.local.weights)
    correction = standardized(pooled, statistics.pooled_scale) @ local[:, :-1].T + local[:, -1]
    inputs = standardized(lambda features: features, statistics.feature_scale)
    odds = inputs @ dequantized(profile.gate.weights)[0] + profile.gate.bias
    gate = 1 / (1 + np.exp(profile.verdict.threshold - odds))
    spare, together = len(profile.symbols), np.log(np.exp(taps.logits.astype(np.float64)).sum(1, keepdims=True))
    taught = (local[len(local) - spare :] != 0).any(1)
    logits = [np.hstack([taps.logits, together - base]) for base in (np.full(spare, FAR), np.where(taught, RARE, FAR))]
    first, second = (np.exp(s) / np.exp(s).sum(1, keepdims=True) for s in (logits[0], logits[1] + correction))
    gate[gate < CLOSED] = 0
    return (1 - gate)[:, None] * first + gate[:, None] * second, gate, odds


def test_probabilities_and_routing_are_the_formulas(ge, moe, profile, fresh):
    images, _ = fresh
    probabilities, gate, _ = direct_answers(ge, profile, images)
    np.testing.assert_allclose(moe.route(images), gate, atol=3e-5)
    np.testing.assert_allclose(moe.predict_proba(images), probabilities, atol=3e-5)
    assert moe.route(images).dtype == moe.predict_proba(images).dtype == np.float32
    assert moe.route(images).shape == (len(images),)
    assert ((moe.route(images) >= 0) & (moe.route(images) <= 1)).all()


@pytest.mark.parametrize("size", ["compact", "full"])
def test_the_formulas_hold_for_spare_symbols_too(ge, size):
    moe = Personalizer(ge, size, symbols="é@").fit(*simulated_samples(3, 3, ge.classes + "@"))
    images, _ = simulated_samples(3, 1, ge.classes + "@", sample_seed=1)
    probabilities, gate, _ = direct_answers(ge, moe.profile, images)
    np.testing.assert_allclose(moe.route(images), gate, atol=3e-5)
    np.testing.assert_allclose(moe.predict_proba(images), probabilities, atol=3e-5)


def test_answers_follow_the_profile_through_every_change(ge, writer, fresh, tmp_path):
    """What is folded of one profile must not answer for the next."""
    images, labels = fresh
    moe = Personalizer(ge, "full").fit(*writer)  # in few bits one correction may change no weight

    def check():
        expected = direct_answers(ge, moe.profile, images[:40])[0]
        np.testing.assert_allclose(moe.predict_proba(images[:40]), expected, atol=3e-5)
        return expected

    seen = [check()]
    for change in (
        lambda: moe.learn(images[0], labels[1]),
        lambda: moe.learn(images[2], labels[2]),
        lambda: moe.undo(),
        lambda: moe.forget(images[0]),
        lambda: moe.fit(images[:60], labels[:60]),
    ):
        change()
        seen.append(check())
        assert not np.array_equal(seen[-1], seen[-2])
    assert np.array_equal(seen[3], seen[1])
    moe.save(tmp_path / "me.moe")
    moe = Personalizer.load(tmp_path / "me.moe", ge)
    check()


def test_copies_and_pickles_hold_no_folded_matrix_and_answer_alike(moe, fresh):
    images, _ = fresh
    expected = moe.predict_proba(images)
    for copied in (copy.copy(moe), copy.deepcopy(moe), pickle.loads(pickle.dumps(moe))):
        assert np.array_equal(copied.predict_proba(images), expected)
    assert len(pickle.dumps(moe)) == len(pickle.dumps(MixtureOfExperts(moe.ge, moe.profile)))


def test_the_answer_is_the_likeliest_class(moe, fresh):
    images, labels = fresh
    probabilities = moe.predict_proba(images)
    assert np.array_equal(moe.predict(images), moe.classes_[probabilities.argmax(1)])
    assert moe.score(images, labels) == pytest.approx((moe.predict(images) == labels).mean())
    assert "".join(moe.classes_) == moe.ge.classes


def test_explain_tells_each_experts_answer(ge, moe, profile, fresh):
    images, labels = fresh
    answers = moe.explain(images)
    assert np.array_equal(answers.labels, moe.predict(images))
    assert np.array_equal(answers.global_labels, ge.predict(images))
    assert np.array_equal(answers.gate, moe.route(images))
    always = MixtureOfExperts(ge, with_verdict(profile, threshold=-1e6))
    assert np.array_equal(answers.local_labels, always.predict(images))
    # What personalization is for: the mixture is better than the global expert on the user's fresh samples.
    assert (answers.labels == labels).mean() > (answers.global_labels == labels).mean() + 0.1


def test_a_closed_gate_and_a_declined_profile_leave_the_global_expert_alone(ge, profile, fresh):
    images, _ = fresh
    declined = MixtureOfExperts(ge, with_verdict(profile, accepted=False))
    closed = MixtureOfExperts(ge, with_verdict(profile, threshold=1e6))
    for moe in (declined, closed):
        assert not moe.route(images).any()
        assert np.array_equal(moe.predict_proba(images), ge.predict_proba(images))
        assert np.array_equal(moe.predict(images), ge.predict(images))


def test_one_image_needs_no_batch(moe, fresh):
    images, _ = fresh
    assert moe.predict(images[0]).tolist() == moe.predict(images)[:1].tolist()
    assert moe.route(images[0]).shape == (1,)
    assert moe.predict(images[:0]).shape == (0,)


def test_labels_are_merged_for_the_score(moe, fresh):
    images, labels = fresh
    small = np.array([label.lower() if label in "CIJKLMOPSUVWXYZ" else label for label in labels])
    assert (small != labels).any()
    assert moe.score(images, small) == moe.score(images, labels)


def test_a_saved_profile_answers_as_before(ge, moe, fresh, tmp_path):
    images, _ = fresh
    moe.save(tmp_path / "me.moe")
    back = MixtureOfExperts.load(tmp_path / "me.moe", ge)
    assert np.array_equal(back.predict_proba(images), moe.predict_proba(images))
    assert back.profile.to_bytes() == moe.profile.to_bytes() == (tmp_path / "me.moe").read_bytes()


def test_a_profile_of_another_expert_is_refused_by_the_names_of_both(ge, moe, tmp_path):
    moe.save(tmp_path / "me.moe")
    with pytest.raises(EdgemoeError, match=rf"me\.moe: .*{ge.fingerprint.hex()[:8]}.*00000000 \(other\)"):
        MixtureOfExperts.load(tmp_path / "me.moe", other_expert(ge))
    with pytest.raises(EdgemoeError, match="was made for the global expert"):
        MixtureOfExperts(other_expert(ge), moe.profile)
    # The last byte of the half that a profile keeps counts too.
    near = ge.fingerprint[:15] + bytes([ge.fingerprint[15] ^ 1]) + ge.fingerprint[16:]
    with pytest.raises(EdgemoeError, match="was made for the global expert"):
        MixtureOfExperts(other_expert(ge, near.hex()), moe.profile)


def test_weights_of_the_wrong_size_are_refused_even_under_the_right_fingerprint(ge, profile):
    def cut(part, columns=None, rows=None):
        weights = part.weights
        codes, scales = weights.codes[:rows, :columns], weights.scales
        if len(scales) == len(weights.codes):  # of 2 bits there is one scale
            scales = scales[:rows]
        return dataclasses.replace(part, weights=dataclasses.replace(weights, codes=codes, scales=scales))

    for wrong in (
        dataclasses.replace(profile, local=cut(profile.local, columns=-1)),
        dataclasses.replace(profile, local=cut(profile.local, rows=-1)),
        dataclasses.replace(profile, gate=cut(profile.gate, columns=-1)),
    ):
        with pytest.raises(EdgemoeError, match="do not fit the global expert"):
            MixtureOfExperts(ge, Profile.from_bytes(wrong.to_bytes()))


def test_the_trial_on_the_held_out_half_is_the_forward_pass(ge, profile):
    trial = held_out_trial(ge, profile.local, profile.gate)
    taps, labels = ge.held_out
    scale = ge.standardizer
    assert np.array_equal(trial.labels, labels)
    assert np.array_equal(trial.logits, taps.logits)
    np.testing.assert_allclose(trial.correction, profile.local.correct(scale.local_inputs(taps)), atol=1e-6)
    np.testing.assert_allclose(trial.log_odds, profile.gate.log_odds(scale.gate_inputs(taps)), atol=1e-6)
    wrong, right = trial.turned(profile.verdict.threshold)
    assert (wrong - right) / len(labels) == pytest.approx(profile.verdict.generic_loss)


def test_the_verdict_survives_the_file(ge, profile, tmp_path):
    verdict = Verdict(False, 1.5, 0.25, None, 0.75, 30)
    MixtureOfExperts(ge, dataclasses.replace(profile, verdict=verdict)).save(tmp_path / "me.moe")
    assert MixtureOfExperts.load(tmp_path / "me.moe", ge).profile.verdict == verdict


@pytest.mark.parametrize("labels", [["0"], ["0"] * 5, []], ids=len)
def test_a_score_against_too_few_labels_is_refused(moe, fresh, labels):
    with pytest.raises(EdgemoeError, match="labels: "):
        moe.score(fresh[0][:6], labels)
