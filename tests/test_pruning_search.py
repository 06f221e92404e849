"""The search finds, of the shapes that fill a budget, one that learns best, and says what it tried."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")
import torch.nn.functional as F  # noqa: E402
from networks import settled  # noqa: E402

from edgemoe.errors import EdgemoeError  # noqa: E402
from edgemoe.global_expert.lenet5 import lenet5, widths  # noqa: E402
from edgemoe.pruning import search as module  # noqa: E402
from edgemoe.pruning.budget import parse_budget  # noqa: E402
from edgemoe.pruning.cost import layout_of  # noqa: E402
from edgemoe.pruning.criteria import CRITERIA  # noqa: E402
from edgemoe.pruning.search import candidates, even_shape, prepare_base, search  # noqa: E402
from edgemoe.pruning.surgery import prune  # noqa: E402

SHAPE = (4, 6, 12, 8)
CLASSES = "0123456789"


@pytest.fixture(scope="module")
def samples():
    """Blobs at one place a class: even a tiny network learns to tell them apart."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 400)
    images = rng.integers(0, 60, (400, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 4 + 10 * (label // 5), 2 + 5 * (label % 5)
        image[row : row + 8, column : column + 4] = 255
    return images, labels


@pytest.fixture(scope="module")
def base(samples):
    model = settled(SHAPE, 10, dropout=0)
    images, labels = samples
    return prepare_base(model, CLASSES, CRITERIA["magnitude"], images[:300], labels[:300], (images[300:], labels[300:]))


def all_shapes(whole):
    return list(itertools.product(*(range(1, width + 1) for width in whole)))


@pytest.mark.parametrize("text", ["flash=3KB", "flash=1500,ram=4500", "macs=90k", "parameters=0.3", "file=4KB"])
def test_candidates_fill_the_budget_and_none_contains_another(text):
    whole, budget = (4, 6, 40), parse_budget(text)
    layout = layout_of(lenet5(whole, 10))
    fitting = np.array([shape for shape in all_shapes(whole) if budget.fits(shape, layout)])
    found = candidates(layout, budget)
    assert len(found) > 1
    for shape in found:
        assert budget.fits(shape, layout)
        wider = fitting[(fitting >= shape).all(1)]
        assert wider[:, 2].max() == shape[2]  # by brute force: the layer with most of the weights is as wide as fits
    for a, b in itertools.permutations(found, 2):
        assert any(x > y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("text", ["flash=2500", "flash=1200,ram=4500", "file=5KB"])
def test_with_palettes_candidates_have_the_even_widths_that_allow_them_and_fill_the_budget(text):
    whole, budget = (4, 6, 40, 7), parse_budget(text)
    layout = layout_of(lenet5(whole, 10), palettes=True)
    even = [shape for shape in all_shapes(whole) if not any(width % 2 for width in shape[1:])]
    fitting = np.array([shape for shape in even if budget.fits(shape, layout)])
    found = candidates(layout, budget)
    assert len(found) > 1
    assert {shape[0] % 2 for shape in found} == {0, 1}  # the first convolution is in front of no dense layer
    for shape in found:
        assert shape in {tuple(row) for row in fitting.tolist()}
        wider = fitting[(fitting >= shape).all(1)]
        assert wider[:, 2].max() == shape[2]
    assert even_shape(layout, budget) in {tuple(row) for row in fitting.tolist()}


def test_a_budget_in_bytes_gives_wider_layers_with_palettes():
    budget, model = parse_budget("flash=20KB"), lenet5((20, 50, 500, 128), 47)
    plain, packed = (even_shape(layout_of(model, palettes), budget) for palettes in (False, True))
    assert all(b > a for a, b in zip(plain, packed, strict=True))


def test_a_budget_above_the_network_leaves_it_whole():
    layout = layout_of(lenet5(SHAPE, 10))
    assert candidates(layout, parse_budget("flash=1MB")) == [SHAPE]
    assert even_shape(layout, parse_budget("parameters=1")) == SHAPE


@pytest.mark.parametrize("limit", [300, 2000, 9000, 20_000])
def test_the_even_shape_is_the_largest_of_equal_ratios(limit):
    def parameters(shape):
        first, second, *dense = shape
        sizes = [second * 25, *dense, 10]
        return first * 26 + second * (25 * first + 1) + sum((a + 1) * b for a, b in itertools.pairwise(sizes))

    whole = (6, 16, 30, 20)
    shape = even_shape(layout_of(lenet5(whole, 10)), parse_budget(f"parameters={limit}"))
    ratios = [tuple(max(1, round(w * k / 1000)) for w in whole) for k in range(1, 1001)]
    assert parameters(shape) == max(parameters(s) for s in ratios if parameters(s) <= limit)


def test_a_budget_that_nothing_meets_is_refused_with_the_smallest_experts_figures():
    layout = layout_of(lenet5(SHAPE, 10))
    smallest = layout.cost((1, 1, 1, 1))
    fitting = parse_budget(f"flash={smallest.flash},ram={smallest.ram}")
    assert even_shape(layout, fitting) == (1, 1, 1, 1)
    for find in (even_shape, candidates):
        with pytest.raises(EdgemoeError, match=rf"takes flash {smallest.flash} and not {smallest.flash - 1}$"):
            find(layout, parse_budget(f"flash={smallest.flash - 1},ram=1MB"))


def test_what_is_measured_is_the_loss_of_the_pruned_network(base):
    shape = (2, 3, 5, 4)
    model = prune(base.network, base.scores, shape)
    images, labels = base.lessons.images[0], base.lessons.labels
    model.train()  # one batch, and each normalization takes its statistics: what settling does
    x = torch.from_numpy(images)[:, None].float() / 255
    for layer in model:
        if hasattr(layer, "momentum"):
            layer.momentum = 1.0
    with torch.inference_mode():
        model(x)
        expected = F.cross_entropy(model.eval()(x), torch.from_numpy(labels))
    assert module._loss(base, shape) == pytest.approx(float(expected), rel=1e-4)


def test_shapes_that_keep_more_of_the_scores_come_first(base):
    scores = {name: s.numpy() for name, s in base.scores.items()}

    def kept(shape):
        shares = [np.sort(s)[::-1][:k].sum() / s.sum() for s, k in zip(scores.values(), shape, strict=True)]
        return np.log(shares).sum()

    for shape in [(1, 1, 1, 1), (2, 5, 3, 8), SHAPE]:
        assert module._kept(base.scores, shape) == pytest.approx(kept(shape), abs=1e-5)


def test_every_width_on_the_grid_comes_first_with_the_best_shape_that_has_it():
    layout = layout_of(lenet5((4, 6, 40), 10))  # whose last layer has most of the weights
    ranked = [(4, 2, 9), (4, 2, 8), (3, 2, 9), (4, 3, 1), (3, 3, 2), (1, 6, 5), (1, 2, 7)]
    expected = [(4, 2, 9), (3, 2, 9), (4, 3, 1), (1, 6, 5), (4, 2, 8), (3, 3, 2), (1, 2, 7)]
    assert module._spread(ranked, layout) == expected


@pytest.fixture(scope="module")
def found(base):
    events = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MEASURED", 10)
        patch.setattr(module, "SURVIVORS", 4)
        patch.setattr(module, "EPOCHS", 2)
        trials = search(base, parse_budget("flash=1.5KB"), progress=lambda done, total: events.append((done, total)))
    return trials, events


def test_survivors_are_halved_and_retrained_twice_as_long(base, found):
    trials, events = found
    layout, budget = layout_of(base.network), parse_budget("flash=1.5KB")
    assert 10 <= len(trials) <= 11
    assert [trial.epochs for trial in trials] == [6, 6, 2, 2] + [0] * (len(trials) - 4)
    assert all((trial.accuracy is None) == (trial.epochs == 0) for trial in trials)
    assert all(budget.fits(trial.shape, layout) and trial.cost == layout.cost(trial.shape) for trial in trials)
    assert even_shape(layout, budget) in [trial.shape for trial in trials[:4]]
    assert trials[0].accuracy >= trials[1].accuracy
    done, totals = zip(*events, strict=True)
    assert done == tuple(range(1, len(trials) + 4 * 2 + 2 * 4 + 1))
    assert set(totals) == {done[-1]}


def test_with_palettes_shapes_are_tried_at_what_they_will_cost(base, monkeypatch):
    for name, value in (("MEASURED", 3), ("SURVIVORS", 2), ("EPOCHS", 1)):
        monkeypatch.setattr(module, name, value)
    trials = search(replace(base, palettes=True), parse_budget("flash=1.5KB"))
    layout = layout_of(base.network, palettes=True)
    assert all(trial.cost == layout.cost(trial.shape) for trial in trials)
    assert max(trial.cost.flash for trial in trials) > 1350
    assert max(layout_of(base.network).cost(trial.shape).flash for trial in trials) > 1500


def test_the_best_learnt_something(found):
    assert found[0][0].accuracy > 0.25  # five standard deviations above chance, of ten classes and 100 images


def test_a_search_is_repeatable_and_leaves_its_base_as_it_is(base, found, monkeypatch):
    monkeypatch.setattr(module, "MEASURED", 10)
    monkeypatch.setattr(module, "SURVIVORS", 4)
    monkeypatch.setattr(module, "EPOCHS", 2)
    before = {name: value.clone() for name, value in base.network.state_dict().items()}
    assert search(base, parse_budget("flash=1.5KB")) == found[0]
    assert widths(base.network) == SHAPE
    assert all(torch.equal(value, before[name]) for name, value in base.network.state_dict().items())


def test_where_all_fits_nothing_is_retrained(base):
    (trial,) = search(base, parse_budget("parameters=1"))
    assert (trial.shape, trial.epochs, trial.accuracy) == (SHAPE, 0, None)


def test_a_criterion_that_looks_at_samples_needs_some(samples):
    images, labels = samples
    with pytest.raises(EdgemoeError, match="looks at samples"):
        prepare_base(settled(SHAPE, 10), CLASSES, CRITERIA["taylor"], images[:0], labels[:0], (images, labels))
