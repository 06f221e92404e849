"""Training: it learns, it resumes bit for bit, and it refuses to go on with another run."""

import dataclasses
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgemoe.errors import EdgemoeError  # noqa: E402
from edgemoe.global_expert import train as module  # noqa: E402
from edgemoe.global_expert.architectures import build_network  # noqa: E402
from edgemoe.global_expert.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from edgemoe.global_expert.lenet5 import lenet5  # noqa: E402
from edgemoe.global_expert.train import Recipe, accuracy, settle_normalization, train  # noqa: E402
from edgemoe.simulator import generic_samples  # noqa: E402

CLASSES = "0123"
RECIPE = Recipe(epochs=3, batch=32, rate=5e-3, seed=1)


@pytest.fixture(scope="module")
def samples():
    images, labels = generic_samples(seed=1, per_class=40, classes=CLASSES)
    return images, np.array([CLASSES.index(label) for label in labels], np.int64)


def network(dropout=0.3, seed=0, classes=4):
    torch.manual_seed(seed)
    return lenet5((3, 4, 12), classes, dropout)


@pytest.fixture(scope="module")
def teacher(samples):
    torch.manual_seed(5)
    model = lenet5((6, 8, 20), 4)
    train(model, CLASSES, *samples, dataclasses.replace(RECIPE, epochs=2))
    return model


def state_of(model):
    return {name: value.clone().contiguous() for name, value in model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Killed(Exception):
    pass


def killed_at(epoch=None, step=None):
    def progress(event):
        if event.get("epoch", 0) == epoch or event.get("step", 0) == step:
            raise Killed

    return progress


def test_the_loss_falls_and_the_network_learns_to_read(samples):
    model = network()
    before = accuracy(model, *samples)
    log = train(model, CLASSES, *samples, dataclasses.replace(RECIPE, epochs=8), validation=samples)
    assert [entry["epoch"] for entry in log] == list(range(1, 9))
    assert log[-1]["loss"] < 0.6 * log[0]["loss"]
    assert log[-1]["validation"] == pytest.approx(accuracy(model, *samples), abs=1e-5)
    assert accuracy(model, *samples) > max(0.7, before + 0.2)
    assert not model.training


@pytest.mark.parametrize("distilled", [False, True])
def test_a_run_killed_and_resumed_is_bit_for_bit_one_that_never_was(samples, teacher, tmp_path, distilled):
    extra = {"teacher": teacher} if distilled else {}
    whole = network()
    log = train(whole, CLASSES, *samples, RECIPE, validation=samples, **extra)

    path = tmp_path / "run.npz"
    with pytest.raises(Killed):
        train(
            network(), CLASSES, *samples, RECIPE, validation=samples, state=path, progress=killed_at(epoch=1), **extra
        )
    assert load_checkpoint(path).epoch == 1
    torch.rand(77)  # whatever else happened to the global generator
    resumed = network(seed=9)
    resumed_log = train(resumed, CLASSES, *samples, RECIPE, validation=samples, state=path, **extra)
    assert equal(state_of(resumed), state_of(whole))
    assert resumed_log == log


def test_a_run_killed_within_an_epoch_goes_on_from_the_last_whole_one(samples, tmp_path):
    recipe = dataclasses.replace(RECIPE, batch=4)  # 40 steps an epoch, reported after each 20
    whole = network()
    train(whole, CLASSES, *samples, recipe)
    path = tmp_path / "run.npz"
    with pytest.raises(Killed):
        train(network(), CLASSES, *samples, recipe, state=path, progress=killed_at(step=60))
    assert load_checkpoint(path).epoch == 1
    resumed = network(seed=9)
    train(resumed, CLASSES, *samples, recipe, state=path)
    assert equal(state_of(resumed), state_of(whole))


def test_a_finished_run_is_only_loaded(samples, tmp_path):
    path = tmp_path / "run.npz"
    first = network()
    log = train(first, CLASSES, *samples, RECIPE, state=path)
    content, again = path.read_bytes(), network(seed=9)
    assert train(again, CLASSES, *samples, RECIPE, state=path) == log
    assert equal(state_of(again), state_of(first))
    assert path.read_bytes() == content
    rebuilt = build_network(load_checkpoint(path)).eval()
    assert equal(state_of(rebuilt), state_of(first))


def test_watching_a_run_does_not_change_it(samples, tmp_path):
    quiet, watched, events = network(), network(), []
    recipe = dataclasses.replace(RECIPE, epochs=2, batch=8)
    train(quiet, CLASSES, *samples, recipe)
    train(
        watched, CLASSES, *samples, recipe, validation=samples, state=tmp_path / "run.npz", progress=events.append,
    )  # fmt: skip
    assert equal(state_of(quiet), state_of(watched))
    assert [e["step"] for e in events if "step" in e] == [20, 40]
    assert all(e["steps"] == 40 and e["loss"] > 0 for e in events if "step" in e)
    assert [e["epoch"] for e in events if "epoch" in e] == [1, 2]


def test_the_seed_decides(samples):
    runs = []
    for seed in (1, 1, 2):
        model = network()
        train(model, CLASSES, *samples, dataclasses.replace(RECIPE, epochs=1, seed=seed))
        runs.append(state_of(model))
    assert equal(runs[0], runs[1])
    assert not equal(runs[0], runs[2])


@pytest.fixture(scope="module")
def started(samples, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run.npz"
    with pytest.raises(Killed):
        train(network(), CLASSES, *samples, RECIPE, state=path, progress=killed_at(epoch=1))
    return path


@pytest.mark.parametrize(
    "change", [{"rate": 1e-3}, {"seed": 2}, {"epochs": 4}, {"batch": 16}, {"smoothing": 0.0}], ids=str
)
def test_a_run_is_not_resumed_with_another_recipe(samples, started, change):
    before = started.read_bytes()
    with pytest.raises(EdgemoeError, match=r"the run to resume has shape .* and recipe .*remove it"):
        train(network(), CLASSES, *samples, dataclasses.replace(RECIPE, **change), state=started)
    assert started.read_bytes() == before


def test_a_run_is_not_resumed_with_another_shape(samples, started):
    with pytest.raises(EdgemoeError, match=r"shape \[3, 4, 12\]"):
        train(lenet5((3, 4, 13), 4), CLASSES, *samples, RECIPE, state=started)


def test_a_run_is_not_resumed_with_other_classes(samples, started, tmp_path):
    (tmp_path / "run.npz").write_bytes(started.read_bytes())
    with pytest.raises(EdgemoeError):
        train(network(), "abde", *samples, RECIPE, state=tmp_path / "run.npz")


def test_a_damaged_state_is_an_error_and_not_a_fresh_start(samples, started, tmp_path):
    (tmp_path / "run.npz").write_bytes(started.read_bytes()[:-100])
    with pytest.raises(EdgemoeError, match=r"run\.npz: not a whole edgemoe checkpoint"):
        train(network(), CLASSES, *samples, RECIPE, state=tmp_path / "run.npz")


@pytest.mark.parametrize("name", ["model.norm1.weight", "model.new.mask", "optimizer.1.exp_avg", "optimizer.99.step"])
def test_a_state_with_a_tensor_missing_new_or_of_another_shape_is_refused_by_its_name(samples, started, tmp_path, name):
    kept, path, model = load_checkpoint(started), tmp_path / "run.npz", network()
    before = state_of(model)
    others = {key: value for key, value in kept.tensors.items() if key != name}
    for changed in [{name: torch.ones(9, 9)}, *([{}] if name in kept.tensors else [])]:
        save_checkpoint(path, dataclasses.replace(kept, tensors={**others, **changed}))
        with pytest.raises(EdgemoeError, match=rf"run\.npz: {re.escape(name)} does not fit this network; remove it"):
            train(model, CLASSES, *samples, RECIPE, state=path)
        assert equal(state_of(model), before)


def test_the_optimizers_state_is_kept(started):
    checkpoint = load_checkpoint(started)
    kept = {name.split(".")[-1] for name in checkpoint.tensors if name.startswith("optimizer.")}
    assert kept == {"step", "exp_avg", "exp_avg_sq"}
    assert float(checkpoint.tensors["optimizer.0.step"]) == 5  # 160 samples in batches of 32
    assert checkpoint.record["recipe"] == dataclasses.asdict(RECIPE)


def test_a_checkpoint_of_another_program_is_refused(samples, started, tmp_path):
    checkpoint = load_checkpoint(started)
    save_checkpoint(tmp_path / "run.npz", dataclasses.replace(checkpoint, record={}))
    with pytest.raises(EdgemoeError, match="recipe None"):
        train(network(), CLASSES, *samples, RECIPE, state=tmp_path / "run.npz")


def learning_rates(monkeypatch, samples, recipe):
    """The rate of each step, as the optimizer sees it."""
    rates, step = [], torch.optim.AdamW.step

    def spy(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    train(network(), CLASSES, samples[0][:20], samples[1][:20], recipe)
    return np.array(rates)


def cycle(steps, peak, warmup):
    """Up in a straight line from a hundredth or so, then down half a cosine to nothing."""
    done = np.arange(steps) / steps
    rise, fall = (done + 1e-3) / (warmup + 1e-3), 0.5 * (1 + np.cos(np.pi * (done - warmup) / (1 - warmup)))
    return peak * np.where(done < warmup, rise, fall)


def test_the_rate_warms_up_and_falls_as_half_a_cosine(monkeypatch, samples):
    recipe = Recipe(epochs=10, batch=5, rate=1e-2, warmup=0.2)
    once = learning_rates(monkeypatch, samples, recipe)
    np.testing.assert_allclose(once, cycle(40, 1e-2, 0.2), rtol=1e-6)
    assert once.argmax() == 8


@pytest.mark.parametrize(
    ("fall", "left"),
    [
        ("linear", lambda done: 1 - done),
        ("constant", lambda done: np.ones_like(done)),
        ("steps", lambda done: np.select([done < 0.5, done < 0.75], [1, 0.1], 0.01)),
    ],
)
def test_the_rate_falls_as_it_is_told(monkeypatch, samples, fall, left):
    rates = learning_rates(monkeypatch, samples, Recipe(epochs=10, batch=5, rate=1e-2, warmup=0.2, fall=fall))
    np.testing.assert_allclose(rates[8:], 1e-2 * left((np.arange(8, 40) / 40 - 0.2) / 0.8), rtol=1e-6)


def test_a_fall_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(EdgemoeError, match="fall 'up': expected one of cosine, linear, steps, constant"):
        Recipe(fall="up")


def test_a_recipe_of_plain_epochs_alone_starts_at_a_quarter_of_the_peak(monkeypatch, samples):
    rates = learning_rates(monkeypatch, samples, Recipe(epochs=0, plain=10, batch=5, rate=1e-2))
    np.testing.assert_allclose(rates, cycle(40, 2.5e-3, 0.0), rtol=1e-6)


def test_the_loss_is_smoothed_entropy_and_softened_divergence(teacher):
    torch.manual_seed(0)
    student, inputs, targets = network(dropout=0.0).eval(), torch.rand(10, 1, 28, 28), torch.arange(10) % 4
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        mine, theirs = (model(inputs).double().numpy() for model in (student, teacher.eval()))

    def log_softmax(values):
        return values - np.log(np.exp(values).sum(1, keepdims=True))

    smooth = np.full((10, 4), RECIPE.smoothing / 4)
    smooth[np.arange(10), targets] += 1 - RECIPE.smoothing
    entropy = -(smooth * log_softmax(mine)).sum(1).mean()
    soft, softer = log_softmax(theirs / RECIPE.temperature), log_softmax(mine / RECIPE.temperature)
    divergence = (np.exp(soft) * (soft - softer)).sum(1).mean() * RECIPE.temperature**2
    mixed = (1 - RECIPE.distill) * entropy + RECIPE.distill * divergence
    for other, expected in ((None, entropy), (teacher, mixed)):
        answers = None if other is None else module._answer(other, inputs)
        loss = module._loss(module._answer(student, inputs), answers, targets, RECIPE)
        assert loss.item() == pytest.approx(expected, rel=1e-3)


def test_a_teacher_is_left_as_it_is(samples, teacher):
    before = state_of(teacher)
    train(network(), CLASSES, *samples, dataclasses.replace(RECIPE, epochs=1), teacher=teacher)
    assert equal(state_of(teacher), before)


def test_settled_normalization_is_that_of_undistorted_images(samples):
    model = network()
    train(model, CLASSES, *samples, dataclasses.replace(RECIPE, epochs=1))
    before = state_of(model)
    settled = settle_normalization(model, samples[0])
    assert equal(state_of(model), before)
    assert not settled.training
    # By hand, layer after layer: mean and variance of what each normalization reads, which it then takes away.
    x = torch.from_numpy(samples[0])[:, None] / 255
    with torch.inference_mode():
        for layer in settled:
            if hasattr(layer, "running_mean"):
                flat = x.transpose(0, 1).flatten(1).double()
                torch.testing.assert_close(layer.running_mean.double(), flat.mean(1), rtol=2e-3, atol=1e-4)
                torch.testing.assert_close(layer.running_var.double(), flat.var(1), rtol=2e-3, atol=1e-5)
            x = layer(x)
    learnt = [name for name, _ in model.named_parameters()]
    assert all(torch.equal(settled.state_dict()[name], before[name]) for name in learnt)
