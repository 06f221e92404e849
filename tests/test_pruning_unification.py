"""Networks with shared weights: values are those of palettes, bytes are counted, and training keeps to them."""

import copy
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from networks import settled  # noqa: E402
from torch import nn  # noqa: E402

from edgemoe.errors import EdgemoeError  # noqa: E402
from edgemoe.global_expert.layers import to_input, weighted_layers  # noqa: E402
from edgemoe.global_expert.lenet5 import fold_normalization  # noqa: E402
from edgemoe.global_expert.lessons import Lessons, prepare_lessons  # noqa: E402
from edgemoe.global_expert.train import Recipe, train  # noqa: E402
from edgemoe.pruning.unification import even_dense_layers, unified_bytes, unify, unify_while_training  # noqa: E402


@pytest.fixture(scope="module")
def model():
    return fold_normalization(settled((4, 6, 20), 7, dropout=0))


@pytest.fixture(scope="module")
def lessons(model) -> Lessons:
    rng = np.random.default_rng(0)
    return prepare_lessons(model, rng.integers(0, 256, (300, 28, 28), np.uint8), rng.integers(0, 7, 300), 0)


def values_of(model, rows):
    """The number of distinct values in each block of rows of each layer."""
    return [len(b.unique()) for layer in weighted_layers(model).values() for b in layer.weight.split(rows)]


@pytest.mark.parametrize("bits", [1, 3, 8])
@pytest.mark.parametrize("rows", [None, 4])
def test_a_unified_network_has_its_palettes_weights_and_its_own_biases(model, bits, rows):
    before = copy.deepcopy(model.state_dict())
    unified, palettes = unify(model, bits, rows)
    assert list(palettes) == ["conv1", "conv2", "dense3", "output"]
    for name, layer in weighted_layers(unified).items():
        np.testing.assert_array_equal(layer.weight.detach().numpy(), palettes[name].weights())
        assert torch.equal(layer.bias, before[f"{name}.bias"])
    assert max(values_of(unified, rows or 10**6)) <= 2**bits
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("bits", "rows"), [(1, None), (3, 4), (6, 16)])
def test_bytes_are_codes_codebooks_heads_and_biases(model, bits, rows):
    shapes = {(4, 25), (6, 100), (20, 150), (7, 20)}  # as matrices: 4, 6, 20, 7 outputs
    expected = 2 * (10 + 16) + 2 * (10 + 8) + 4 * (4 + 6 + 20 + 7)
    for outputs, inputs in shapes:
        expected += -(-outputs * inputs * bits // 8) + 4 * 2**bits * (-(-outputs // rows) if rows else 1)
    assert unified_bytes(*unify(model, bits, rows)) == expected


def test_the_function_comes_back_as_bits_are_added(model):
    images = torch.rand(50, 1, 28, 28)
    with torch.inference_mode():
        errors = [float((unify(model, bits)[0](images) - model(images)).square().mean()) for bits in (1, 2, 4, 6, 8)]
    assert all(less < 0.5 * more for more, less in itertools.pairwise(errors))


def test_only_the_chosen_layers_share_values(model, lessons):
    before = copy.deepcopy(model.state_dict())
    unified, palettes = unify(model, 2, layers=["dense3"])
    assert list(palettes) == ["dense3"]
    changed = [name for name, value in unified.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["dense3.weight"]
    trained = copy.deepcopy(model)
    sharing = unify_while_training(2, layers=["dense3", "output"])
    train(trained, "", lessons.images[0], lessons.labels, Recipe(0, plain=2), teacher=lessons, after_step=sharing)
    distinct = {name: len(layer.weight.unique()) for name, layer in weighted_layers(trained).items()}
    assert max(distinct["dense3"], distinct["output"]) <= 4
    assert min(distinct["conv1"], distinct["conv2"]) > 50


def test_normalization_matters_behind_the_chosen_layers_alone():
    assert list(unify(settled((2, 3, 4), 5), 4, layers=["output"])[1]) == ["output"]
    with pytest.raises(EdgemoeError, match="layer 'dense3': the normalization"):
        unify(settled((2, 3, 4), 5), 4, layers=["dense3"])


def test_a_layer_that_is_not_there_is_refused(model):
    with pytest.raises(EdgemoeError, match="layer 'dense9': the network has none"):
        unify(model, 4, layers=["dense9"])


def test_dense_layers_of_even_rows_are_those_of_an_even_number_of_inputs():
    assert even_dense_layers(settled((2, 3, 4, 5), 7)) == ["dense4"]
    assert even_dense_layers(settled((3, 2, 6, 8), 7)) == ["dense3", "dense4", "output"]


def test_what_a_criterion_finds_important_is_kept_nearer(model):
    importance = {"dense3": torch.zeros_like(model.dense3.weight)}
    importance["dense3"][:10] = 1
    even, weighed = unify(model, 2)[0], unify(model, 2, importance=importance)[0]

    def error(unified):
        return float((unified.dense3.weight - model.dense3.weight)[:10].detach().square().sum())

    assert error(weighed) < error(even)
    assert torch.equal(weighed.conv2.weight, even.conv2.weight)


@pytest.mark.parametrize(("bits", "rows"), [(1, None), (2, 4), (3, None)])
def test_after_training_every_block_has_few_values_and_unify_finds_them(model, lessons, bits, rows):
    model = copy.deepcopy(model)
    counts = []
    sharing = unify_while_training(bits, rows)

    def after_step(model, step, steps):
        sharing(model, step, steps)
        counts.append(max(values_of(model, rows or 10**6)))

    train(model, "", lessons.images[0], lessons.labels, Recipe(0, plain=2), teacher=lessons, after_step=after_step)
    assert len(counts) == 4
    assert max(counts) <= 2**bits
    again = unify(model, bits, rows)[0]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-6, atol=0)


def test_the_free_weights_learn_by_the_gradient_at_the_shared_ones():
    # Two steps of plain descent, followed by hand: three weights on a line, two values.
    layer = nn.Linear(3, 1, bias=False)
    model = nn.Sequential(layer)
    layer.weight.data = torch.tensor([[0.0, 1.0, 2.0]])
    share = unify_while_training(1)
    share(model, 1, 3)
    assert layer.weight.tolist() in ([[0.0, 1.5, 1.5]], [[0.5, 0.5, 2.0]])
    free = np.array([0.0, 1.0, 2.0])
    for step, change in enumerate([[-1.0, 0.2, 0.4], [0.3, -2.5, 0.1]], start=2):
        layer.weight.data += torch.tensor([change])
        share(model, step, 3)
        free += change
        cut = max(range(1, 3), key=lambda i: np.sort(free)[i] - np.sort(free)[i - 1])  # the widest gap parts three best
        low, high = np.split(np.sort(free), [cut])
        expected = np.where(free <= low[-1], low.mean(), high.mean())
        np.testing.assert_allclose(layer.weight.detach().numpy()[0], expected, atol=1e-6)


def test_training_on_palettes_recovers_what_sharing_cost(model, lessons):
    def loss(network):
        with torch.inference_mode():
            answers = F.log_softmax(network(to_input(torch.from_numpy(lessons.images[0]))), 1)
        known = F.log_softmax(torch.from_numpy(lessons.logits[0]).float(), 1)
        return float(F.kl_div(answers, known, log_target=True, reduction="batchmean"))

    trained = copy.deepcopy(model)
    recipe = Recipe(0, plain=8, rate=0.01, batch=64, distill=1.0, temperature=1.0)
    train(trained, "", lessons.images[0], lessons.labels, recipe, teacher=lessons, after_step=unify_while_training(2))
    assert loss(unify(trained, 2)[0]) < 0.5 * loss(unify(model, 2)[0])


def test_a_network_with_normalization_is_refused_by_layer():
    normalized = settled((2, 3, 4), 5)
    with pytest.raises(EdgemoeError, match=r"layer 'conv1': the normalization .* fold it in first"):
        unify(normalized, 4)
    with pytest.raises(EdgemoeError, match="layer 'conv1': the normalization"):
        unify_while_training(4)(normalized, 1, 10)


@pytest.mark.parametrize(("bits", "rows", "reason"), [(0, None, "bits"), (9, None, "bits"), (4, 0, "rows")])
def test_what_a_palette_cannot_be_is_refused(model, bits, rows, reason):
    with pytest.raises(EdgemoeError, match=reason):
        unify(model, bits, rows)
