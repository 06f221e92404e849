"""A VGG has the layers of its shape, trains as any network here, and comes back from its checkpoint."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgemoe.global_expert.architectures import architecture_of, build_network  # noqa: E402
from edgemoe.global_expert.checkpoint import load_checkpoint  # noqa: E402
from edgemoe.global_expert.layers import parameter_count  # noqa: E402
from edgemoe.global_expert.lenet5 import lenet5, widths  # noqa: E402
from edgemoe.global_expert.train import Recipe, train  # noqa: E402
from edgemoe.global_expert.vgg import VGG_SHAPE, vgg  # noqa: E402


def test_its_parameters_are_those_of_its_shape():
    count = 24 * (25 + 1) + 48 * (24 * 9 + 1) + 48 * (48 * 9 + 1) + 96 * (48 * 9 + 1) + 96 * (96 * 9 + 1)
    count += 256 * (96 * 49 + 1) + 47 * (256 + 1)
    model = vgg(VGG_SHAPE, 47)
    assert widths(model) == VGG_SHAPE
    assert parameter_count(model) == count


def test_it_gives_a_logit_a_class_and_pools_twice():
    model = vgg((2, 3, 4, 5), 11).eval()
    images, seen = torch.rand(3, 1, 28, 28), []
    for layer in model:
        images = layer(images)
        seen.append(tuple(images.shape[1:]))
    assert seen[-1] == (11,)
    assert {shape[1] for shape in seen if len(shape) == 3} == {28, 14, 7}


def test_each_network_is_told_by_its_architecture():
    assert architecture_of(vgg((2, 3, 4, 5), 11)) == "vgg"
    assert architecture_of(lenet5((2, 3, 4, 5), 11)) == "lenet5"


def test_a_run_is_resumed_and_its_checkpoint_is_the_network(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 28, 28), np.uint8), rng.integers(0, 3, 60)

    def network(seed):
        torch.manual_seed(seed)
        return vgg((2, 3, 3, 6), 3, 0.4)

    recipe, whole, resumed = Recipe(1, 1, batch=20), network(0), network(7)
    train(whole, "abd", images, labels, recipe)

    def stop(event):
        if event.get("epoch") == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(0), "abd", images, labels, recipe, state=tmp_path / "run.npz", progress=stop)
    train(resumed, "abd", images, labels, recipe, state=tmp_path / "run.npz")
    kept = load_checkpoint(tmp_path / "run.npz")
    assert (kept.architecture, kept.shape, kept.epoch) == ("vgg", [2, 3, 3, 6], 2)
    rebuilt = build_network(kept)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])
        assert torch.equal(value, rebuilt.state_dict()[name])
