"""A schedule's run that is killed goes on bit for bit, whatever it knew between two epochs, and on no other's state."""

import importlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from networks import settled  # noqa: E402

from edgemoe.errors import EdgemoeError  # noqa: E402
from edgemoe.global_expert.architectures import build_network  # noqa: E402
from edgemoe.global_expert.checkpoint import load_checkpoint  # noqa: E402
from edgemoe.global_expert.lenet5 import widths  # noqa: E402
from edgemoe.global_expert.lessons import prepare_lessons  # noqa: E402
from edgemoe.global_expert.train import Recipe, accuracy  # noqa: E402
from edgemoe.pruning.criteria import CRITERIA, Criterion  # noqa: E402
from edgemoe.pruning.schedules import SCHEDULES, Run  # noqa: E402

CLASSES, BEFORE, SHAPE = "abde", (6, 10, 24, 16), (3, 5, 10, 7)
RECIPE = Recipe(epochs=4, plain=2, batch=16, rate=1e-2, seed=3)  # 13 steps an epoch; in the first 39 the choice moves


@pytest.fixture(scope="module")
def lessons():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (200, 28, 28), np.uint8), rng.integers(0, 4, 200)
    return prepare_lessons(settled(BEFORE, 4, seed=1), images, labels, variants=2)


@pytest.fixture(scope="module")
def held(lessons):
    return lessons.images[1][:80], lessons.labels[:80]


def pruned(name, lessons, run, recipe=RECIPE):
    """The tensors, as they are saved, and the log."""
    model, log = SCHEDULES[name](settled(BEFORE, 4, dropout=0.1), SHAPE, CRITERIA["taylor"], lessons, recipe, run)
    return {key: value.contiguous() for key, value in model.state_dict().items()}, log


@pytest.fixture(scope="module")
def whole(lessons, held):
    """What each schedule comes to that nothing interrupts and that keeps nothing."""
    return {name: pruned(name, lessons, Run(CLASSES, None, held)) for name in SCHEDULES}


@pytest.fixture(scope="module")
def finished(lessons, held, tmp_path_factory):
    """Each schedule's state after its last epoch."""
    folder = tmp_path_factory.mktemp("finished")
    for name in SCHEDULES:
        pruned(name, lessons, Run(CLASSES, folder / f"{name}.npz", held))
    return folder


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Killed(Exception):
    pass


@pytest.mark.parametrize("epoch", [1, 2, 4], ids=["revising", "revising-2", "retraining"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_killed_and_resumed_is_bit_for_bit_one_that_never_was(name, epoch, lessons, held, whole, tmp_path):
    def kill(event):
        if event.get("epoch") == epoch:
            raise Killed

    state = tmp_path / "run.npz"
    with pytest.raises(Killed):
        pruned(name, lessons, Run(CLASSES, state, held, kill))
    assert load_checkpoint(state).epoch == epoch
    torch.rand(77)  # whatever else happened to the global generator
    seen = []
    tensors, log = pruned(name, lessons, Run(CLASSES, state, held, seen.append))
    assert same(tensors, whole[name][0])
    assert log == whole[name][1]
    assert [event["epoch"] for event in seen if "epoch" in event] == list(range(epoch + 1, 7))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_finished_run_is_only_cut(name, lessons, held, whole, finished):
    state = finished / f"{name}.npz"
    content = state.read_bytes()

    def never(event):
        raise AssertionError("it trains")

    tensors, log = pruned(name, lessons, Run(CLASSES, state, held, never))
    assert same(tensors, whole[name][0])
    assert log == whole[name][1]
    assert state.read_bytes() == content


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_log_has_each_epoch_and_ends_with_what_the_network_that_is_left_reads(name, held, whole):
    tensors, log = whole[name]
    assert [entry["epoch"] for entry in log] == [1, 2, 3, 4, 5, 6]
    assert all(entry["loss"] > 0 for entry in log)
    model = settled(SHAPE, 4)
    model.load_state_dict(tensors)
    assert log[-1]["validation"] == pytest.approx(accuracy(model, *held), abs=1 / 80)  # the cut one rounds otherwise


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_state_of_another_schedule_is_refused_and_left_as_it_is(name, lessons, held, finished):
    for other in SCHEDULES.keys() - {name}:
        state = finished / f"{other}.npz"
        content = state.read_bytes()
        with pytest.raises(EdgemoeError, match=rf"{other}\.npz: [^\n]*; remove it to start anew$"):
            pruned(name, lessons, Run(CLASSES, state, held))
        assert state.read_bytes() == content


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_state_is_an_ordinary_network_or_refused_as_one(name, whole, finished):
    kept = load_checkpoint(finished / f"{name}.npz")
    assert (kept.classes, kept.epoch) == (CLASSES, 6)
    if name == "one-shot":
        model = build_network(kept)
        assert widths(model) == SHAPE
        assert same(model.state_dict(), whole[name][0])
    else:
        assert tuple(kept.shape) == BEFORE  # with gates and uncut
        with pytest.raises(EdgemoeError, match="tensors do not fit its shape"):
            build_network(kept)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_criterion_sees_images_drawn_at_random_by_the_recipes_seed(name, lessons, monkeypatch):
    monkeypatch.setattr(importlib.import_module("edgemoe.pruning.schedules.schedule"), "SCORED", 50)
    seen = []

    def watching(model, images, labels):
        seen.append((images, labels))
        return CRITERIA["magnitude"].score_channels(model, images, labels)

    recipe = Recipe(epochs=1, plain=1, batch=64, seed=5)
    SCHEDULES[name](settled(BEFORE, 4), SHAPE, Criterion("watching", watching), lessons, recipe)
    rows = sorted(np.random.default_rng(5).permutation(200)[:50])
    assert rows != list(range(50))
    assert seen
    for images, labels in seen:
        np.testing.assert_array_equal(images, lessons.images[0][rows])
        np.testing.assert_array_equal(labels, lessons.labels[rows])
