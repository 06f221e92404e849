"""SWaST: which samples are kept, that channels and samples come back, and that the result is an ordinary network."""

import importlib
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from networks import settled  # noqa: E402

from edgemoe.errors import EdgemoeError  # noqa: E402
from edgemoe.global_expert.lenet5 import lenet5, widths  # noqa: E402
from edgemoe.global_expert.lessons import Lessons, prepare_lessons  # noqa: E402
from edgemoe.global_expert.train import Recipe  # noqa: E402
from edgemoe.pruning.criteria import CRITERIA, Criterion  # noqa: E402
from edgemoe.pruning.schedules.gates import gates_of  # noqa: E402
from edgemoe.pruning.schedules.swast import el2n, swast, tailor  # noqa: E402

module = importlib.import_module("edgemoe.pruning.schedules.swast")  # the package names its function so

SHAPE = (4, 6, 12)


@pytest.fixture(scope="module")
def model():
    return settled(SHAPE, 5, dropout=0)


@pytest.fixture(scope="module")
def lessons(model):
    rng = np.random.default_rng(0)
    labels = rng.choice(5, 240, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    return prepare_lessons(model, rng.integers(0, 256, (240, 28, 28), np.uint8), labels, 1)


@pytest.fixture
def epochs(monkeypatch):
    """What each epoch of a run was given: its images and logits, and the channels that were open."""
    seen, networks = [], []
    insert_gates, of_epoch = module.insert_gates, module._Tailored.of_epoch

    def keeping(network):
        networks.append(insert_gates(network))
        return networks[-1]

    def watched(self, epoch, distorted):
        images, logits = of_epoch(self, epoch, distorted)
        masks = [gate.mask.clone() for gate in gates_of(networks[-1]).values()]
        seen.append((images, logits, masks, self.rows.copy()))
        return images, logits

    monkeypatch.setattr(module, "insert_gates", keeping)
    monkeypatch.setattr(module._Tailored, "of_epoch", watched)
    return seen


def recipe(epochs):
    return Recipe(epochs=epochs - 1, plain=1, batch=32, rate=0.02)


@pytest.mark.parametrize("keep", [0, 1, 3, 7])
def test_the_samples_that_teach_most_are_kept_in_their_order(keep):
    scores = np.array([0.1, 0.9, 0.5, 0.9, 0.0, 0.5, 0.3])
    by_hand = sorted(sorted(range(7), key=lambda i: (-scores[i], i))[:keep])
    assert tailor(scores, keep).tolist() == by_hand


@pytest.mark.parametrize("keep", [-1, 8])
def test_more_samples_than_there_are_cannot_be_kept(keep):
    with pytest.raises(EdgemoeError, match=f"samples to keep: {keep}, expected 0 to 7"):
        tailor(np.zeros(7), keep)


def test_el2n_is_the_norm_of_the_losss_gradient_by_the_logits():
    torch.manual_seed(0)
    logits, labels = 3 * torch.randn(20, 6), torch.randint(0, 6, (20,))
    logits.requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), logits)[0]
    scores = el2n(logits.detach().numpy(), labels.numpy())
    np.testing.assert_allclose(scores, gradient.norm(dim=1).numpy(), rtol=1e-5)
    assert el2n(np.eye(3, dtype=np.float32) * 1e4, np.array([1, 1, 1])) == pytest.approx([2**0.5, 0, 2**0.5])


@pytest.mark.parametrize("total", [0, 1, 2, 3, 5])
def test_the_result_is_an_ordinary_network_of_the_shape_and_the_model_is_left(model, lessons, total):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = Recipe(epochs=max(0, total - 1), plain=min(1, total), batch=64)
    small, _ = swast(model, (2, 3, 5), CRITERIA["magnitude"], lessons, run)
    assert widths(small) == (2, 3, 5)
    assert not small.training
    lenet5((2, 3, 5), 5).load_state_dict(small.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_and_samples_are_tailored_in_turn(model, lessons, epochs):
    swast(model, (1, 2, 4), CRITERIA["magnitude"], lessons, recipe(8), keep=0.5)
    rows, opened = [e[3] for e in epochs], [[int(m.sum()) for m in e[2]] for e in epochs]
    same_rows = [np.array_equal(a, b) for a, b in itertools.pairwise(rows)]
    assert same_rows == [False, True, False, True, False, True, False]  # epochs 1, 3, 5 and 7 have others
    assert opened[0] == opened[1] > opened[2] == opened[3] > opened[4] == [1, 2, 4]  # epochs 2 and 4 have fewer
    assert opened[4:] == [[1, 2, 4]] * 4


def test_an_epoch_sees_the_hardest_share_of_each_class_with_their_own_answers(model, lessons, epochs):
    swast(model, (2, 3, 5), CRITERIA["magnitude"], lessons, recipe(3), keep=0.3)
    first = epochs[0][3]
    with torch.inference_mode():  # the first choice is the untouched network's
        answers = model(torch.from_numpy(lessons.images[0]).unsqueeze(1) / 255).softmax(1)
    errors = (answers - F.one_hot(torch.from_numpy(lessons.labels), 5)).norm(dim=1).numpy()
    for label in range(5):
        members = np.flatnonzero(lessons.labels == label)
        hardest = members[np.argsort(-errors[members])[: int(np.ceil(0.3 * len(members)))]]
        assert set(first[lessons.labels[first] == label]) == set(hardest)
    for epoch, (images, logits, _, rows) in enumerate(epochs):
        variant = 1 if epoch < 2 else 0
        np.testing.assert_array_equal(images.numpy(), lessons.images[variant][rows])
        np.testing.assert_array_equal(logits.numpy(), lessons.logits[variant][rows])
        np.testing.assert_array_equal(lessons.labels[rows], lessons.labels[first])  # what the targets stay


def test_samples_that_were_dropped_come_back(model, lessons, epochs):
    swast(model, (2, 3, 5), CRITERIA["magnitude"], lessons, recipe(8), keep=0.4)
    sets = [set(e[3].tolist()) for e in epochs]
    assert any(
        sets[i] - sets[j] & sets[k] for i in (0,) for j in (1,) for k in (3, 5, 7) if sets[i] & sets[k] - sets[j]
    )


def test_a_channel_that_was_shut_comes_back_with_its_weights(model, lessons, epochs):
    found = []

    def fickle(network, images, labels):
        """First the first channels are worst, then the last ones."""
        found.append(network.conv1.weight.detach().clone())
        ascending = len(found) == 1
        layers = {"conv1": 4, "conv2": 6, "dense3": 12}
        return {name: torch.arange(n).float() if ascending else -torch.arange(n).float() for name, n in layers.items()}

    swast(model, (2, 3, 5), Criterion("fickle", channels=fickle), lessons, recipe(4), keep=0.5)
    assert len(found) == 2
    shut, back = epochs[0][2][0] == 0, epochs[2][2][0] == 1
    assert (shut & back).any()
    drift = (found[1] - model.conv1.weight.detach()).abs().flatten(1).amax(1)
    assert (drift[shut] < 1e-3).all()  # weight decay is all that moved them
    assert (drift[~shut] > 1e-2).all()


def test_the_lessons_are_left_as_they_are(model, lessons):
    before = [array.copy() for array in (lessons.images, lessons.logits, lessons.labels)]
    swast(model, (2, 3, 5), CRITERIA["magnitude"], lessons, recipe(3))
    assert all(map(np.array_equal, before, (lessons.images, lessons.logits, lessons.labels)))


@pytest.mark.parametrize("keep", [0, -0.5, 1.5, float("nan")])
def test_a_share_of_samples_that_is_none_is_refused(model, lessons, keep):
    with pytest.raises(EdgemoeError, match="share of samples to keep"):
        swast(model, (2, 3, 5), CRITERIA["magnitude"], lessons, recipe(2), keep=keep)


def test_a_shape_outside_the_models_is_refused_before_training(model):
    empty = Lessons(np.zeros((1, 0, 28, 28), np.uint8), np.zeros((1, 0, 5), np.float16), np.zeros(0, np.int64))
    with pytest.raises(EdgemoeError, match="does not lie within 4-6-12"):
        swast(model, (9, 3, 5), CRITERIA["magnitude"], empty, recipe(2))
