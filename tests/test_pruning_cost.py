"""What a shape is said to cost is what the accounting counts in the exported and quantized graph."""

from collections import OrderedDict

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
from networks import settled  # noqa: E402
from torch import nn  # noqa: E402

from edgemoe.accounting.graph import count_graph  # noqa: E402
from edgemoe.accounting.onnx_reader import parse_onnx  # noqa: E402
from edgemoe.errors import EdgemoeError  # noqa: E402
from edgemoe.global_expert.export import quantize, to_onnx  # noqa: E402
from edgemoe.global_expert.layers import parameter_count  # noqa: E402
from edgemoe.global_expert.lenet5 import fold_normalization, lenet5  # noqa: E402
from edgemoe.pruning.cost import layout_of  # noqa: E402
from edgemoe.pruning.unification import even_dense_layers, unify  # noqa: E402


def plain(**layers):
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(layers)).eval()


def counted(model):
    images = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
    return count_graph(parse_onnx(quantize(to_onnx(model), images)))


def assert_counts(cost, graph):
    total = graph.total()
    assert graph.unknown == ()
    assert (cost.parameters, cost.macs) == (total.parameters, total.macs)
    assert (cost.flash, cost.ram) == (total.bytes, graph.peak_activation_bytes)
    assert cost.file == pytest.approx(graph.file_bytes, rel=0.02)


@pytest.mark.parametrize(
    ("shape", "classes"),
    [
        ((1, 1, 1), 10),
        ((1, 1, 1, 1), 62),
        ((2, 8, 5), 10),
        ((12, 24, 49, 48), 47),
        ((1, 60, 20), 26),  # the features are what takes the memory
        ((1, 2, 3000), 10),  # ... or a hidden layer
        ((4, 8, 9, 8, 7), 26),
    ],
)
def test_a_lenet5_costs_what_its_exported_graph_does(shape, classes):
    whole = layout_of(settled([30] * len(shape), classes))  # of the same layers, in other widths
    assert_counts(whole.cost(shape), counted(fold_normalization(settled(shape, classes))))


@pytest.mark.parametrize(
    ("shape", "classes"),
    [((1, 2, 2), 10), ((12, 24, 50, 48), 47), ((4, 8, 9, 8, 7), 26), ((1, 3, 8), 10), ((1, 1, 1), 9)],
)
def test_with_palettes_it_costs_what_its_exported_graph_does(shape, classes):
    whole = layout_of(settled([30] * len(shape), classes), palettes=True)
    model = fold_normalization(settled(shape, classes))
    shared = even_dense_layers(model)
    evenness = [width % 2 == 0 for width in (25 * shape[1], *shape[2:])]
    assert len(shared) == sum(evenness)
    assert_counts(whole.cost(shape), counted(unify(model, 4, layers=shared)[0]))
    assert whole.whole.flash < layout_of(settled([30] * len(shape), classes)).whole.flash


def test_any_plain_sequential_cnn_costs_what_its_exported_graph_does():
    for model in (
        plain(a=nn.Conv2d(1, 3, 3, 2), b=nn.ReLU(), f=nn.Flatten(), o=nn.Linear(3 * 169, 10)),
        plain(
            a=nn.Conv2d(1, 3, 3, 2, 1), b=nn.ReLU(), c=nn.Conv2d(3, 4, 3, padding=1), d=nn.ReLU(), p=nn.MaxPool2d(2),
            e=nn.Conv2d(4, 2, (3, 5), padding=(1, 2)), r=nn.ReLU(), f=nn.Flatten(), o=nn.Linear(98, 10),
        ),
        plain(f=nn.Flatten(), h=nn.Linear(784, 30), r=nn.ReLU(), o=nn.Linear(30, 10)),
    ):  # fmt: skip
        layout = layout_of(model)
        assert_counts(layout.cost(layout.widths), counted(model))
        assert layout.whole == layout.cost(layout.widths)


def test_every_wider_layer_costs_more():
    layout, shape = layout_of(lenet5((20, 50, 500, 128), 47)), (8, 16, 40, 20)
    for k in range(4):
        wider = layout.cost([w + (i == k) for i, w in enumerate(shape)])
        least = layout.cost(shape)
        assert wider.parameters > least.parameters
        assert wider.macs > least.macs
        assert wider.flash > least.flash
        assert wider.file > least.file
        assert wider.ram >= least.ram


def test_reading_the_layout_leaves_the_network_as_it_is():
    model = lenet5((3, 4, 6), 10).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert layout_of(model).whole.parameters == parameter_count(model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({"odd": nn.AvgPool2d(2), "f": nn.Flatten(), "o": nn.Linear(196, 10)}, "layer 'odd': AvgPool2d"),
        ({"a": nn.Conv2d(1, 2, 3), "g": nn.Conv2d(2, 2, 3, groups=2)}, "layer 'g': Conv2d"),
        ({"f": nn.Flatten(), "o": nn.Linear(100, 10)}, "layer 'o' does not fit"),
        ({"a": nn.ReLU()}, "no layer"),
    ],
)
def test_a_network_that_is_no_plain_cnn_is_refused_with_the_layers_name(layers, words):
    with pytest.raises(EdgemoeError, match=words):
        layout_of(plain(**layers))
