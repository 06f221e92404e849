"""Gates against the networks that are left when what they shut is cut, and against finite differences."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from networks import settled  # noqa: E402
from torch import nn  # noqa: E402

from edgemoe.global_expert.layers import prunable_layers  # noqa: E402
from edgemoe.global_expert.lenet5 import lenet5, widths  # noqa: E402
from edgemoe.pruning.schedules.dpf import add_feedback  # noqa: E402
from edgemoe.pruning.schedules.gates import cut, gates_of, insert_gates, silenced, strip, top_mask  # noqa: E402
from edgemoe.pruning.schedules.rewire import Sensing  # noqa: E402

SHAPE, KEPT = (4, 5, 8, 6), (2, 3, 5, 4)


@pytest.fixture
def model():
    return settled(SHAPE, 7, dropout=0, gain=(1, 0.3))


@pytest.fixture(scope="module")
def images():
    return torch.rand(9, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def shut_at_random(gated, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for gate, keep in zip(gates_of(gated).values(), KEPT, strict=True):
        gate.mask.copy_(top_mask(torch.rand(len(gate.mask), generator=generator), keep))
    return gated.eval()


def test_the_top_mask_keeps_the_highest():
    assert top_mask(torch.tensor([0.3, 0.1, 0.2, 0.5]), 2).tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("insert", [insert_gates, add_feedback])
def test_open_gates_change_nothing(model, images, insert):
    gated = insert(model).eval()
    assert list(gates_of(gated)) == list(prunable_layers(model))
    with torch.inference_mode():
        torch.testing.assert_close(gated(images), model(images))


@pytest.mark.parametrize("insert", [insert_gates, add_feedback])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_cut_network_computes_what_the_gated_one_does(model, images, insert, seed):
    gated = shut_at_random(insert(model), seed)
    small, silent = cut(gated), silenced(gated)
    assert widths(small) == KEPT
    lenet5(KEPT, 7).load_state_dict(small.state_dict())  # an ordinary network
    assert widths(silent) == SHAPE
    with torch.inference_mode():
        answers = gated(images)
        torch.testing.assert_close(small(images), answers, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(silent(images), answers, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(model(images), answers, atol=1e-2)


@pytest.mark.parametrize("insert", [insert_gates, add_feedback])
def test_a_stripped_network_is_the_one_that_the_gates_were_put_into(model, insert):
    stripped = strip(shut_at_random(insert(model)))
    assert list(stripped.state_dict()) == list(model.state_dict())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in stripped.state_dict().items())
    assert [type(m) for m in stripped] == [type(m) for m in model]


def slopes(gated, images, labels):
    gated.zero_grad()
    F.cross_entropy(gated(images), labels).backward()
    return {name: p.grad.clone() for name, p in strip(gated).named_parameters()}


def test_the_gradient_of_open_channels_is_that_of_the_pruned_network(model, images):
    gated = shut_at_random(add_feedback(model.double()))
    labels = torch.arange(9) % 7
    found = slopes(gated, images.double(), labels)
    small = cut(gated.float()).double()
    expected = slopes(small, images.double(), labels)
    rows = [gate.mask.nonzero()[:, 0] for gate in gates_of(gated).values()] + [torch.arange(7)]
    columns = [torch.arange(1), rows[0], (rows[1][:, None] * 25 + torch.arange(25)).ravel(), *rows[2:4]]
    for index, name in enumerate([*prunable_layers(model), "output"]):
        weight = found[f"{name}.weight"][rows[index]][:, columns[index]]
        torch.testing.assert_close(weight, expected[f"{name}.weight"], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(found[f"{name}.bias"][rows[index]], expected[f"{name}.bias"], rtol=1e-4, atol=1e-7)
    assert any(grad.abs().max() > 1e-3 for grad in expected.values())


def masked_loss(layers, masks, images, labels, probed, probe):
    """The masked network's loss; of the probed layer, shut channels add what their activations change by."""
    x = images
    for index, mask in enumerate(masks):
        before = layers[index](x)
        after = probe(x) if index == probed else before
        mask = mask.view(1, -1, *[1] * (before.dim() - 2))
        x = mask * after + (1 - mask) * (after - before)
        x = x.flatten(1) if index >= 1 else x
    return float(F.cross_entropy(layers[-1](x), labels))


@pytest.mark.parametrize("probed", [0, 1, 2, 3])
def test_the_feedback_to_a_channel_is_what_its_activations_would_change_in_the_pruned_network(model, images, probed):
    gated = shut_at_random(add_feedback(model.double()))
    images, labels = images.double(), torch.arange(9) % 7
    found = slopes(gated, images, labels)
    masks = [gate.mask.double() for gate in gates_of(gated).values()]
    parts = list(strip(gated).children())
    blocks = [nn.Sequential(*parts[start : start + 4]) for start in (0, 4, 9, 13)] + [parts[-1]]
    name = list(gates_of(gated))[probed]
    size = found[f"{name}.weight"].abs().flatten(1).sum(1)
    channel = int(torch.where(masks[probed] == 0, size, -1.0).argmax())  # one that is shut, and not dead
    weight = blocks[probed][0].weight
    rng = np.random.default_rng(probed)
    checked = 0.0
    for place in rng.choice(weight[channel].numel(), 6, replace=False):
        losses = []
        for step in (1e-6, -1e-6):
            moved = weight.detach().clone()
            moved[channel].view(-1)[place] += step

            def probe(x, moved=moved):
                first = torch.func.functional_call(blocks[probed][0], {"weight": moved}, (x,))
                return blocks[probed][1:](first)

            with torch.no_grad():
                losses.append(masked_loss(blocks, masks, images, labels, probed, probe))
        slope = (losses[0] - losses[1]) / 2e-6
        assert float(found[f"{name}.weight"][channel].reshape(-1)[place]) == pytest.approx(slope, rel=1e-3, abs=1e-8)
        checked += abs(slope)
    assert checked > 0


def test_a_sensing_gate_sums_the_losss_derivatives_by_its_mask(model, images):
    gated = insert_gates(model.double(), lambda name, width: Sensing(width)).double()
    shut_at_random(gated).train()
    batches = [(images.double(), torch.arange(9) % 7), (images.double().flip(0), torch.arange(9) % 3)]

    def loss():
        return sum(F.cross_entropy(gated(inputs), labels) for inputs, labels in batches)

    for inputs, labels in batches:
        F.cross_entropy(gated(inputs), labels).backward()
    sums = {name: gate.slope.clone() for name, gate in gates_of(gated).items()}
    for name, gate in gates_of(gated).items():
        for channel in range(len(gate.mask)):
            losses = []
            for step in (1e-6, -2e-6):
                gate.mask[channel] += step
                with torch.no_grad():
                    losses.append(float(loss()))
            gate.mask[channel] += 1e-6
            assert float(sums[name][channel]) == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-3, abs=1e-7)
    assert all(total.abs().max() > 1e-3 for total in sums.values())
