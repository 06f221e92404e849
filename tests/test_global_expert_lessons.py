"""Lessons hold a teacher's own answers, and training on them is training with that teacher."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from networks import settled  # noqa: E402

from edgemoe.global_expert.augment import augment  # noqa: E402
from edgemoe.global_expert.layers import to_input  # noqa: E402
from edgemoe.global_expert.lessons import Ensemble, prepare_lessons  # noqa: E402
from edgemoe.global_expert.train import Recipe, train  # noqa: E402

CLASSES = "01234"


@pytest.fixture(scope="module")
def teacher():
    return settled((3, 4, 6), 5, dropout=0.5)


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (300, 28, 28), np.uint8), rng.integers(0, 5, 300)


def test_each_variant_has_the_teachers_logits(teacher, samples):
    lessons = prepare_lessons(teacher, *samples, variants=2)
    assert lessons.images.shape == (3, 300, 28, 28)
    assert np.array_equal(lessons.images[0], samples[0])
    assert not np.array_equal(lessons.images[1], lessons.images[2])
    for images, logits in zip(lessons.images, lessons.logits, strict=True):
        with torch.inference_mode():
            exact = teacher.eval()(to_input(torch.from_numpy(images))).numpy()
        np.testing.assert_allclose(logits, exact, atol=0.05 * np.abs(exact).max())  # bfloat16 keeps 8 bits


def test_an_ensemble_answers_with_its_members_mean_and_is_a_teacher_as_any(teacher, samples):
    members = [teacher, settled((4, 3, 7), 5, seed=3), settled((2, 2, 5), 5, seed=4)]
    ensemble = Ensemble(members).eval()
    inputs = to_input(torch.from_numpy(samples[0][:50]))
    with torch.inference_mode():
        logits = ensemble(inputs).numpy()
        apart = [member.eval()(inputs).numpy() for member in members]
    np.testing.assert_allclose(logits, sum(apart) / 3, rtol=1e-5, atol=1e-6)
    # Its distribution is the geometric mean of theirs.
    shares = [np.exp(a - a.max(1, keepdims=True)) for a in apart]
    shares = [share / share.sum(1, keepdims=True) for share in shares]
    geometric = np.prod(shares, axis=0) ** (1 / 3)
    np.testing.assert_allclose(
        torch.from_numpy(logits).softmax(1).numpy(), geometric / geometric.sum(1, keepdims=True), rtol=1e-4
    )
    lessons = prepare_lessons(ensemble, *samples, variants=1)
    np.testing.assert_allclose(lessons.logits[0, :50], logits, atol=0.05 * np.abs(logits).max())


def test_the_distortions_are_those_of_training_at_the_strength_asked(teacher, samples):
    images, labels = samples
    lessons = prepare_lessons(teacher, images, labels, 1, seed=3, strength=0.5)
    generator = torch.Generator().manual_seed(3)
    for start in (0, 256):
        drawn = augment(to_input(torch.from_numpy(images[start : start + 256])), generator, 0.5)
        expected = (drawn[:, 0].clamp(0, 1) * 255).round().numpy()
        assert np.array_equal(lessons.images[1, start : start + 256], expected)


def test_no_strength_is_no_distortion(samples):
    inputs = to_input(torch.from_numpy(samples[0][:20]))
    drawn = augment(inputs, torch.Generator().manual_seed(0), 0.0)
    torch.testing.assert_close(drawn, inputs, atol=1e-4, rtol=0)
    assert not torch.allclose(augment(inputs, torch.Generator().manual_seed(0), 0.1), inputs, atol=1e-2)


def test_epochs_take_the_variants_in_turn_and_plain_ones_none(teacher, samples):
    lessons = prepare_lessons(teacher, *samples, variants=2)
    taken = [lessons.of_epoch(epoch, distorted) for epoch in range(4) for distorted in (True, False)]
    variants = [next(v for v in range(3) if np.array_equal(images.numpy(), lessons.images[v])) for images, _ in taken]
    assert variants == [1, 0, 2, 0, 1, 0, 2, 0]
    assert all(np.array_equal(known.numpy(), lessons.logits[v]) for (_, known), v in zip(taken, variants, strict=True))
    only = prepare_lessons(teacher, *samples, variants=0)
    assert np.array_equal(only.of_epoch(5, True)[0].numpy(), samples[0])


def test_learning_from_lessons_is_learning_from_the_teacher(teacher, samples):
    recipe = Recipe(epochs=0, plain=2, batch=64, rate=4e-3)
    made = []
    for source in (teacher, prepare_lessons(teacher, *samples, variants=0)):
        model = settled((2, 3, 4), 5, seed=1, dropout=0)
        train(model, CLASSES, *samples, recipe, teacher=source)
        made.append(model)
    with torch.inference_mode():
        online, kept = (model(to_input(torch.from_numpy(samples[0]))).numpy() for model in made)
    assert np.corrcoef(online.ravel(), kept.ravel())[0, 1] > 0.99  # half floats and bfloat16, otherwise the same steps
    alone = settled((2, 3, 4), 5, seed=1, dropout=0)
    train(alone, CLASSES, *samples, dataclasses.replace(recipe, distill=0.0), teacher=None)
    with torch.inference_mode():
        apart = alone(to_input(torch.from_numpy(samples[0]))).numpy()
    assert np.abs(online - kept).mean() < 0.2 * np.abs(online - apart).mean()
