"""From images to a bundle in small: what is in the bundle is what was measured."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from edgemoe import EdgemoeError, Personalizer, load_global_expert  # noqa: E402
from edgemoe.accounting.graph import count_graph  # noqa: E402
from edgemoe.accounting.onnx_reader import parse_onnx  # noqa: E402
from edgemoe.classes import CLASS_SETS  # noqa: E402
from edgemoe.device.global_expert import GlobalExpert  # noqa: E402
from edgemoe.global_expert.architectures import build_network  # noqa: E402
from edgemoe.global_expert.build import (  # noqa: E402
    Samples,
    bundle_expert,
    hold_out,
    read_samples,
    share_weights,
    train_expert,
)
from edgemoe.global_expert.checkpoint import load_checkpoint  # noqa: E402
from edgemoe.global_expert.layers import parameter_count, weighted_layers  # noqa: E402
from edgemoe.global_expert.lenet5 import widths  # noqa: E402
from edgemoe.global_expert.lessons import prepare_lessons  # noqa: E402
from edgemoe.global_expert.train import Recipe, accuracy, settle_normalization  # noqa: E402
from edgemoe.pruning.criteria import find_criterion  # noqa: E402
from edgemoe.pruning.schedules import Run, find_schedule  # noqa: E402
from edgemoe.simulator import generic_samples  # noqa: E402

CLASSES = CLASS_SETS["digits"]
RECIPE = Recipe(epochs=6, batch=32, rate=5e-3)


def quiet(event):
    """Progress that nobody watches."""


def digits(seed, per_class):
    images, labels = generic_samples(seed, per_class, CLASSES)
    return Samples(images, np.array([CLASSES.index(label) for label in labels], np.int64), f"simulated {seed}")


@pytest.fixture(scope="module")
def sets():
    return digits(1, 40), digits(2, 12), digits(3, 6)


@pytest.fixture(scope="module")
def built(sets, tmp_path_factory):
    """Trained, pruned and bundled: the folder, the pruned network and the metadata."""
    folder = tmp_path_factory.mktemp("run")
    train, validation, test = sets
    train_expert((4, 6, 16), CLASSES, train, validation, RECIPE, folder / "unpruned.npz", quiet)
    kept = (folder / "unpruned.npz").read_bytes()
    unpruned = build_network(load_checkpoint(folder / "unpruned.npz")).eval()
    lessons = prepare_lessons(unpruned, train.images, train.labels, variants=2)
    run = Run(CLASSES, folder / "pruned.npz", (validation.images, validation.labels), quiet)
    prune = find_schedule("one-shot")
    pruned, log = prune(unpruned, (3, 4, 10), find_criterion("taylor"), lessons, RECIPE, run)
    assert [entry["epoch"] for entry in log] == list(range(1, 1 + RECIPE.total))
    assert (folder / "unpruned.npz").read_bytes() == kept
    record = {"pruning": {"criterion": "taylor"}}
    metadata = bundle_expert(
        pruned, "tiny", CLASSES, train, validation, [test, validation], record, folder / "tiny.bundle"
    )
    return folder, pruned, metadata


def test_the_pruned_expert_is_smaller_and_still_reads(built, sets):
    folder, pruned, _ = built
    assert widths(pruned) == (3, 4, 10)
    assert load_checkpoint(folder / "unpruned.npz").shape == [4, 6, 16]
    assert load_checkpoint(folder / "pruned.npz").shape == [3, 4, 10]
    assert accuracy(pruned, sets[0].images, sets[0].labels) > 0.5


def test_the_metadata_say_what_the_bundle_holds(built, sets):
    folder, pruned, metadata = built
    expert = load_global_expert(folder / "tiny.bundle")
    assert {**expert.metadata, **metadata} == expert.metadata
    assert metadata["name"] == expert.name == "tiny"
    assert metadata["classes"] == expert.classes == CLASSES
    assert metadata["shape"] == [3, 4, 10]
    assert metadata["feature_map"] == [4, 5, 5]
    assert metadata["parameters"] == parameter_count(pruned)
    assert metadata["pruning"] == {"criterion": "taylor"}
    assert metadata["data"] == {"train": "simulated 1", "retention and validation": "simulated 2"}
    assert "EMNIST" in metadata["licence"]


def test_the_figures_are_the_accuracies_of_both_forms(built, sets):
    folder, _, metadata = built
    bundle = load_global_expert(folder / "tiny.bundle").bundle
    for test in sets[1:]:
        truth = np.array(list(CLASSES))[test.labels]
        for form in ("float32", "int8"):
            measured = (GlobalExpert(bundle, form).predict(test.images) == truth).mean()
            assert metadata["figures"][test.source][form] == pytest.approx(measured, abs=1e-5)


def test_the_float_form_is_the_network(built, sets):
    folder, pruned, _ = built
    logits = load_global_expert(folder / "tiny.bundle", "float32").taps(sets[2].images).logits
    with torch.inference_mode():
        settled = settle_normalization(pruned, sets[0].images)
        expected = settled(torch.from_numpy(sets[2].images)[:, None] / 255).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_the_retention_set_is_of_validation_samples_each_once(built, sets):
    folder, _, _ = built
    expert = load_global_expert(folder / "tiny.bundle")
    validation = sets[1]
    assert len(expert.retention) == len(validation.labels)  # fewer than RETAINED: all of them
    logits = expert.taps(validation.images).logits
    rows = sorted((label, row.tobytes()) for label, row in zip(validation.labels, logits, strict=True))
    kept = expert.retention
    assert sorted((int(n), row.tobytes()) for n, row in zip(kept.labels, kept.taps().logits, strict=True)) == rows
    assert not np.array_equal(kept.labels, validation.labels)  # and shuffled, for its halves are used apart


def test_no_more_than_so_many_samples_are_retained(built, sets):
    folder, pruned, _ = built
    bundle_expert(pruned, "tiny", CLASSES, *sets[:2], [], {}, folder / "small.bundle", retained=30)
    assert len(load_global_expert(folder / "small.bundle").retention) == 30


def test_the_same_network_and_samples_give_the_same_bundle(built, sets):
    folder, pruned, _ = built
    record = {"pruning": {"criterion": "taylor"}}
    bundle_expert(pruned, "tiny", CLASSES, *sets[:2], [sets[2], sets[1]], record, folder / "again.bundle")
    assert (folder / "again.bundle").read_bytes() == (folder / "tiny.bundle").read_bytes()


@pytest.fixture(scope="module")
def shared(built, sets):
    """The pruned network with palettes, what made it, and the log of its training."""
    folder, pruned, _ = built
    train, validation, _ = sets
    lessons = prepare_lessons(pruned, train.images, train.labels, variants=0)
    call = (pruned, CLASSES, train, validation, Recipe(0, 2, batch=32), lessons, folder / "palettes.npz", quiet)
    before = {name: value.clone() for name, value in pruned.state_dict().items()}
    model, log = share_weights(*call)
    assert all(torch.equal(value, before[name]) for name, value in pruned.state_dict().items())
    return model, call, log


def test_with_palettes_dense_layers_have_16_values_and_still_read(shared, sets):
    model, (pruned, *_), log = shared
    values = {name: len(layer.weight.unique()) for name, layer in weighted_layers(model).items()}
    assert max(values["dense3"], values["output"]) <= 16
    assert min(values["conv1"], values["conv2"]) > 50
    assert [entry["epoch"] for entry in log] == [1, 2]
    assert log[-1]["validation"] == pytest.approx(accuracy(model, sets[1].images, sets[1].labels), abs=1e-5)
    before = accuracy(settle_normalization(pruned, sets[0].images), sets[0].images, sets[0].labels)
    assert accuracy(model, sets[0].images, sets[0].labels) > before - 0.05


def test_a_bundle_with_palettes_holds_the_trained_values_in_half_the_bytes(shared, built, sets):
    folder, _, _ = built
    model = shared[0]
    bundle_expert(model, "tiny", CLASSES, *sets[:2], [sets[2]], {}, folder / "palettes.bundle")
    plain, packed = (load_global_expert(folder / f"{name}.bundle").bundle for name in ("tiny", "palettes"))
    costs = [{c.name: c for c in count_graph(parse_onnx(b.int8)).layers} for b in (plain, packed)]
    weights = 10 * 100
    assert costs[0]["dense3"].bytes - costs[1]["dense3"].bytes == weights // 2 - 16 + 9 * 10 - 9
    assert costs[0]["dense3"].parameters == costs[1]["dense3"].parameters
    same = [replace(cost["conv2"], zero_macs=None) for cost in costs]  # training went on
    assert same[0] == same[1]
    with torch.inference_mode():
        expected = model(torch.from_numpy(sets[2].images)[:, None] / 255).numpy()
    for form, tolerance in (("float32", 1e-4), ("int8", 0.2 * expected.std())):
        logits = load_global_expert(folder / "palettes.bundle", form).taps(sets[2].images).logits
        np.testing.assert_allclose(logits, expected, atol=tolerance)


def test_palettes_that_were_trained_are_only_loaded(shared):
    model, (*call, _), log = shared

    def never(event):
        raise AssertionError("it trains")

    again, kept = share_weights(*call, never)
    assert kept == log
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items())


def test_palettes_of_another_recipe_are_refused(shared):
    _, (pruned, classes, train, validation, _, lessons, state, _), _ = shared
    with pytest.raises(EdgemoeError, match=r"palettes\.npz: of another network or recipe"):
        share_weights(pruned, classes, train, validation, Recipe(0, 3), lessons, state, quiet)


def test_a_device_personalizes_what_was_built(built, sets):
    folder, _, _ = built
    expert = load_global_expert(folder / "tiny.bundle")
    moe = Personalizer(expert).fit(sets[2].images, np.array(list(CLASSES))[sets[2].labels])
    assert set(moe.predict(sets[2].images)) <= set(CLASSES)
    moe.save(folder / "me.moe")


def test_a_twentieth_is_held_out_without_overlap_and_by_the_seed():
    samples = Samples(
        np.arange(200, dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), np.uint8), np.arange(200), "all"
    )
    kept, held = hold_out(samples, seed=4)
    assert (len(kept.labels), len(held.labels)) == (190, 10)
    assert sorted([*kept.labels, *held.labels]) == list(range(200))
    for part in (kept, held):
        assert np.array_equal(part.images[:, 0, 0], part.labels)
    assert np.array_equal(hold_out(samples, seed=4)[1].labels, held.labels)
    assert not np.array_equal(hold_out(samples, seed=5)[1].labels, held.labels)
    assert (kept.source, held.source) == ("all", "all, held out")


def test_several_sets_are_read_as_one_and_merged_onto_the_classes(tmp_path):
    rng = np.random.default_rng(0)
    for name, labels in (("one", "aXx"), ("two", "0b")):
        images = rng.integers(1, 256, (len(labels), 28, 28), np.uint8)
        np.savez(tmp_path / f"{name}.npz", image=images, label=np.array(list(labels)))
    balanced = CLASS_SETS["balanced"]
    samples = read_samples([tmp_path / "one.npz", tmp_path / "two.npz"], balanced)
    assert "".join(balanced[i] for i in samples.labels) == "aXX0b"
    assert samples.images.shape == (5, 28, 28)
    assert samples.source == "one.npz, two.npz"
    with pytest.raises(EdgemoeError, match=r"one\.npz: label 'X'"):
        read_samples([tmp_path / "one.npz"], "ab")


def test_a_criterion_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    find_criterion("taylor")
    with pytest.raises(EdgemoeError, match=r"criterion 'luck': expected one of taylor, magnitude, random"):
        find_criterion("luck")


def test_samples_of_other_classes_are_left_out_where_that_is_asked_and_counted(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "one.npz", image=rng.integers(1, 256, (5, 28, 28), np.uint8), label=np.array(list("7aA0b")))
    found = {}
    for name in ("digits", "letters", "balanced"):
        samples = read_samples([tmp_path / "one.npz"], CLASS_SETS[name], only=True)
        found[name] = "".join(CLASS_SETS[name][i] for i in samples.labels), samples.left_out, len(samples.images)
    assert found == {"digits": ("70", 3, 2), "letters": ("AAB", 2, 3), "balanced": ("7aA0b", 0, 5)}
    with pytest.raises(EdgemoeError, match=r"one\.npz: label 'A'"):
        read_samples([tmp_path / "one.npz"], CLASS_SETS["digits"])
