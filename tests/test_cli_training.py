"""The verbs that train: from images to a bundle that a device can use, whatever interrupts them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runner import edgemoe, interrupted

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgemoe[train]'")

from edgemoe import load_global_expert  # noqa: E402
from edgemoe.accounting.graph import count_graph  # noqa: E402
from edgemoe.accounting.onnx_reader import parse_onnx  # noqa: E402
from edgemoe.cli import train_global  # noqa: E402
from edgemoe.global_expert import build, vgg  # noqa: E402
from edgemoe.global_expert.architectures import build_network  # noqa: E402
from edgemoe.global_expert.checkpoint import Checkpoint, load_checkpoint, save_checkpoint  # noqa: E402
from edgemoe.global_expert.layers import parameter_count  # noqa: E402
from edgemoe.global_expert.lenet5 import lenet5  # noqa: E402
from edgemoe.simulator import generic_samples  # noqa: E402

SHAPE = ("--shape", "4-6-16", "--pruned", "3-4-12")
EPOCHS = ("--epochs", 2, "--plain", 1, "--palette-epochs", 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for name, seed, per_class in (("train", 5, 12), ("test", 6, 2)):
        images, labels = generic_samples(seed, per_class)
        np.savez(folder / f"{name}.npz", image=images, label=labels)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs that nothing interrupted."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert edgemoe(*call(data, out), "--test", data / "test.npz") == 0
    return out


def call(data: Path, out: Path) -> list[object]:
    epochs = ("--epochs", 2, "--plain", 0, "--prune-epochs", 2, "--prune-plain", 1, "--palette-epochs", 1)
    return ["train-global", "--data", data / "train.npz", *SHAPE, *epochs, "--teachers", 0, "--out", out]


def test_a_run_leaves_a_bundle_that_personalizes_and_a_log_of_what_made_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expert = load_global_expert(trained / "lenet5-balanced.bundle")
    log = json.loads((trained / "log.json").read_text())
    assert expert.metadata["shape"] == [3, 4, 12]
    assert expert.metadata["parameters"] == parameter_count(lenet5((3, 4, 12), 47))
    assert expert.metadata["training"]["parameters"] == parameter_count(lenet5((4, 6, 16), 47))
    assert expert.metadata["training"]["recipe"]["seed"] == 0
    assert expert.metadata["pruning"]["criterion"] == "taylor"
    assert set(expert.metadata["figures"]) == {"train.npz, held out", "test.npz"}
    assert log["figures"] == expert.metadata["figures"]
    assert [entry["epoch"] for entry in log["training"]["log"]] == [1, 2]
    assert [entry["epoch"] for entry in log["pruning"]["log"]] == [1, 2, 3]
    assert [entry["epoch"] for entry in log["pruning"]["palette_log"]] == [1]
    images, labels = generic_samples(6, 2)
    assert log["figures"]["test.npz"]["int8"] == pytest.approx((expert.predict(images) == labels).mean(), abs=1e-5)
    out = tmp_path / "me.moe"
    assert edgemoe("personalize", "--ge", trained / "lenet5-balanced.bundle", "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == out.stat().st_size


def test_a_run_interrupted_after_its_first_epoch_ends_with_the_same_bundle(
    data: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(train_global, "epochs_bar", interrupted)
        assert edgemoe(*call(data, out), "--test", data / "test.npz") == 130
    assert load_checkpoint(out / "unpruned.npz").epoch == 1
    assert sorted(path.name for path in out.iterdir()) == ["log.json", "unpruned.npz"]
    capsys.readouterr()
    assert edgemoe(*call(data, out), "--test", data / "test.npz", "--json") == 0
    out_, err = capsys.readouterr()
    assert json.loads(out_)["bundle"] == str(out / "lenet5-balanced.bundle")
    assert "epoch 1 of 2" not in err
    assert "epoch 2 of 2" in err
    name = "lenet5-balanced.bundle"
    assert (out / name).read_bytes() == (trained / name).read_bytes()


def test_dense_layers_have_palettes_and_the_record_says_how(trained: Path, tmp_path: Path) -> None:
    bundle = load_global_expert(trained / "lenet5-balanced.bundle").bundle
    palettes = bundle.metadata["pruning"]["palettes"]
    assert palettes["bits"] == 4
    assert palettes["layers"] == ["dense3", "output"]
    assert (palettes["recipe"]["epochs"], palettes["recipe"]["plain"]) == (0, 1)
    assert sorted(values_of(bundle.float32)) == ["dense3.weight", "output.weight"]
    layers = {layer.name: layer.bytes for layer in count_graph(parse_onnx(bundle.int8)).layers}
    assert layers["output"] == 47 * 12 // 2 + 16 + 4 * 47 + 14
    total = count_graph(parse_onnx(bundle.int8)).total()
    assert json.loads((trained / "log.json").read_text())["cost"]["flash"] == total.bytes


def test_without_palette_epochs_weights_keep_8_bits(data: Path, trained: Path, tmp_path: Path) -> None:
    options = ("--data", data / "train.npz", "--shape", "3-4-12", *EPOCHS, "--palette-epochs", 0)
    assert edgemoe("prune", "--expert", trained / "unpruned.npz", *options, "--out", tmp_path / "run") == 0
    bundle = load_global_expert(tmp_path / "run" / "lenet5.bundle").bundle
    assert "palettes" not in bundle.metadata["pruning"]
    assert values_of(bundle.float32) == []
    layers = {layer.name: layer.bytes for layer in count_graph(parse_onnx(bundle.int8)).layers}
    assert layers["output"] == 47 * 12 + 47 * (4 + 4 + 4 + 1) + 5
    assert json.loads((tmp_path / "run" / "log.json").read_text())["pruning"]["palette_log"] == []


def values_of(graph: bytes) -> list[str]:
    """The weights of a float graph that have at most 16 values."""
    weights = parse_onnx(graph).initializers.items()
    return [name for name, tensor in weights if name.endswith("weight") and len(np.unique(tensor.values)) <= 16]


@pytest.mark.parametrize("when", ["while", "after"])
def test_a_run_killed_at_its_palettes_does_not_repeat_what_came_before(
    when: str,
    data: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def killed(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(build, "save_checkpoint" if when == "while" else "bundle_expert", killed)
        assert edgemoe(*call(data, out), "--test", data / "test.npz") == 130
    left = {"log.json", "unpruned.npz", "pruned.npz"} | ({"palettes.npz"} if when == "after" else set())
    assert {path.name for path in out.iterdir()} == left
    capsys.readouterr()
    assert edgemoe(*call(data, out), "--test", data / "test.npz") == 0
    err = capsys.readouterr().err
    assert "retraining: epoch" not in err
    assert ("training with palettes: epoch 1 of 1" in err) == (when == "while")
    name = "lenet5-balanced.bundle"
    assert (out / name).read_bytes() == (trained / name).read_bytes()


def test_a_folder_with_another_run_is_refused(data: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    assert edgemoe(*call(data, trained), "--seed", 1) == 1
    assert "another run, with seed 0 and not 1" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


def test_prune_keeps_to_its_budget(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = parameter_count(lenet5((4, 6, 16), 47))
    options = ("--expert", trained / "unpruned.npz", "--data", data / "train.npz", *EPOCHS, "--json")
    for budget, limit in (("parameters=0.5", full * 0.5), ("parameters=1500", 1500)):
        out = tmp_path / budget
        assert edgemoe("prune", *options, "--budget", budget, "--out", out, "--criterion", "magnitude") == 0
        result = json.loads(capsys.readouterr().out)
        assert limit * 0.7 < result["parameters"] <= limit
        assert load_global_expert(result["bundle"]).metadata["pruning"]["criterion"] == "magnitude"
        assert result["training"]["parameters"] == full


def test_prune_to_a_shape_equals_the_second_half_of_train_global(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", data / "train.npz", "--test", data / "test.npz", *EPOCHS, "--name", "lenet5-balanced")
    whole = trained / "lenet5-balanced.bundle"
    arguments = ("--expert", trained / "unpruned.npz", "--shape", "3-4-12", *options, "--out", tmp_path / "run")
    assert edgemoe("prune", *arguments) == 0
    assert (tmp_path / "run" / "lenet5-balanced.bundle").read_bytes() == whole.read_bytes()


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vgg, "VGG_SHAPE", (2, 3, 3, 4, 4, 8))


@pytest.mark.usefixtures("narrow")
def test_larger_networks_are_trained_first_and_a_pruned_one_learns_from_their_mean(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, name = tmp_path / "run", "lenet5-balanced.bundle"
    options = ("--teachers", 2, "--teacher-epochs", 2, "--test", data / "test.npz")
    assert edgemoe(*call(data, out), *options) == 0
    files = [out / "teacher-1.npz", out / "teacher-2.npz"]
    one, other = (build_network(load_checkpoint(file)) for file in files)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)
    bundle = load_global_expert(out / name).bundle
    taught = bundle.metadata["pruning"]["teachers"]
    assert list(taught) == ["unpruned", "teacher-1", "teacher-2", "together"]
    assert taught["teacher-2"]["shape"] == [2, 3, 3, 4, 4, 8]
    alone = load_global_expert(trained / name).bundle
    assert bundle.metadata["training"] == alone.metadata["training"]
    assert bundle.float32 != alone.float32

    # Called again with its networks trained it only asks them, and `prune` with their files comes to the same.
    (out / "pruned.npz").unlink()
    (out / "palettes.npz").unlink()
    capsys.readouterr()
    assert edgemoe(*call(data, out), *options) == 0
    assert "training teacher" not in capsys.readouterr().err
    assert load_global_expert(out / name).bundle.float32 == bundle.float32
    options = ("--data", data / "train.npz", "--test", data / "test.npz", *EPOCHS, "--name", "lenet5-balanced")
    options += ("--teacher", files[0], "--teacher", files[1], "--shape", "3-4-12", "--out", tmp_path / "prune")
    assert edgemoe("prune", "--expert", out / "unpruned.npz", *options) == 0
    again = load_global_expert(tmp_path / "prune" / name).bundle
    assert again.float32 == bundle.float32
    assert again.metadata["pruning"] == bundle.metadata["pruning"]


@pytest.mark.usefixtures("narrow")
def test_teachers_of_other_classes_are_refused_before_any_training(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = load_checkpoint(trained / "unpruned.npz")
    network = vgg.vgg((2, 3, 3, 4, 4, 8), 10)
    tensors = {f"model.{name}": value for name, value in network.state_dict().items()}
    digits = Checkpoint([2, 3, 3, 4, 4, 8], "0123456789", 1, tensors, {}, "vgg")
    save_checkpoint(tmp_path / "digits.npz", digits)
    options = ("--data", data / "train.npz", "--shape", "3-4-12", "--out", tmp_path / "run")
    given = ("--expert", trained / "unpruned.npz", "--teacher", tmp_path / "digits.npz")
    assert edgemoe("prune", *given, *options) == 1
    assert f"tells the classes '0123456789' apart, and not '{kept.classes}'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "extra",
    [
        [],
        ["--shape", "3-4-12", "--budget", "parameters=0.5"],
        ["--budget", "parameters"],
        ["--budget", "speed=2"],
        ["--budget", "parameters=-1"],
        ["--budget", "parameters=nan"],
    ],
)
def test_a_prune_without_one_clear_aim_exits_with_2(extra: list[str], tmp_path: Path) -> None:
    assert edgemoe("prune", "--expert", "x.npz", "--data", "x.npz", "--out", tmp_path / "run", *extra) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        (["--pruned", "9-9-9"], "does not lie within"),
        (["--pruned", "3-4"], "shape '3-4'"),
        (["--pruned", "3-4-12-9"], "does not lie within"),
        (["--criterion", "vibes"], "taylor"),
        (["--classes", "runes"], "runes"),
        (["--fall", "up"], "cosine"),
        (["--start", "none.npz"], "none.npz"),
        (["--test", "none.npz"], "none.npz"),
    ],
)
def test_what_cannot_be_trained_is_said_before_the_first_step(
    extra: list[str], word: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgemoe(*call(data, tmp_path / "run"), *extra) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert word in err
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_no_trained_expert_fails_in_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", data / "train.npz", "--shape", "3-4-12", "--out", tmp_path / "run")
    assert edgemoe("prune", "--expert", data / "test.npz", *options) == 1
    assert "test.npz: not a whole edgemoe checkpoint" in capsys.readouterr().err


def test_an_expert_of_digits_starts_from_that_of_all_classes_and_leaves_letters_out(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "digits"
    unseen = data / "test.npz"
    options = ("--classes", "digits", "--start", trained / "unpruned.npz", "--test", unseen, "--validation", unseen)
    assert edgemoe(*call(data, out), *options, "--epochs", 0) == 0
    err = capsys.readouterr().err
    assert "train.npz: 444 samples of other classes are left out" in err
    assert "test.npz: 74 samples of other classes are left out" in err
    expert = load_global_expert(out / "lenet5-digits.bundle")
    assert "".join(expert.classes) == "0123456789"
    assert expert.metadata["parameters"] == parameter_count(lenet5((3, 4, 12), 10))
    start, base = (load_checkpoint(path / "unpruned.npz").tensors for path in (trained, out))
    assert (base["model.output.weight"] == start["model.output.weight"][:10]).all()


def test_a_start_of_another_shape_is_refused(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--shape", "5-6-16", "--start", trained / "unpruned.npz")
    assert edgemoe(*call(data, tmp_path / "run"), *options) == 1
    assert "has shape [4, 6, 16], not [5, 6, 16]" in capsys.readouterr().err
