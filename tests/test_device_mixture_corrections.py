"""The mixture learns from corrections, keeps what it learnt, and loses nothing on other people's samples."""

import copy

import numpy as np
import pytest
from verdicts import with_verdict

from edgemoe import EdgemoeError, MixtureOfExperts, Personalizer


@pytest.fixture(scope="module")
def profile(ge, writer):
    return Personalizer(ge).fit(*writer).profile


@pytest.fixture
def moe(ge, profile):
    return MixtureOfExperts(ge, profile)


def wrong_ones(moe, images, labels):
    return [i for i, answer in enumerate(moe.predict(images)) if answer != labels[i]]


def after_ten_corrections(fitted, image, label):
    moe = copy.deepcopy(fitted)
    for _ in range(10):
        moe.learn(image, label)
    return moe.explain(image)


@pytest.mark.parametrize("size", ["compact", "full"])
def test_repeated_corrections_bring_the_right_answer_unless_others_need_the_gate_shut(ge, writer, fresh, size):
    images, labels = fresh
    fitted = Personalizer(ge, size=size).fit(*writer)
    missed = wrong_ones(fitted, images, labels)
    answers = [after_ten_corrections(fitted, images[i], labels[i]) for i in missed]
    right = [answer.labels[0] == labels[i] for answer, i in zip(answers, missed, strict=True)]
    assert len(missed) >= 4
    assert np.mean(right) >= 0.5
    if size == "full":
        assert all(answer.local_labels[0] == labels[i] for answer, i in zip(answers, missed, strict=True))


@pytest.mark.parametrize("size", ["compact", "full"])
def test_the_local_expert_of_a_loaded_profile_learns_on(ge, writer, fresh, tmp_path, size):
    images, labels = fresh
    Personalizer(ge, size=size).fit(*writer).save(tmp_path / "me.moe")
    loaded = MixtureOfExperts.load(tmp_path / "me.moe", ge)
    for index in wrong_ones(loaded, images, labels):
        assert after_ten_corrections(loaded, images[index], labels[index]).local_labels[0] == labels[index]


def test_what_was_learnt_is_saved(ge, moe, fresh, tmp_path):
    images, labels = fresh
    samples = moe.profile.samples
    moe.learn(images[0], labels[0]).learn(images[1], labels[1])
    moe.save(tmp_path / "me.moe")
    loaded = MixtureOfExperts.load(tmp_path / "me.moe", ge)
    assert loaded.profile.samples == samples + 2
    assert np.array_equal(loaded.predict_proba(images), moe.predict_proba(images))


def test_generic_accuracy_holds_after_any_number_of_corrections(ge, moe, fresh):
    images, _ = fresh
    rng = np.random.default_rng(0)
    for index in rng.integers(0, len(images), 30):  # wrong ones, even
        moe.learn(images[index], rng.choice(moe.classes_))
    taps, labels = ge.held_out
    answers = moe._answers(taps, moe._gate(taps))
    loss = (ge.label(taps.logits) == moe.classes_[labels]).mean() - (answers.labels == moe.classes_[labels]).mean()
    assert loss <= 0.002 + 1e-9
    assert moe.profile.verdict.generic_loss == pytest.approx(loss if moe.profile.verdict.accepted else 0)


def test_a_correction_opens_the_gate_and_counts_as_a_sample(ge, profile, fresh):
    images, labels = fresh
    moe = MixtureOfExperts(ge, profile)
    inputs = ge.standardizer.gate_inputs(ge.taps(images))
    odds, before = profile.gate.log_odds(inputs), moe.profile.samples
    row = odds.argmin()  # of what it is sure of already it cannot become surer
    assert moe.learn(images[row], labels[row]) is moe
    assert moe._weights.gate @ inputs[row] + moe._weights.bias > odds[row]
    assert moe.profile.samples == before + 1


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (None, "%", "label: label '%' is none of the 47 classes"),
        (None, "ab", "label 'ab'"),
        (None, "", "label ''"),
        (np.zeros((28, 28), np.float32), "a", "image: expected uint8"),
        (np.zeros((27, 28), np.uint8), "a", "image: expected shape"),
        (np.zeros((2, 28, 28), np.uint8), "a", "image: expected one image, got 2"),
        (np.zeros((0, 28, 28), np.uint8), "a", "image: expected one image, got 0"),
    ],
    ids=str,
)
def test_a_correction_that_is_unusable_changes_nothing(moe, fresh, image, label, message):
    before, exact = moe.profile.to_bytes(), moe._weights
    with pytest.raises(EdgemoeError, match=message):
        moe.learn(fresh[0][0] if image is None else image, label)
    assert moe.profile.to_bytes() == before
    assert moe._weights is exact


def test_corrections_are_merged_onto_the_experts_classes(ge, profile, fresh):
    small, capital = (MixtureOfExperts(ge, profile).learn(fresh[0][0], label) for label in "xX")
    assert small.profile.to_bytes() == capital.profile.to_bytes()


def test_a_correction_does_not_turn_on_what_the_users_own_samples_had_turned_off(ge, profile, fresh):
    declined = MixtureOfExperts(ge, with_verdict(profile, accepted=False, user_gain=0.0))
    declined.learn(fresh[0][0], fresh[1][0])
    assert not declined.profile.verdict.accepted
