"""Augmentation: reproducible, within range, and each distortion as documented."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import edgemoe.global_expert.augment as module  # noqa: E402
from edgemoe.global_expert.augment import augment  # noqa: E402
from edgemoe.simulator import simulated_samples  # noqa: E402

AMOUNTS = ("ROTATION", "SCALE", "SHEAR", "SHIFT", "WARP", "THICKER", "THINNER")


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(simulated_samples(seed=1, per_class=2)[0])[:, None] / 255


@pytest.fixture
def only(monkeypatch):
    """Switch off all distortions but those given."""

    def switch(**amounts):
        for name in AMOUNTS:
            monkeypatch.setattr(module, name, amounts.get(name, 0.0))

    return switch


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_the_generator_alone_decides(images):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    once = augment(images, seeded(5))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(once, augment(images, seeded(5)))
    assert not torch.equal(once, augment(images, seeded(6)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 8), st.sampled_from(["noise", "solid", "blank", "dots"]))
def test_values_stay_in_range_and_shapes_as_they_were(seed, n, kind):
    picture = {
        "noise": torch.rand(n, 1, 28, 28),
        "solid": torch.ones(n, 1, 28, 28),
        "blank": torch.zeros(n, 1, 28, 28),
        "dots": (torch.rand(n, 1, 28, 28) > 0.9).float(),
    }[kind]
    before = picture.clone()
    result = augment(picture, seeded(seed))
    assert result.shape == picture.shape
    assert result.dtype == torch.float32
    assert result.min() >= 0
    assert result.max() <= 1 + 1e-6  # interpolation rounds
    assert torch.equal(picture, before)
    assert kind != "blank" or not result.any()


def test_each_image_is_distorted_in_its_own_way(images):
    result = augment(images[:1].expand(16, -1, -1, -1), seeded(3))
    assert len({picture.numpy().tobytes() for picture in result}) == 16


def test_without_any_distortion_the_images_are_as_they_were(images, only):
    only()
    torch.testing.assert_close(augment(images, seeded(0)), images, rtol=0, atol=1e-4)


def centres(images):
    weights = images[:, 0] / images.sum((1, 2, 3))[:, None, None]
    where = torch.arange(28.0)
    return torch.stack([(weights.sum(1) * where).sum(1), (weights.sum(2) * where).sum(1)], 1)


def test_a_shift_is_at_most_1_7_pixels_and_as_much_either_way(images, only):
    only(SHIFT=1.7 / 14)
    picture = torch.nn.functional.pad(images[:1, :, 4:-4, 4:-4], (4, 4, 4, 4)).expand(400, -1, -1, -1)
    moved = centres(augment(picture, seeded(0))) - centres(picture)
    assert moved.abs().max() < 1.75
    assert moved.abs().max() > 1.6
    assert moved.mean(0).abs().max() < 0.15


def direct_neighbourhood(picture, pick):
    padded = np.pad(picture, 1, constant_values=np.nan)
    out = np.empty((28, 28))
    for y in range(28):
        for x in range(28):
            out[y, x] = pick(padded[y : y + 3, x : x + 3])
    return out


@pytest.mark.parametrize(("amounts", "pick"), [({"THICKER": 1.1}, np.nanmax), ({"THINNER": 1.1}, np.nanmin)])
def test_a_stroke_grows_or_shrinks_by_half_a_pixel_on_either_side(images, only, amounts, pick):
    only(**amounts)
    result = augment(images[:4], seeded(0))
    for picture, changed in zip(images[:4, 0].numpy(), result[:, 0].numpy(), strict=True):
        expected = (picture + direct_neighbourhood(picture, pick)) / 2
        np.testing.assert_allclose(changed, expected, atol=2e-4)


def test_about_an_eighth_of_the_images_get_thicker_and_as_many_thinner(images, only):
    only(THICKER=module.THICKER, THINNER=module.THINNER)
    picture = images[:1].expand(3000, -1, -1, -1)
    ink = augment(picture, seeded(0)).sum((1, 2, 3)) / picture.sum((1, 2, 3))
    assert (ink > 1.01).float().mean().item() == pytest.approx(0.12, abs=0.02)
    assert (ink < 0.99).float().mean().item() == pytest.approx(0.12, abs=0.02)


def test_scaling_and_shear_change_the_area_by_no_more_than_documented(images, only):
    only(SCALE=0.14, SHEAR=0.25, ROTATION=0.2)
    picture = torch.zeros(500, 1, 28, 28)
    picture[:, :, 10:18, 10:18] = 1  # stays inside the frame
    area = augment(picture, seeded(0)).sum((1, 2, 3)) / 64
    assert area.log().abs().max() < 0.28 + 0.05  # two scales of e^0.14 each; rotation and shear keep the area
    assert area.log().abs().max() > 0.15
