"""`edgemoe prune`: to a shape, to budgets, from a checkpoint or from somebody's ONNX graph."""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runner import edgemoe, failure, interrupted

torch = pytest.importorskip("torch", reason="pruning needs torch: pip install 'edgemoe[train]'")
pytest.importorskip("torch_pruning")
from networks import settled  # noqa: E402
from torch import nn  # noqa: E402

from edgemoe import load_global_expert  # noqa: E402
from edgemoe.accounting.graph import count_graph  # noqa: E402
from edgemoe.accounting.onnx_reader import parse_onnx  # noqa: E402
from edgemoe.cli import making  # noqa: E402
from edgemoe.global_expert import train as train_module  # noqa: E402
from edgemoe.global_expert.checkpoint import Checkpoint, load_checkpoint, save_checkpoint  # noqa: E402
from edgemoe.global_expert.export import to_onnx  # noqa: E402
from edgemoe.pruning import search as search_module  # noqa: E402
from edgemoe.simulator import generic_samples  # noqa: E402

SHAPE = (4, 6, 16)
EPOCHS = ("--epochs", 1, "--plain", 1, "--palette-epochs", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples, an untrained checkpoint, and two ONNX graphs."""
    folder = tmp_path_factory.mktemp("prune")
    for name, seed, per_class in (("train", 5, 8), ("test", 6, 2)):
        images, labels = generic_samples(seed, per_class)
        np.savez(folder / f"{name}.npz", image=images, label=labels)
    tensors = {f"model.{name}": value for name, value in settled(SHAPE).state_dict().items()}
    classes = load_global_expert("lenet5-balanced").classes
    save_checkpoint(folder / "unpruned.npz", Checkpoint(list(SHAPE), "".join(classes), 1, tensors))
    for name, outputs in (("cnn", 47), ("odd", 46)):
        torch.manual_seed(0)
        layers = {"a": nn.Conv2d(1, 5, 3, 2, 1), "r": nn.ReLU(), "p": nn.MaxPool2d(2), "f": nn.Flatten()}
        model = nn.Sequential(OrderedDict(layers, h=nn.Linear(245, 9), s=nn.ReLU(), o=nn.Linear(9, outputs)))
        (folder / f"{name}.onnx").write_bytes(to_onnx(model.eval()))
    (folder / "empty.onnx").write_bytes(b"")
    return folder


@pytest.fixture(autouse=True)
def small_search(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MEASURED", 3), ("SURVIVORS", 2), ("EPOCHS", 1)):
        monkeypatch.setattr(search_module, name, value)


def call(folder: Path, out: Path, *options: object, expert: str = "unpruned.npz") -> int:
    data = ("--data", folder / "train.npz", "--validation", folder / "test.npz")
    return edgemoe("prune", "--expert", folder / expert, *data, "--out", out, *EPOCHS, *options)


def deployed(result: dict[str, Any]) -> Any:
    """The int8 graph in a bundle, counted."""
    return count_graph(parse_onnx(load_global_expert(result["bundle"]).bundle.int8))


def test_the_best_within_a_budget_is_searched_and_what_ships_keeps_to_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(folder, tmp_path / "run", "--budget", "flash=2.5KB,ram=4KB", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    graph = deployed(result)
    assert graph.total().bytes == result["cost"]["flash"] <= 2500
    assert graph.peak_activation_bytes == result["cost"]["ram"] <= 4000
    assert graph.total().macs == result["cost"]["macs"]
    trials = result["search"]["trials"]
    assert result["shape"] == result["search"]["shape"] == trials[0]["shape"]
    assert [trial["epochs"] for trial in trials] == [1, 1, *[0] * (len(trials) - 2)]
    pruning = load_global_expert(result["bundle"]).metadata["pruning"]
    assert pruning["schedule"] == "one-shot"
    assert "output" in pruning["palettes"]["layers"]
    assert {trial["shape"][2] % 2 for trial in trials} == {0}


def test_several_budgets_make_a_family_from_one_base(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bases, prepare = [], search_module.prepare_base
    monkeypatch.setattr(search_module, "prepare_base", lambda *a: bases.append(prepare(*a)) or bases[-1])
    budgets = ("--budget", "flash=2.5KB", "--budget", "board=blue-pill")
    assert call(folder, tmp_path / "run", *budgets, "--criterion", "magnitude") == 0
    printed = capsys.readouterr().out
    assert "flash=2.5KB: the best of" in printed
    assert "validation" in printed
    assert len(bases) == 1
    names = {"flash-2.5KB": "lenet5-flash-2.5KB", "board-blue-pill": "lenet5-board-blue-pill"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == set(names)
    for slug, name in names.items():
        expert = load_global_expert(tmp_path / "run" / slug / f"{name}.bundle")
        assert expert.metadata["name"] == name
    # Called again, it finds the search and the retraining done, and makes the same bundles.
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.bundle")}
    assert call(folder, tmp_path / "run", *budgets, "--criterion", "magnitude", "--json") == 0
    out, err = capsys.readouterr()
    assert len(bases) == 1
    assert "epoch" not in err
    experts = json.loads(out)["experts"]
    assert [deployed(expert).total().bytes <= limit for expert, limit in zip(experts, (2500, 32768), strict=True)]
    assert {path: path.read_bytes() for path in before} == before


def test_a_plain_onnx_graph_is_pruned_and_retrained_too(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(folder, tmp_path / "run", "--budget", "parameters=0.5", "--json", expert="cnn.onnx") == 0
    result = json.loads(capsys.readouterr().out)
    whole = 5 * 10 + 9 * 246 + 47 * 10
    assert result["training"]["parameters"] == whole
    assert result["parameters"] == deployed(result).total().parameters <= whole / 2
    assert call(folder, tmp_path / "other", "--shape", "3-4", "--json", expert="cnn.onnx") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["pruning"]["palettes"]["layers"] == ["o"]  # the other reads 3 x 49 features
    assert deployed(result).total().bytes == result["cost"]["flash"]
    assert result["shape"] == [3, 4]
    assert result["parameters"] == 3 * 10 + 4 * (3 * 49 + 1) + 47 * 5
    assert "search" not in result


def test_another_schedule_prunes_to_the_same_shape(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--shape", "2-3-7", "--schedule", "iterative", "--criterion", "magnitude")
    assert call(folder, tmp_path / "run", *options, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["shape"] == [2, 3, 7]
    assert result["pruning"]["schedule"] == "iterative"
    assert deployed(result).total().bytes == result["cost"]["flash"]


def test_a_killed_retraining_goes_on_after_the_search(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert call(folder, whole, "--budget", "flash=2.5KB") == 0
    keep = train_module._keep

    def killed(*arguments: Any) -> None:
        keep(*arguments)
        if load_checkpoint(run / "pruned.npz").epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "_keep", killed)
        assert call(folder, run, "--budget", "flash=2.5KB") == 130
    assert sorted(path.name for path in run.iterdir()) == ["log.json", "pruned.npz", "search.json"]
    monkeypatch.setattr(search_module, "search", None)  # it is not called again
    assert call(folder, run, "--budget", "flash=2.5KB") == 0
    assert (run / "lenet5.bundle").read_bytes() == (whole / "lenet5.bundle").read_bytes()


def test_another_schedule_interrupted_after_its_first_epoch_ends_with_the_same_bundle_and_its_log(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    options = ("--shape", "2-3-7", "--schedule", "dpf", "--criterion", "magnitude", "--epochs", 3)
    assert call(folder, whole, *options) == 0

    with monkeypatch.context() as patch:
        patch.setattr(making, "epochs_bar", interrupted)
        assert call(folder, run, *options) == 130
    assert load_checkpoint(run / "pruned.npz").epoch == 1
    assert sorted(path.name for path in run.iterdir()) == ["log.json", "pruned.npz"]
    capsys.readouterr()
    assert call(folder, run, *options) == 0
    err = capsys.readouterr().err
    assert [f"retraining: epoch {n} of 4" in err for n in (1, 2, 3, 4)] == [False, True, True, True]
    assert (run / "lenet5.bundle").read_bytes() == (whole / "lenet5.bundle").read_bytes()
    logs = [json.loads((out / "log.json").read_text())["pruning"]["log"] for out in (whole, run)]
    assert logs[0] == logs[1]
    assert [sorted(entry) for entry in logs[0]] == [["epoch", "loss", "validation"]] * 4
    assert [entry["epoch"] for entry in logs[0]] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "options",
    [
        ("--budget", "flash=32 parsecs"),
        ("--budget", "board=toaster"),
        ("--budget", "flash=2KB", "--budget", "speed=2"),
        ("--budget", "flash=2KB", "--budget", "flash=2KB"),
        ("--budget", "flash=2KB", "--shape", "2-3-7"),
        (),
    ],
)
def test_a_wrong_call_exits_with_2_before_anything_is_read(options: tuple[str, ...], tmp_path: Path) -> None:
    assert call(tmp_path, tmp_path / "run", *options) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("expert", "options", "word"),
    [
        ("unpruned.npz", ("--budget", "flash=400"), "no expert fits flash=400: the smallest one takes flash"),
        ("unpruned.npz", ("--budget", "flash=9KB", "--budget", "ram=3KB"), "takes ram 3,920 and not 3,000"),
        ("unpruned.npz", ("--shape", "2-3"), "--shape 2-3 does not lie within 4-6-16"),
        ("unpruned.npz", ("--shape", "5-6-16"), "does not lie within 4-6-16"),
        ("unpruned.npz", ("--shape", "0-6-16"), "does not lie within"),
        ("unpruned.npz", ("--shape", "two"), "does not lie within"),
        ("unpruned.npz", ("--shape", "2-3-7", "--criterion", "vibes"), "vibes"),
        ("unpruned.npz", ("--shape", "2-3-7", "--schedule", "never"), "never"),
        ("test.npz", ("--shape", "2-3-7"), "test.npz: not a whole edgemoe checkpoint"),
        ("none.npz", ("--shape", "2-3-7"), "none.npz"),
        ("empty.onnx", ("--shape", "2-3-7"), "empty.onnx"),
        ("odd.onnx", ("--shape", "2-3"), "46 outputs, and no class set has as many"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_before_the_first_step(
    expert: str, options: tuple[str, ...], word: str,
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert call(folder, tmp_path / "run", *options, expert=expert) == 1
    assert word in failure(capsys)
    assert not (tmp_path / "run").exists()


def test_a_damaged_record_of_a_search_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "search.json").write_text('{"shape": "4-6", "trials": []}')
    assert call(folder, run, "--budget", "flash=2.5KB") == 1
    assert "search.json: not the record of a search" in failure(capsys)
