"""What the README tells a stranger is true: commands, links, code and figures."""

import importlib.util
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from cli_runner import edgemoe
from conftest import ROOT
from PIL import Image

from edgemoe import Personalizer, load_global_expert
from edgemoe.cli import app
from edgemoe.cli.account import cost_report
from edgemoe.simulator import simulated_samples

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
README = DOCUMENTS[0].read_text()
FIGURES = ROOT / "docs" / "figures"
OFFLINE = ("demo", "personalize", "predict", "evaluate", "account", "export")  # verbs that the README's own data feeds


def commands() -> list[list[str]]:
    """Return the shell commands of the documents, split into words."""
    blocks = [block for path in DOCUMENTS for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL)]
    lines = (shlex.split(line, comments=True) for block in blocks for line in re.split(r"\n|&&|(?<= )\. ", block))
    return [words for words in lines if words]


def section(name: str) -> list[str]:
    """Return the table rows between two of the README's marks, without the heading."""
    return re.findall(r"^\|.*$", README.split(f"<!-- {name}: begin -->")[1].split(f"<!-- {name}: end -->")[0], re.M)[2:]


def test_every_command_named_exists_with_its_options() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    seen = set()
    for program, *rest in commands():
        seen.add(program)
        if program == "make":
            assert rest[0] in targets, rest
        elif program == "pip":
            assert {extra for word in rest for extra in re.findall(r"\w+", "".join(word.split("[")[1:]))} <= set(extras)
        elif program == "edgemoe":
            verb, words = verbs[rest[0]], rest[1:]
            if words and words[0] in getattr(verb, "commands", {}):
                verb, words = verb.commands[words[0]], words[1:]
            known = {option for parameter in verb.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known, rest
        elif program == "python3" and rest[1].startswith("edgemoe."):
            assert importlib.util.find_spec(rest[1]), rest
        else:
            assert program in ("python3", "ruff", "mypy", "pytest", "jupyter", ".venv/bin/activate"), program
    assert {"make", "pip", "edgemoe"} <= seen


def test_the_commands_on_the_device_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for image, label, number in zip(*simulated_samples(3, 10), range(470), strict=True):
        folder = tmp_path / "my-photos" / (f"{label}_lower" if label.islower() else label)
        folder.mkdir(parents=True, exist_ok=True)
        paper = Image.fromarray(255 - image).resize((140, 140), Image.Resampling.BICUBIC)
        paper.save(folder / f"{number}.png")
    ran = []
    for program, *rest in commands():
        if program == "edgemoe" and rest[0] in OFFLINE and "--ge" not in rest:
            assert edgemoe(*rest) == 0, rest
            ran.append(rest[0])
    assert set(ran) == set(OFFLINE)


def test_the_code_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        names: dict[str, Any] = {}
        exec(block, names)
        assert (names["moe"].predict(names["images"]) == names["labels"]).mean() > 0.8


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_picture_and_path_is_there(path: Path) -> None:
    text = path.read_text()
    targets = [a or b for a, b in re.findall(r"\]\(([^)#]+)[^)]*\)|src=\"([^\"]+)\"", text)]
    names = re.findall(r"`((?:edgemoe|tests|docs|notebooks|\.ci)/[\w./*-]*)`", text)
    assert targets + names
    for name in targets + names:
        assert list(path.parent.glob(name.rstrip("/"))), name


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def points(share: float) -> str:
    return f"{100 * share:.2f}".replace("-", "−")


def benchmark() -> dict[str, Any]:
    return json.loads((FIGURES / "benchmark.json").read_text())


OURS = {
    "mixture": "**`compact` profile**, each character by itself",
    "mixture-full": "**`full` profile**, each character by itself",
    "mixture-session": "**`compact` profile**, in a session",
    "mixture-session-full": "**`full` profile**, in a session",
}
OTHERS = {
    "full-finetune": "all weights fine-tuned",
    "lora": "LoRA on all layers",
    "last-layer": "last layer fine-tuned",
    "threshold-router": "our local expert wherever the global one is unsure",
    "pfl-moe": "PFL-MoE, arXiv 2012.15589",
    "knn-per": "kNN-Per, arXiv 2111.09360",
}


def test_the_figures_of_real_writers_are_those_on_record() -> None:
    record = benchmark()
    methods = record["methods"]
    before = methods["global"]
    rows = [f"| global expert alone | {percent(before['user_accuracy'])} | | | | |"]
    others = sorted(OTHERS, key=lambda name: -methods[name]["errors_removed"])
    for name, title in [*OURS.items(), *((name, OTHERS[name]) for name in others)]:
        row = methods[name]
        low, high = (f"{100 * end:.1f}" for end in row["ci95"]["errors_removed"])
        rows.append(
            f"| {title} | {percent(row['user_accuracy'])} | {percent(row['errors_removed'])} ({low} to {high}) "
            f"| {points(row['generic_lost'])} | {points(row['bystander_lost'])} | {row['bytes']:,} |"
        )
    assert section("writers") == rows, "\n".join(["should be", *rows])
    users = f"{record['writers']} UNIPEN writers, each with {record['draws']} draws"
    assert users in README
    assert f"{record['generic']:,} EMNIST images" in README
    assert f"{record['shots']} samples of each character" in README


def test_what_is_said_of_the_benchmark_holds() -> None:
    methods = benchmark()["methods"]
    others = methods.keys() - OURS.keys() - {"global", "oracle-router"}
    said = README.split("<!-- writers: end -->")[1].split("What it costs")[0]
    assert "no writer is read worse than before" in said
    assert all(methods[name]["worst_change"] >= 0 for name in OURS)
    assert "loses less than 0.1 points" in said
    assert all(methods[name]["generic_lost"] < 0.001 for name in OURS)
    assert "every alternative loses\nmore than one" in said
    assert all(methods[name]["generic_lost"] > 0.01 for name in others)
    best = max(methods[name]["user_accuracy"] for name in OURS)
    better = {name for name in others if methods[name]["user_accuracy"] > best}
    assert "a linear probe, LoRA and all weights fine-tuned read the user up to a point better\nstill" in said
    assert better == {"linear-probe", "lora", "full-finetune"}
    assert 0.0085 < max(methods[name]["user_accuracy"] for name in better) - best < 0.0115
    assert "ten points worse and more" in said
    assert all(methods[name]["generic_lost"] > 0.1 for name in better)


def test_what_is_said_of_fewer_and_more_samples_holds() -> None:
    curve = json.loads((FIGURES / "curve.json").read_text())["curve"]
    for name, verb in (("mixture-session", "removed"), ("knn-per", "removed")):
        removed = [
            f"{100 * curve[shots]['methods'][name]['errors_removed']:.0f}" for shots in ("1", "2", "3", "5", "10")
        ]
        assert f"{verb} {', '.join(removed[:4])} and {removed[4]} %" in README.replace("\n", " "), removed


def test_what_is_said_of_the_promise_holds() -> None:
    rows = [r for r in json.loads((FIGURES / "promise.json").read_text())["rows"] if r["confidence"] == 0.9]
    assert {row["shots"] for row in rows} == {1, 2, 3, 5, 10}
    assert all(row["harmed"] == 0 for row in rows)
    over = sum(round(row["over_budget"] * row["fits"] * (1 - row["declined"])) for row in rows)
    assert f"and {over} of 400 profiles lost more\nthan 0.2 points" in README
    assert over < 0.1 * sum(row["fits"] for row in rows)
    assert sum(row["fits"] for row in rows) == 400
    assert max(row["largest_loss"] for row in rows) == pytest.approx(0.0031, abs=5e-5)
    assert "(0.31 at most)" in README
    assert not any(row["declined"] for row in rows)


def test_what_is_said_of_digits_holds() -> None:
    record = json.loads((FIGURES / "digits.json").read_text())
    methods = record["methods"]
    before, compact, full = (percent(methods[n]["user_accuracy"]) for n in ("global", "mixture", "mixture-full"))
    said = README.replace("\n", " ")
    assert f"by {record['writers']} of the writers of MNIST" in said
    assert f"{before} without, {compact} with a `compact` and {full} with a `full` profile" in said
    assert min(methods[name]["worst_change"] for name in OURS) >= 0
    assert {f"{100 * methods[name]['generic_lost']:.1f}" for name in ("mixture", "mixture-full")} == {"0.1"}


def test_what_is_said_of_photos_holds() -> None:
    methods = json.loads((FIGURES / "photos.json").read_text())["methods"]
    assert all(methods[name]["generic_lost"] <= 0 for name in OURS)
    said = f"nothing, and full fine-tuning {100 * methods['full-finetune']['generic_lost']:.1f} points"
    assert said in README


def test_the_costs_are_those_of_the_shipped_expert() -> None:
    ge = load_global_expert()
    unpruned = ge.metadata["training"]
    share = percent(ge.metadata["parameters"] / unpruned["parameters"])
    stored = f"{ge.metadata['parameters']:,} parameters, {share} of the unpruned one's {unpruned['parameters']:,}"
    rows = [f"| global expert `{ge.name}` | {stored}; {len(ge.graph):,} bytes as int8 ONNX |"]
    for source, accuracy in ge.metadata["figures"].items():
        if source == ge.metadata["data"]["retention and validation"]:
            continue  # no test: it was looked at while training
        read = f"{percent(accuracy['int8'])} (unpruned, float32: {percent(unpruned['figures'][source])})"
        rows.append(f"| it reads, of `{source.split(':')[1]}`'s test images | {read} |")
    for size in ("compact", "full"):
        costs = cost_report(ge, Personalizer(ge, size).fit(*simulated_samples(0, 5)).profile)
        over = {name: percent(share, 2) for name, share in costs["overhead"].items()}
        stored = f"{costs['profile']['bytes']:,} bytes, {over['bytes']} of the global expert's"
        spent = f"{over['energy']} more energy ({over['energy_stored']} if read from the global expert's memory)"
        rows.append(f"| `{size}` profile | {stored}; {over['macs']} more MACs, {spent} |")
    assert section("costs") == rows, "\n".join(["should be", *rows])


def test_the_times_are_those_on_record() -> None:
    fit = benchmark()["methods"]["mixture"]
    learn = json.loads((FIGURES / "device_life.json").read_text())["learn"]["cost"]
    profiles = json.loads((FIGURES / "latency.json").read_text())["profiles"]
    peak = fit["train_peak_bytes"] / 1e6
    median, mean = (learn[f"{which}_in_global_inferences"] for which in ("median", "mean"))
    rows = [
        f"| learn from 5 of each character | {fit['train_seconds']:.1f} s, {peak:.0f} MB of memory |",
        f"| learn from one correction | {median:.0f} times the global expert's time (median; mean {mean:.0f}) |",
    ]
    ratios = {"ONNX graph": "routed / global logits", "Python": "mixture predict / global predict"}
    for form, ratio in ratios.items():
        for batch, what in (("1", "one character"), ("100", "a hundred at once")):
            compact, full = (profiles[size][batch]["ratios"][ratio]["ratio"] for size in ("compact", "full"))
            rows.append(f"| read {what}, {form} | {compact:.2f} times the global expert's time (`full`: {full:.2f}) |")
    assert section("times") == rows, "\n".join(["should be", *rows])


def test_the_training_on_record_is_that_of_the_shipped_expert() -> None:
    ge = load_global_expert()
    record = json.loads((FIGURES / f"{ge.name}.json").read_text())
    assert {name: record[name] for name in ("shape", "parameters", "figures")} == {
        name: ge.metadata[name] for name in ("shape", "parameters", "figures")
    }
    assert record["training"]["figures"] == ge.metadata["training"]["figures"]


def test_the_demos_picture_and_figures_are_of_the_shipped_expert(tmp_path: Path, capsys: Any) -> None:
    kept = json.loads((FIGURES / "demo.json").read_text())
    assert edgemoe("demo", "--json", "--out", tmp_path / "demo.png") == 0
    now = json.loads(capsys.readouterr().out)
    for people in ("user", "generic", "retention"):
        # int8 arithmetic differs a little between processors
        assert now[people] == pytest.approx(kept[people], abs=0.02), "made with another global expert: make docs"
    assert now["profile_bytes"] == kept["profile_bytes"], "made with another global expert: make docs"
    pictures = (
        np.asarray(Image.open(path).convert("L")) for path in (ROOT / "docs" / "demo.png", tmp_path / "demo.png")
    )
    old, new = pictures
    assert old.shape == new.shape
    assert (old != new).mean() < 0.1  # the time that it took, and a character or two
