"""The study over writers counts what a person counting by hand would."""

import json

import numpy as np
import pytest
from rich.console import Console

from edgemoe import Personalizer, load_global_expert
from edgemoe.benchmark import writers
from edgemoe.classes import merge_labels
from edgemoe.data import draw_shots, load_samples
from edgemoe.errors import EdgemoeError
from edgemoe.simulator import generic_samples, simulated_samples


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("writers")
    people = [(simulated_samples(seed, 6), f"p{seed}") for seed in (3, 5)]
    np.savez(
        folder / "users.npz",
        image=np.concatenate([images for (images, _), _ in people]),
        label=np.concatenate([labels for (_, labels), _ in people]),
        writer=np.repeat([name for _, name in people], [len(labels) for (_, labels), _ in people]),
    )
    images, labels = generic_samples(1, 4)
    np.savez(folder / "generic.npz", image=images, label=labels)
    return folder


def test_its_figures_are_those_of_the_public_api(files):
    ge = load_global_expert()
    found = writers.measure_writers(
        ge, str(files / "users.npz"), str(files / "generic.npz"), 2, 2, Console(stderr=True)
    )
    assert (found["writers"], found["draws"], found["shots"]) == (2, 2, 2)
    images, labels, owners = load_samples(files / "users.npz")
    labels = merge_labels(labels, ge.classes)
    others, truth, _ = load_samples(files / "generic.npz")
    truth = merge_labels(truth, ge.classes)
    before, after, generic = [], [], []
    for index, owner in enumerate(["p3", "p5"]):
        own = np.flatnonzero(owners == owner)
        for draw in range(2):
            chosen, rest = (own[rows] for rows in draw_shots(labels[own], 2, seed=1000 * index + draw))
            assert not set(chosen) & set(rest)
            moe = Personalizer(ge, "full", seed=draw).fit(images[chosen], labels[chosen])
            before.append((ge.predict(images[rest]) == labels[rest]).mean())
            after.append(moe.score(images[rest], labels[rest]))
            generic.append(moe.score(others, truth))
    full = found["sizes"]["full"]
    assert full["user_global"] == pytest.approx(np.mean(before), abs=1e-4)
    assert full["user"] == pytest.approx(np.mean(after), abs=1e-4)
    assert full["generic"] == pytest.approx(np.mean(generic), abs=1e-4)
    assert full["removed"] == pytest.approx((np.mean(after) - np.mean(before)) / (1 - np.mean(before)), abs=1e-3)
    assert full["lost"] == pytest.approx((ge.predict(others) == truth).mean() - np.mean(generic), abs=1e-4)
    assert full["worst_change"] == pytest.approx(np.min(np.subtract(after, before)), abs=1e-4)
    for key, (low, high) in full["ci95"].items():
        assert low <= full[key] <= high


def test_samples_without_writers_are_refused(files):
    generic = str(files / "generic.npz")
    with pytest.raises(EdgemoeError, match="names no writers"):
        writers.measure_writers(load_global_expert(), generic, generic, 2, 1, Console(stderr=True))


def test_the_record_names_its_command(files, monkeypatch):
    out = files / "out.json"
    given = ["--writers", str(files / "users.npz"), "--generic", str(files / "generic.npz"), "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["writers", *given, "--shots", "1", "--draws", "1"])
    writers.main()
    record = json.loads(out.read_text())
    assert record["command"].startswith("python -m edgemoe.benchmark.writers --writers")
    assert set(record["sizes"]) == {"compact", "full"}
