"""Spare symbols: taught, kept, and impossible to the global expert alone."""

import numpy as np
import pytest

from edgemoe import EdgemoeError, MixtureOfExperts, Personalizer
from edgemoe.device.symbols import FAR, RARE, lift, spare_logits
from edgemoe.simulator import SYMBOLS, generic_samples, simulated_samples


@pytest.fixture(scope="module")
def moe(ge):
    return Personalizer(ge, symbols=SYMBOLS).fit(*simulated_samples(3, 5, ge.classes + SYMBOLS))


def test_the_base_is_the_log_sum_exp_less_a_constant():
    logits = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32) * 20
    spare = spare_logits(logits, np.array([True, False]))
    together = np.log(np.exp(logits.astype(np.float64)).sum(axis=1))
    np.testing.assert_allclose(spare[:, 7], together - RARE, atol=1e-4)
    np.testing.assert_allclose(spare[:, 8], together - FAR, atol=1e-3)
    far = spare_logits(logits, np.zeros(2, bool))
    np.testing.assert_allclose(far + lift(np.zeros_like(far), np.array([True, False])), spare, atol=1e-3)


def test_symbols_are_read_the_other_characters_as_before_and_other_people_lose_nothing(ge, moe):
    fresh, labels = simulated_samples(3, 5, ge.classes + SYMBOLS, sample_seed=1)
    new = np.isin(labels, list(SYMBOLS))
    plain = Personalizer(ge).fit(*simulated_samples(3, 5))
    assert (moe.explain(fresh[new]).local_labels == labels[new]).mean() > 0.85
    assert moe.score(fresh[new], labels[new]) > 0.7  # of one sample the gate is not as sure as it must be for a symbol
    assert moe.score(fresh[~new], labels[~new]) > plain.score(fresh[~new], labels[~new]) - 0.04
    images, truth = generic_samples(5, 10)
    assert moe.score(images, truth) > (ge.predict(images) == truth).mean() - 0.02


def test_the_columns_follow_the_classes_and_the_global_expert_never_answers_a_symbol(ge, moe):
    images, _ = simulated_samples(3, 2, SYMBOLS, sample_seed=2)
    answers = moe.explain(images)
    assert "".join(moe.classes_) == ge.classes + SYMBOLS
    assert answers.probabilities.shape == (12, 47 + len(SYMBOLS))
    np.testing.assert_allclose(answers.probabilities.sum(axis=1), 1, atol=1e-5)
    assert not set(answers.global_labels) & set(SYMBOLS)
    assert set(answers.local_labels) & set(SYMBOLS)
    shut = answers.gate == 0
    assert not answers.probabilities[shut, 47:].any()


def test_a_symbol_that_was_not_taught_is_never_answered(ge, writer):
    moe = Personalizer(ge, symbols="@").fit(*writer)
    plain = Personalizer(ge).fit(*writer)
    images = np.concatenate([writer[0], simulated_samples(3, 5, SYMBOLS)[0]])
    assert not moe.predict_proba(images)[:, 47].any()
    same = moe.explain(images).local_labels == plain.explain(images).local_labels
    assert same.mean() > 0.9  # but for the rounding of few bits, which sees a row more


def test_symbols_are_taught_one_by_one_and_kept_with_the_profile(ge, writer, tmp_path):
    moe = Personalizer(ge, symbols="@é").fit(*writer)
    images, labels = simulated_samples(3, 12, "@")
    for image in images[:8]:
        moe.learn(image, "@")
    assert (moe.predict(images[8:]) == "@").mean() > 0.5
    moe.save(tmp_path / "me.moe")
    moe.save_support(tmp_path / "me.npz")
    for back in (
        MixtureOfExperts.load(tmp_path / "me.moe", ge),
        Personalizer.load(tmp_path / "me.moe", ge, tmp_path / "me.npz"),
    ):
        assert np.array_equal(back.predict_proba(images), moe.predict_proba(images))
        assert back.learn(images[9], "@").profile.symbols == "@é"
        assert back.session().predict(images).shape == labels.shape


def test_without_leave_a_symbol_is_a_mistyped_label(ge, writer):
    for moe in (Personalizer(ge), Personalizer(ge, symbols="é")):
        with pytest.raises(EdgemoeError, match=r"label '@' is none of the 4[78] classes"):
            moe.fit(writer[0][:2], ["A", "@"])
