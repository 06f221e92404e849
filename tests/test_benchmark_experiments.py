"""The experiments change what they say and nothing else, and are measured by what direct formulas give."""

import json

import numpy as np
import pytest
import torch

from edgemoe.benchmark.experiments import __main__ as command
from edgemoe.benchmark.experiments import harness, table
from edgemoe.benchmark.experiments.copies import copies_of
from edgemoe.benchmark.experiments.gates import logistic
from edgemoe.benchmark.experiments.joint import platt
from edgemoe.benchmark.experiments.local_experts import Linear, low_rank, product_local
from edgemoe.benchmark.experiments.logistic_gate import fit_logistic, settle_logistic
from edgemoe.benchmark.experiments.priors import plain_lesson, pooled_weights
from edgemoe.benchmark.experiments.registry import EXPERIMENTS
from edgemoe.benchmark.experiments.samples import load_bench
from edgemoe.device.acceptance import mix
from edgemoe.device.distort import COPIES
from edgemoe.device.gate import Gate, weigh
from edgemoe.device.global_expert import softmax
from edgemoe.device.local_expert import correction_gradient, fit_local_expert
from edgemoe.device.personalizer import Personalizer
from edgemoe.device.quantized import packed_bytes, quantize
from edgemoe.errors import EdgemoeError
from edgemoe.simulator import generic_samples, simulated_samples

CHEAP = ["compact", "no-copies", "gate-8-bits"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiments")
    people = [simulated_samples(seed, 6) for seed in range(3, 9)]
    np.savez(
        folder / "writers.npz",
        image=np.concatenate([images for images, _ in people]),
        label=np.concatenate([labels for _, labels in people]),
        writer=np.repeat([f"p{index}" for index in range(6)], [len(labels) for _, labels in people]),
    )
    images, labels = generic_samples(1, 8)
    np.savez(folder / "generic.npz", image=images, label=labels)
    return folder


@pytest.fixture(scope="module")
def bench(ge, files):
    return load_bench(ge, str(files / "writers.npz"), str(files / "generic.npz"), shots=2)


def test_no_writer_is_on_both_sides_and_no_sample_is_learnt_from_and_asked(bench, files):
    with np.load(files / "writers.npz") as arrays:
        writers = {image.tobytes(): who for image, who in zip(arrays["image"], arrays["writer"], strict=True)}
    tested = {user.name for user in bench.users}
    taught = {writers[image.tobytes()] for sample in bench.teachers for image in sample.images}
    assert (len(tested), len(taught)) == (4, 2)
    assert not tested & taught
    for user in bench.users:
        learnt, asked = ({i.tobytes() for i in s.images} for s in (user.support, user.rest))
        assert not learnt & asked
        assert {writers[i] for i in learnt | asked} == {user.name}
        assert {writers[i.tobytes()] for i in user.bystanders.images} == tested - {user.name}


def test_generic_figures_leave_out_what_the_retention_set_keeps(ge, shared_data):
    from edgemoe.benchmark.experiments.samples import _retained_rows
    from edgemoe.data import load_samples

    images, _, _ = load_samples(f"{shared_data / 'emnist' / 'emnist.zip'}:bymerge-part:test")
    assert _retained_rows(ge, ge.taps(images)).sum() == len(ge.retention)


@pytest.mark.parametrize("size", ["compact", "full"])
def test_the_product_rows_are_what_the_personalizer_keeps(ge, bench, size):
    user = bench.users[0]
    images, labels = user.support.images, np.array(list(ge.classes))[user.support.labels]
    moe = Personalizer(ge, size).fit(images, labels)
    mixture = EXPERIMENTS[size].fit(bench, user.support)
    inputs = ge.standardizer.local_inputs(user.rest.taps)
    assert mixture.local.correct(user.rest) == pytest.approx(moe.profile.local.correct(inputs), abs=2e-3)
    odds = moe.profile.gate.log_odds(ge.standardizer.gate_inputs(user.rest.taps))
    assert mixture.gate.log_odds(user.rest) == pytest.approx(odds, abs=2e-3)
    assert harness.HEADER + mixture.local.kept + mixture.gate.kept == len(moe.profile.to_bytes())


def test_the_free_trainers_give_the_products_parts_where_nothing_is_changed(bench):
    user = bench.users[0]
    for bits in (2, 8):
        expected = product_local(bits)(bench, user.support).correct(user.rest)
        assert Linear(bits=bits)(bench, user.support).correct(user.rest) == pytest.approx(expected, abs=5e-3)


def test_the_logistic_gate_is_trained_against_a_quarter_of_the_retention_set(ge, bench):
    user, rows = bench.users[0], slice(len(ge.retention) // 4)
    ours, theirs, asked = (
        ge.standardizer.gate_inputs(taps) for taps in (user.support.taps, ge.retention.taps(rows), user.rest.taps)
    )
    weights, bias = settle_logistic(*fit_logistic(ours, theirs), ours, theirs, 3)
    expected = Gate(quantize(weights[None], 3), bias).log_odds(asked)
    assert logistic()(bench, user.support).log_odds(user.rest) == pytest.approx(expected, abs=5e-3)


def test_copies_drawn_apart_are_the_products_and_fewer_are_the_first_of_them(bench):
    support = bench.users[0].support
    own = copies_of(support).taps.features.reshape(len(support), COPIES, -1)
    fewer = copies_of(support, 2).taps.features.reshape(len(support), 2, -1)
    more = copies_of(support, 8).taps.features.reshape(len(support), 8, -1)
    assert (fewer == own[:, :2]).all()
    assert (more[:, :COPIES] == own).all()
    as_given = copies_of(support, 1, strength=0).taps.features
    assert (as_given == support.taps.features).all()


def test_a_part_of_a_sample_keeps_its_own_copies(bench):
    support = bench.users[0].support
    rows = np.array([5, 2])
    copies = copies_of(support[rows])
    assert (copies.labels == np.repeat(support.labels[rows], COPIES)).all()
    width = support.taps.features.shape[1]
    whole = copies_of(support).taps.features.reshape(-1, COPIES, width)
    assert (copies.taps.features == whole[rows].reshape(-1, width)).all()


def columns(bench):
    """What the local expert reads: a value a quarter and channel, and the bias."""
    return len(bench.ge.standardizer.pooled_mean) + 1


def test_a_variants_lesson_is_the_loss_written_out(bench):
    support, decay, prior = bench.users[0].support, 3.0, pooled_weights(2)
    _, lesson = Linear(decay=decay, prior=prior, retention=0.1)._train(bench, support)
    weights = np.random.default_rng(0).normal(0, 0.1, (47, columns(bench))).astype(np.float32)
    exact = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    center = torch.tensor(prior(bench).center, dtype=torch.float64)
    loss = decay / 2 * (exact**2).sum()
    sides = (support, 0.2), (copies_of(support), 0.2), (bench.retained, 0.1 * len(support) / len(bench.retained))
    for sample, importance in sides:
        inputs = torch.tensor(np.column_stack([sample.read("quarters"), np.ones(len(sample))]), dtype=torch.float64)
        scores = torch.tensor(sample.taps.logits) + inputs @ (center + exact).T
        labels = torch.tensor(sample.labels)
        loss = loss + importance * torch.nn.functional.cross_entropy(scores, labels, reduction="sum")
    loss.backward()
    found = decay * correction_gradient(weights, lesson, 1.0)
    assert found == pytest.approx(exact.grad.numpy(), abs=1e-3)


def regression(inputs, truth, importance, decay):
    """Return slopes and shift of a logistic regression, by torch's L-BFGS."""
    matrix, target, weight = (torch.tensor(values, dtype=torch.float64) for values in (inputs, truth, importance))
    values = torch.zeros(matrix.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([values], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure():
        search.zero_grad()
        odds = matrix @ values[:-1] + values[-1]
        fit = torch.nn.functional.binary_cross_entropy_with_logits(odds, target, weight, reduction="sum")
        loss = fit + decay / 2 * (values[:-1] ** 2).sum()
        loss.backward()
        return loss

    search.step(closure)
    return values.detach().numpy()[:-1], values.detach().numpy()[-1]


def test_a_stronger_penalty_of_the_gate_is_that_of_the_loss_written_out(bench):
    user, decay = bench.users[0], 1000.0  # so strong that the product's steps reach the lowest point
    ours, theirs = user.support.read("features"), bench.retained.read("features")
    truth = np.repeat([1.0, 0.0], [len(ours), len(theirs)])
    slopes, shift = regression(
        np.concatenate([ours, theirs]), truth, np.where(truth > 0, 0.5 * len(theirs) / len(ours), 0.5), decay
    )
    odds = logistic(bits=8, settled=False, decay=decay)(bench, user.support).log_odds(user.rest)
    assert odds == pytest.approx(user.rest.read("features") @ slopes + shift, abs=0.1)


def test_calibration_is_a_logistic_regression_with_both_sides_weighing_the_same():
    rng = np.random.default_rng(4)
    ours, theirs = rng.normal(2, 3, 90), rng.normal(-4, 2, 300)
    truth = np.repeat([1.0, 0.0], [90, 300])
    slopes, shift = regression(np.r_[ours, theirs][:, None], truth, np.where(truth > 0, 300 / 90, 1.0), 0.0)
    assert platt(ours, theirs) == pytest.approx((slopes[0], shift), abs=1e-3)


def test_a_low_rank_expert_has_that_rank_and_counts_both_factors(bench):
    user = bench.users[0]
    local = low_rank(4, 4)(bench, user.support)
    correction = local.correct(user.rest)
    assert np.linalg.matrix_rank(correction - correction.mean(axis=0), tol=1e-2) <= 4
    assert local.kept == 2 * (4 + 47) + 4 * (47 + columns(bench)) // 2


def test_what_teachers_taught_is_counted_as_shipped(bench):
    local = Linear(prior=pooled_weights(2))(bench, bench.users[0].support)
    taught = fit_local_expert(plain_lesson(bench.lessons, 10.0))
    assert local.shipped == quantize(taught, 2).nbytes


def test_figures_are_those_of_counting_by_hand(ge, bench):
    rows = harness.compare(bench, CHEAP)
    assert list(rows) == CHEAP
    errors, gains, lost = [], [], []
    for user in bench.users:
        mixture = EXPERIMENTS["gate-8-bits"].fit(bench, user.support)

        def accuracy(sample, mixture=mixture):
            gate = weigh(mixture.gate.log_odds(sample), 0)
            first, correction = sample.taps.logits, mixture.local.correct(sample)
            mixed = mix(softmax(first), softmax(first + correction), gate)
            return [(scores.argmax(axis=1) == sample.labels).mean() for scores in (sample.taps.logits, mixed)]

        before, after = accuracy(user.rest)
        errors.append(1 - before)
        gains.append(after - before)
        lost.append(-np.diff(accuracy(bench.generic))[0])
    row = rows["gate-8-bits"]
    assert row["removed"] == pytest.approx(np.sum(gains) / np.sum(errors), abs=1e-4)
    assert row["lost"] == pytest.approx(np.mean(lost), abs=1e-4)
    assert row["lost_equal"] <= harness.BUDGET + 1e-5
    weights = len(bench.ge.standardizer.feature_mean)
    assert row["profile_bytes"] - rows["compact"]["profile_bytes"] == weights - packed_bytes(weights, 5)
    assert rows["compact"]["gained"] == rows["compact"]["gained_low"] == 0
    assert row["gained"] == pytest.approx(row["removed_equal"] - rows["compact"]["removed_equal"], abs=1e-4)
    assert rows["no-copies"]["local_accuracy"] != rows["compact"]["local_accuracy"]


def test_the_command_writes_the_record_and_makes_the_table_anew(files, monkeypatch):
    document, out = files / "table.md", files / "out.json"
    document.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    data = ["--writers", str(files / "writers.npz"), "--generic", str(files / "generic.npz")]
    given = [*data, "--out", str(out), "--table", str(document), "--shots", "1", "--only", "gate-8-bits"]
    monkeypatch.setattr("sys.argv", ["experiments", *given])
    command.main()
    record = json.loads(out.read_text())
    assert list(record["experiments"]) == ["gate-8-bits"]
    assert document.read_text() == f"before\n{table.BEGIN}\n{table.markdown(record)}\n{table.END}\nafter\n"


def test_bad_calls_are_refused_in_one_sentence(ge, files, monkeypatch):
    generic = str(files / "generic.npz")
    with pytest.raises(EdgemoeError, match="fewer than three writers"):
        load_bench(ge, generic, generic)
    data = ["--writers", generic, "--generic", generic, "--out", str(files / "no.json")]
    monkeypatch.setattr("sys.argv", ["experiments", *data, "--only", "nothing"])
    with pytest.raises(SystemExit, match="no experiment is called 'nothing'"):
        command.main()
