"""Each method learns what its paper says, and counts what a device would keep."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from edgemoe import Personalizer
from edgemoe.benchmark.methods import METHODS, SEQUENTIAL
from edgemoe.benchmark.methods.heads import fit_last_layer, fit_linear_probe, fit_pfl_moe
from edgemoe.benchmark.methods.nearest import fit_knn_per, fit_nearest_mean
from edgemoe.benchmark.methods.routing import fit_threshold
from edgemoe.benchmark.network import characters, float_network
from edgemoe.device.global_expert import softmax
from edgemoe.simulator import generic_samples

TRAINED = {"bias-only", "lora", "full-finetune"}  # see test_benchmark_methods_finetune.py


def show(ge, images, labels):
    return characters(ge, images, np.array([ge.classes.index(label) for label in labels]))


@pytest.fixture(scope="module")
def user(ge, writer):
    """A writer who gives half of the classes: 24 characters, 5 of each."""
    samples = show(ge, *writer)
    return samples[np.flatnonzero(samples.labels % 2 == 0)]


@pytest.fixture(scope="module")
def others(ge, fresh):
    images, labels = generic_samples(1, 3)
    return show(ge, np.concatenate([fresh[0], images]), np.concatenate([fresh[1], labels]))


@pytest.fixture(scope="module")
def hidden_rows(user, others):
    return user.hidden.astype(np.float64), others.hidden.astype(np.float64)


def test_the_registry_has_every_name_that_the_benchmark_promises():
    assert set(METHODS) == {
        "global", "threshold-router", "nearest-mean", "knn-per", "pfl-moe", "linear-probe", "last-layer", "bias-only",
        "lora", "full-finetune", "local", "mixture", "mixture-full", "mixture-session", "mixture-session-full",
        "oracle-router",
    }  # fmt: skip
    assert set(METHODS) > SEQUENTIAL == {name for name in METHODS if "session" in name}


@pytest.mark.parametrize("name", [name for name in METHODS if name not in TRAINED | {"oracle-router"}])
def test_the_same_seed_gives_the_same_answers_and_labels_are_never_looked_at(ge, user, others, name):
    method = METHODS[name]
    blind = type(others)(others.images, np.zeros_like(others.labels), others.taps, others.hidden)
    first, second = method(ge, user, 3), method(ge, user, 3)
    assert np.array_equal(first.predict(others), second.predict(blind))
    assert (first.bytes, first.macs) == (second.bytes, second.macs)


def test_global_is_the_int8_expert_and_costs_nothing(ge, user, others):
    adapted = METHODS["global"](ge, user, 0)
    assert [ge.classes[i] for i in adapted.predict(others)] == ge.predict(others.images).tolist()
    assert (adapted.bytes, adapted.macs) == (0, 0)


@pytest.mark.parametrize("size", ["compact", "full"])
def test_the_mixtures_answers_are_the_public_apis(ge, user, others, size):
    suffix = "" if size == "compact" else "-full"
    moe = Personalizer(ge, size, seed=4).fit(user.images, [ge.classes[i] for i in user.labels])
    session = METHODS[f"mixture-session{suffix}"](ge, user, 4)
    for adapted, expected in [
        (METHODS[f"mixture{suffix}"](ge, user, 4), moe.predict(others.images)),
        (session, moe.session().predict(others.images)),
    ]:
        assert [ge.classes[i] for i in adapted.predict(others)] == expected.tolist()
        assert adapted.profile.to_bytes() == moe.profile.to_bytes()
        assert adapted.bytes == len(moe.profile.to_bytes())
    assert np.array_equal(session.predict(others), session.predict(others))  # each call is a session of its own


def test_the_local_expert_answers_alone_and_counts_no_gate(ge, user, others):
    moe = Personalizer(ge, "compact", seed=4).fit(user.images, [ge.classes[i] for i in user.labels])
    local, mixture = METHODS["local"](ge, user, 4), METHODS["mixture"](ge, user, 4)
    assert [ge.classes[i] for i in local.predict(others)] == moe.explain(others.images).local_labels.tolist()
    features = user.taps.features.shape[1]
    assert mixture.macs - local.macs == features
    gate = 2 + (features * moe.profile.gate.weights.bits + 7) // 8 + 8  # scale, codes, bias and threshold
    assert mixture.bytes - local.bytes == gate


def test_the_oracle_is_right_where_either_expert_is(ge, user, others):
    found = {name: METHODS[name](ge, user, 1).predict(others) for name in ("global", "local", "oracle-router")}
    right = {name: answers == others.labels for name, answers in found.items()}
    assert np.array_equal(right["oracle-router"], right["global"] | right["local"])
    assert right["oracle-router"].mean() >= max(right["global"].mean(), right["local"].mean())


def test_the_threshold_router_asks_the_local_expert_below_the_threshold(ge, user, others):
    local, before = METHODS["local"](ge, user, 1).predict(others), others.taps.logits.argmax(1)
    sure = softmax(others.taps.logits).max(axis=1) >= 0.8
    assert 0 < sure.mean() < 1
    found = fit_threshold(ge, user, 1, threshold=0.8)
    assert np.array_equal(found.predict(others), np.where(sure, before, local))
    assert np.array_equal(fit_threshold(ge, user, 1, threshold=0.0).predict(others), before)
    assert found.bytes == METHODS["local"](ge, user, 1).bytes


@pytest.mark.parametrize("features", ["hidden", "pooled", "convolution"])
def test_nearest_mean_is_a_search_over_class_means_one_by_one(ge, user, others, features):
    rows = {
        "hidden": lambda c: c.hidden,
        "pooled": lambda c: ge.standardizer.local_inputs(c.taps),
        "convolution": lambda c: ge.standardizer.gate_inputs(c.taps),
    }[features]
    adapted = fit_nearest_mean(ge, user, 0, features=features, unit=False)
    means = {label: rows(user)[user.labels == label].mean(axis=0) for label in set(user.labels)}
    expected = [min(means, key=lambda label: np.linalg.norm(row - means[label])) for row in rows(others)]
    assert (adapted.predict(others) == expected).mean() > 0.99  # but for ties in the last bit
    assert adapted.macs == 24 * rows(user).shape[1]
    assert adapted.bytes == 24 * rows(user).shape[1] + 24


def test_nearest_mean_cannot_answer_a_class_without_samples(ge, user, others):
    assert set(METHODS["nearest-mean"](ge, user, 0).predict(others)) <= set(user.labels)


@pytest.mark.parametrize(("unit", "neighbours"), [(False, 7), (True, 1000)])
def test_knn_per_is_a_vote_counted_one_by_one_mixed_with_the_global_expert(
    ge, user, others, hidden_rows, unit, neighbours
):
    stored, asked = (rows / np.linalg.norm(rows, axis=1, keepdims=True) if unit else rows for rows in hidden_rows)
    spread = np.sqrt(((stored - stored.mean(0)) ** 2).sum(1).mean())
    adapted = fit_knn_per(ge, user, 0, features="hidden", unit=unit, neighbours=neighbours, width=0.3, share=0.6)
    votes = np.zeros((len(others), 47))
    for row, vote in zip(asked, votes, strict=True):
        distances = np.linalg.norm(stored - row, axis=1)
        for near in np.argsort(distances)[:neighbours]:
            vote[user.labels[near]] += np.exp(-distances[near] / (0.3 * spread))
        vote /= vote.sum()
    expected = (0.6 * votes + 0.4 * softmax(others.taps.logits)).argmax(axis=1)
    assert (adapted.predict(others) == expected).mean() > 0.99
    assert adapted.bytes == len(user) * stored.shape[1] + len(user)
    assert adapted.macs == len(user) * stored.shape[1]


def test_the_linear_probe_is_the_logistic_regression_that_torchs_lbfgs_finds(ge, user, others, hidden_rows):
    stored, asked = (torch.from_numpy(np.column_stack([rows, np.ones(len(rows))])) for rows in hidden_rows)
    classes, targets = np.unique(user.labels, return_inverse=True)
    weights = torch.zeros(24, stored.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = cross_entropy(stored @ weights.T, torch.from_numpy(targets), reduction="sum") + (weights**2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    adapted = fit_linear_probe(ge, user, 0, features="hidden", decay=2.0, steps=2000)
    expected = weights.detach()
    assert np.abs(adapted.weights - expected.numpy()).max() < 0.01
    assert (adapted.predict(others) == classes[(asked @ expected.T).argmax(1)]).mean() > 0.99
    assert adapted.bytes == 24 * (user.hidden.shape[1] + 1) + 24
    assert adapted.macs == 24 * user.hidden.shape[1]


def test_the_last_layer_starts_at_the_shipped_weights(ge, user, others):
    adapted = fit_last_layer(ge, user, 0, decay=1.0, steps=0)
    output = float_network(ge)[-1]
    expected = torch.cat([output.weight, output.bias[:, None]], 1).detach().numpy()
    assert np.array_equal(adapted.weights, expected)
    assert (adapted.bytes, adapted.macs) == (expected.size, 0)


def test_the_last_layer_reaches_the_point_where_torchs_gradient_vanishes(ge, user):
    start = torch.from_numpy(fit_last_layer(ge, user, 0, decay=1.0, steps=0).weights)
    inputs = torch.column_stack([torch.from_numpy(user.hidden), torch.ones(len(user))])

    def slope(weights):
        at = torch.from_numpy(weights).requires_grad_()
        loss = cross_entropy(inputs @ at.T, torch.from_numpy(user.labels), reduction="sum")
        (loss + 0.5 * ((at - start) ** 2).sum()).backward()
        return float(at.grad.norm())

    ends = [slope(fit_last_layer(ge, user, 0, decay=1.0, steps=steps).weights) for steps in (0, 3000)]
    assert ends[1] < 1e-3 * ends[0]


def test_pfl_moe_starts_as_the_global_expert_and_learns_the_users_characters(ge, user):
    start = fit_pfl_moe(ge, user, 0, features="hidden", rate=0.01, steps=0, decay=0.0)
    assert np.array_equal(start.head, fit_last_layer(ge, user, 0, decay=1.0, steps=0).weights)
    assert not start.gate.any()
    end = fit_pfl_moe(ge, user, 0, features="pooled", rate=0.01, steps=100, decay=0.0)
    before, after = ((adapted.predict(user) == user.labels).mean() for adapted in (start, end))
    assert after > max(before, 0.9)
    pooled, hidden = ge.standardizer.local_inputs(user.taps).shape[1], user.hidden.shape[1]
    assert end.bytes == 47 * (hidden + 1) + pooled + 1
    assert end.macs == 47 * hidden + pooled


def test_pfl_moes_first_step_follows_torchs_gradient_of_the_mixture(ge, user):
    rate = 1e-3
    start, end = (fit_pfl_moe(ge, user, 0, features="hidden", rate=rate, steps=steps, decay=0.0) for steps in (0, 1))
    inputs = torch.column_stack([torch.from_numpy(user.hidden), torch.ones(len(user))])
    head, gate = (torch.from_numpy(a).clone().requires_grad_() for a in (start.head, start.gate))
    weight = torch.sigmoid(inputs @ gate)[:, None]
    mixture = weight * (inputs @ head.T).softmax(1) + (1 - weight) * torch.from_numpy(softmax(user.taps.logits))
    (-mixture[torch.arange(len(user)), torch.from_numpy(user.labels)].log().mean()).backward()
    for before, after, slope in [(start.head, end.head, head.grad), (start.gate, end.gate, gate.grad)]:
        large = slope.abs().numpy() > 1e-5  # Adam's first step has the gradient's sign and the rate's length
        assert large.any()
        assert np.allclose((after - before)[large], -rate * np.sign(slope.numpy()[large]), rtol=0.02, atol=1e-6)
