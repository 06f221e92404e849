"""Pruning schedules: each ends at the target shape after the recipe's steps, and does what it is named after."""

from collections import OrderedDict

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
from networks import settled  # noqa: E402
from scipy.optimize import brentq  # noqa: E402
from scipy.special import expit, softmax  # noqa: E402
from torch import nn  # noqa: E402
from torch.optim.optimizer import register_optimizer_step_post_hook  # noqa: E402

from edgemoe.errors import EdgemoeError  # noqa: E402
from edgemoe.global_expert.export import to_onnx  # noqa: E402
from edgemoe.global_expert.layers import parameter_count  # noqa: E402
from edgemoe.global_expert.lenet5 import fold_normalization, lenet5, widths  # noqa: E402
from edgemoe.global_expert.lessons import Lessons  # noqa: E402
from edgemoe.global_expert.train import Recipe, accuracy  # noqa: E402
from edgemoe.pruning.criteria import CRITERIA, Criterion  # noqa: E402
from edgemoe.pruning.schedules import SCHEDULES, find_schedule  # noqa: E402
from edgemoe.pruning.schedules.dpp import Drawn, relaxed_top  # noqa: E402
from edgemoe.pruning.schedules.gates import top_mask  # noqa: E402
from edgemoe.pruning.schedules.rewire import Sensing, exchange  # noqa: E402
from edgemoe.pruning.schedules.schedule import narrowed  # noqa: E402

BEFORE, SHAPE = (4, 6, 12, 8), (3, 4, 8, 6)
MAGNITUDE = CRITERIA["magnitude"]


def lessons_of(images, labels, classes):
    answers = np.where(labels[:, None] == np.arange(classes), 6, 0).astype(np.float16)
    return Lessons(images[None], answers[None], labels)


@pytest.fixture(scope="module")
def corners():
    """Four classes: which corner is bright."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 60, (256, 28, 28), np.uint8), rng.integers(0, 4, 256)
    for image, label in zip(images, labels, strict=True):
        row, column = 14 * (label // 2), 14 * (label % 2)
        image[row : row + 14, column : column + 14] += 150
    return lessons_of(images, labels, 4)


@pytest.fixture
def steps():
    """Counts the steps of every optimizer."""
    taken = []
    handle = register_optimizer_step_post_hook(lambda optimizer, args, kwargs: taken.append(1))
    yield taken
    handle.remove()


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_returns_a_trained_smaller_network_after_the_recipes_steps(name, corners, steps):
    model = settled(BEFORE, 4, dropout=0.1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    recipe = Recipe(epochs=7, plain=1, batch=32, rate=1e-2)
    pruned, _ = SCHEDULES[name](model, SHAPE, MAGNITUDE, corners, recipe)
    assert len(steps) == 8 * (6 if name == "swast" else 8)  # epochs, batches: SWaST sets samples aside
    assert widths(pruned) == SHAPE
    assert not pruned.training
    assert [type(m) for m in pruned] == [type(m) for m in model]
    lenet5(SHAPE, 4).load_state_dict(pruned.state_dict())  # an ordinary LeNet-5, which a checkpoint can hold
    assert accuracy(pruned, corners.images[0], corners.labels) > 0.7  # chance is 0.25
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    files = [len(to_onnx(fold_normalization(network))) for network in (model, pruned)]
    removed = parameter_count(model) - parameter_count(pruned)
    assert files[0] - files[1] == pytest.approx(4 * removed, rel=0.05)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("shape", [(5, 6, 12, 8), (2, 0, 6, 5), (2, 4, 6)])
def test_a_shape_out_of_range_is_refused_before_any_training(name, shape, corners, steps):
    with pytest.raises(EdgemoeError, match="does not lie within 4-6-12-8"):
        SCHEDULES[name](settled(BEFORE, 4), shape, MAGNITUDE, corners, Recipe(epochs=1))
    assert not steps


@pytest.mark.parametrize("name", SCHEDULES)
def test_without_epochs_a_schedule_only_cuts(name, corners, steps):
    model = settled(BEFORE, 4)
    pruned, log = SCHEDULES[name](model, SHAPE, MAGNITUDE, corners, Recipe(epochs=0))
    assert log == []
    assert widths(pruned) == SHAPE
    assert not steps
    kept = {round(float(w), 6) for w in pruned.conv1.weight.detach().flatten()}
    assert kept <= {round(float(w), 6) for w in model.conv1.weight.detach().flatten()}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_gives_the_same_network_each_time(name, corners):
    recipe = Recipe(epochs=1, batch=64)
    first, second = (SCHEDULES[name](settled(BEFORE, 4), SHAPE, MAGNITUDE, corners, recipe)[0] for _ in range(2))
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


def test_schedules_are_found_by_name():
    assert find_schedule("dpf") is SCHEDULES["dpf"]
    with pytest.raises(EdgemoeError, match="'lottery': expected one of one-shot, iterative, dpf, dpp, rewire"):
        find_schedule("lottery")


# The path


def test_the_widths_follow_the_cubic_path_of_the_sparsity():
    before, after = (50, 500), (20, 32)
    assert narrowed(before, after, 0.0) == before
    assert narrowed(before, after, 1.0) == after
    for done in np.linspace(0, 1, 41):
        for n, k, width in zip(before, after, narrowed(before, after, done), strict=True):
            sparsity = (1 - k / n) + (0 - (1 - k / n)) * (1 - done) ** 3  # Zhu and Gupta's equation 1
            assert abs(width - n * (1 - sparsity)) <= 0.5 + 1e-9


class Watch:
    """The magnitude, which keeps the widths that it was asked about."""

    def __init__(self):
        self.seen = []
        self.criterion = Criterion("watch", self.scores, needs_samples=False)

    def scores(self, model, images, labels):
        self.seen.append(widths(model))
        return MAGNITUDE.score_channels(model, images, labels)


def test_the_iterative_path_falls_in_rounds_and_ends_at_the_target(corners):
    watch = Watch()
    find_schedule("iterative")(settled(BEFORE, 4), SHAPE, watch.criterion, corners, Recipe(epochs=4, batch=32))
    assert watch.seen == [narrowed(BEFORE, SHAPE, done / 8) for done in range(8)]  # each before its own cut
    assert all(np.all(np.array(a) >= b) for a, b in zip(watch.seen, watch.seen[1:], strict=False))


def test_rewiring_keeps_the_width_at_every_exchange(corners):
    watch = Watch()
    find_schedule("rewire")(settled(BEFORE, 4), SHAPE, watch.criterion, corners, Recipe(epochs=16, batch=32))
    assert watch.seen == [BEFORE] + [SHAPE] * 4  # the first choice, then every 16 of 64 steps


# What comes back: of the hidden units some see the classes, and the others, with larger weights, are dead

USEFUL, DEAD = 2, 4


@pytest.fixture
def halves():
    """Three classes: the left, the right or no half is bright; and a network whose units 0 and 1 see that."""
    rng = np.random.default_rng(1)
    images, labels = rng.integers(0, 40, (256, 28, 28), np.uint8), rng.integers(0, 3, 256)
    images[labels == 0, :, :14] += 150
    images[labels == 1, :, 14:] += 150
    detector = torch.ones(28, 28).div_(784)
    detector[:, 14:] *= -1
    torch.manual_seed(0)
    layers = OrderedDict(
        flatten=nn.Flatten(), dense1=nn.Linear(784, USEFUL + DEAD), relu1=nn.ReLU(), output=nn.Linear(USEFUL + DEAD, 3)
    )
    model = nn.Sequential(layers)
    with torch.no_grad():
        model.dense1.weight[:USEFUL] = torch.stack([detector, -detector]).flatten(1)
        model.dense1.weight[USEFUL:] *= 6 / model.dense1.weight[USEFUL:].abs().sum(1, keepdim=True)
        model.dense1.bias[:USEFUL], model.dense1.bias[USEFUL:] = 0, -50
        model.output.weight[:, :USEFUL] = 4 * torch.eye(3, 2)
        model.output.bias.copy_(torch.tensor([0.0, 0.0, 0.5]))
    return model, lessons_of(images, labels, 3)


class WrongAtFirst:
    """Scores that put the useful units last until they have been asked `times` times; then Taylor's."""

    def __init__(self, times):
        self.left = times
        self.criterion = Criterion("wrong at first", self.scores)

    def scores(self, model, images, labels):
        self.left -= 1
        if self.left >= 0:
            return {"dense1": torch.arange(len(model.dense1.weight)).float()}
        return CRITERIA["taylor"].score_channels(model, images, labels)


class WatchShut:
    """The magnitude, which keeps how many of the useful units are read by the layer behind, whenever it is asked."""

    def __init__(self):
        self.seen = []
        self.criterion = Criterion("watch", self.scores, needs_samples=False)

    def scores(self, model, images, labels):
        self.seen.append(int((model.output.weight[:, :USEFUL].abs().sum(0) > 0).sum()))
        return MAGNITUDE.score_channels(model, images, labels)


HALVES = Recipe(epochs=12, batch=32, rate=2e-3)


def useful_left(pruned, lessons):
    """How many useful units are left; and the network's accuracy agrees."""
    network, _ = pruned
    count = int((network.dense1.bias.detach() > -10).sum())
    assert (accuracy(network, lessons.images[0], lessons.labels) > 0.99) == (count == 2)
    return count


@pytest.mark.parametrize("name", ["one-shot", "iterative"])
def test_without_feedback_what_is_cut_wrongly_is_lost(name, halves):
    model, lessons = halves
    assert useful_left(SCHEDULES[name](model, (2,), MAGNITUDE, lessons, HALVES), lessons) < 2


def test_dpf_brings_back_channels_that_were_cut_wrongly(halves):
    model, lessons = halves
    watch = WatchShut()
    pruned = SCHEDULES["dpf"](model, (2,), watch.criterion, lessons, HALVES, every=1)
    assert watch.seen[0] == 2
    assert min(watch.seen) == 0  # both were shut
    assert useful_left(pruned, lessons) == 2


def test_dpp_finds_the_useful_channels_against_the_criterions_order(halves):
    model, lessons = halves
    assert useful_left(SCHEDULES["dpp"](model, (2,), MAGNITUDE, lessons, HALVES), lessons) == 2


def test_rewiring_grows_the_useful_channels_in_place_of_the_dead(halves):
    model, lessons = halves
    criterion = WrongAtFirst(1).criterion
    assert useful_left(SCHEDULES["one-shot"](model, (2,), WrongAtFirst(1).criterion, lessons, HALVES), lessons) == 0
    assert useful_left(SCHEDULES["rewire"](model, (2,), criterion, lessons, HALVES, every=4, share=0.5), lessons) == 2


# Rewiring


def test_an_exchange_drops_the_lowest_and_opens_what_lowers_the_loss_most():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.25, 0.5, 1.0):
        gate, scores = Sensing(12), torch.from_numpy(rng.random(12))
        gate.mask.copy_(top_mask(torch.from_numpy(rng.random(12)), 7))
        slope = rng.normal(size=12).astype(np.float32)
        gate.slope.copy_(torch.from_numpy(slope))
        was = gate.mask.numpy().astype(bool)
        exchange(gate, scores, share)
        promising = [i for i in np.flatnonzero(~was) if slope[i] < 0]
        count = min(round(share * 7), len(promising))
        dropped = sorted(np.flatnonzero(was), key=lambda i: scores[i])[:count]
        grown = sorted(promising, key=lambda i: slope[i])[:count]
        expected = (set(np.flatnonzero(was)) - set(dropped)) | set(grown)
        assert set(np.flatnonzero(gate.mask.numpy())) == expected
        assert not gate.slope.any()


# Drawing k of n


@pytest.mark.parametrize("keep", [1, 3, 7])
@pytest.mark.parametrize("scale", [0.3, 3.0, 40.0])
def test_the_relaxation_is_a_sigmoid_that_sums_to_k(keep, scale):
    logits = np.random.default_rng(keep).normal(size=8) * scale
    threshold = brentq(lambda t: expit(logits - t).sum() - keep, -500, 500, xtol=1e-12)
    found = relaxed_top(torch.from_numpy(logits), keep)
    assert float(found.sum()) == pytest.approx(keep, abs=1e-6)
    np.testing.assert_allclose(found.numpy(), expit(logits - threshold), atol=1e-6)


def test_the_relaxation_goes_to_the_highest_k_as_the_temperature_falls():
    logits = torch.tensor([0.1, 0.9, -0.4, 0.6, 0.2])
    torch.testing.assert_close(relaxed_top(logits / 0.01, 2), top_mask(logits, 2), atol=1e-4, rtol=0)
    assert relaxed_top(logits, 5).tolist() == [1.0] * 5


def test_the_relaxation_is_differentiable():
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=6)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: relaxed_top(x, 2), (logits,), eps=1e-5, atol=1e-5)


def test_k_channels_are_drawn_by_their_odds():
    gate = Drawn(torch.arange(4.0), 1)
    odds = np.array([0.0, 1.0, 0.5, -1.0], np.float32)
    with torch.no_grad():
        gate.odds.copy_(torch.from_numpy(odds / 100))
    torch.manual_seed(0)
    drawn = torch.stack([gate(torch.ones(1, 4))[0].detach() for _ in range(800)])
    assert set(drawn.sum(1).tolist()) == {1.0}
    np.testing.assert_allclose(drawn.mean(0).numpy(), softmax(odds), atol=0.06)


def test_the_first_draws_follow_the_criterion_and_none_are_made_in_evaluation():
    gate = Drawn(torch.tensor([0.2, 5.0, 0.1, 0.3]), 2)
    assert gate.mask.tolist() == [0, 1, 0, 1]
    gate.eval()
    assert all(torch.equal(gate(torch.ones(1, 4))[0], gate.mask) for _ in range(20))
