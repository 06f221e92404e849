"""The constants in the methods' files are those that tuning chose, and tuning chooses the best."""

import json
from inspect import signature

import numpy as np
import pytest
from conftest import ROOT
from rich.console import Console

from edgemoe.benchmark import tune
from edgemoe.benchmark.methods import METHODS
from edgemoe.benchmark.methods.nearest import fit_knn_per
from edgemoe.errors import EdgemoeError
from edgemoe.simulator import generic_samples, simulated_samples

TUNED = json.loads((ROOT / "docs/figures/tuning.json").read_text())["methods"]


def defaults(name):
    return {p.name: p.default for p in signature(METHODS[name]).parameters.values() if p.kind is p.KEYWORD_ONLY}


def test_every_method_with_constants_to_choose_was_tuned():
    ours = {name for name in METHODS if "mixture" in name}
    assert set(TUNED) == set(tune.GRIDS) == {name for name in METHODS if defaults(name)} - ours


@pytest.mark.parametrize("name", tune.GRIDS)
def test_the_constants_are_the_chosen_ones_and_the_best_of_the_grid(name):
    found = TUNED[name]
    assert defaults(name) == found["chosen"]
    assert "writers_small.npz" in found["command"]
    assert "bymerge-part:test" in found["command"]

    def score(point):
        return (point["user"] + point["generic"]) / 2 if name in tune.ROUTES else point["user"]

    best = max(map(score, found["points"]))
    [chosen] = [p for p in found["points"] if {k: p[k] for k in found["chosen"]} == found["chosen"]]
    assert score(chosen) >= best - 0.001
    assert all(p["generic"] <= chosen["generic"] for p in found["points"] if score(p) >= best - 0.001)
    assert len(found["points"]) == np.prod([len(values) for values in tune.GRIDS[name].values()])
    assert all(set(p) == {*tune.GRIDS[name], "user", "generic"} for p in found["points"])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    people = [simulated_samples(seed, 4) for seed in (3, 5, 8)]
    np.savez(
        folder / "users.npz",
        image=np.concatenate([images for images, _ in people]),
        label=np.concatenate([labels for _, labels in people]),
        writer=np.repeat(["p3", "p5", "p8"], [len(labels) for _, labels in people]),
    )
    images, labels = generic_samples(1, 2)
    np.savez(folder / "generic.npz", image=images, label=labels)
    return folder


def test_the_writers_samples_to_learn_from_and_to_test_on_are_apart(ge, files):
    found = tune.draw_writers(ge, str(files / "users.npz"), people=2, shots=2, seed=0)
    assert len(found.supports) == len(found.rests) == 2
    for support, rest in zip(found.supports, found.rests, strict=True):
        assert len(support) + len(rest) == 4 * 47
        assert np.bincount(support.labels).tolist() == [2] * 47
        assert not {image.tobytes() for image in support.images} & {image.tobytes() for image in rest.images}


def test_its_accuracies_are_a_persons_who_counts_by_hand(ge, files, monkeypatch):
    monkeypatch.setitem(tune.GRIDS, "knn-per", {"neighbours": (1, 5), "share": (0.2, 0.9)})
    writers = tune.draw_writers(ge, str(files / "users.npz"), people=2, shots=2, seed=0)
    generic = writers.rests[0]
    found = tune.tune(ge, "knn-per", writers, generic, Console(quiet=True))
    assert [(p["neighbours"], p["share"]) for p in found["points"]] == [(1, 0.2), (1, 0.9), (5, 0.2), (5, 0.9)]
    for point in found["points"]:
        fits = [fit_knn_per(ge, s, 0, neighbours=point["neighbours"], share=point["share"]) for s in writers.supports]
        user = [(fit.predict(rest) == rest.labels).mean() for fit, rest in zip(fits, writers.rests, strict=True)]
        assert point["user"] == pytest.approx(np.mean(user), abs=1e-5)
        others = [(fit.predict(generic) == generic.labels).mean() for fit in fits]
        assert point["generic"] == pytest.approx(np.mean(others), abs=1e-5)


@pytest.mark.parametrize(("objective", "expected"), [("user", 1), ("mean", 2)])
def test_it_takes_the_best_point_and_of_equals_the_kindest_to_others(objective, expected):
    figures = [(0.8002, 0.3), (0.8, 0.5), (0.7, 0.7), (0.6, 0.79)]
    points = [{"k": i, "user": user, "generic": generic} for i, (user, generic) in enumerate(figures)]
    assert tune.choose(objective, [{"k": i} for i in range(4)], points) == {"k": expected}


def test_the_command_line_keeps_what_was_tuned_before(files, monkeypatch):
    monkeypatch.setitem(tune.GRIDS, "nearest-mean", {"features": ("hidden", "pooled")})
    monkeypatch.setitem(tune.GRIDS, "last-layer", {"steps": (1, 5)})
    call = ["tune", "--writers", str(files / "users.npz"), "--generic", str(files / "generic.npz"), "--people", "2"]
    for name in ("last-layer", "nearest-mean"):
        monkeypatch.setattr("sys.argv", [*call, "--method", name, "--out", str(files / "out.json")])
        tune.main()
    found = json.loads((files / "out.json").read_text())["methods"]
    assert list(found) == ["nearest-mean", "last-layer"]  # in the grids' order
    assert found["last-layer"]["objective"] == "user"
    assert len(found["last-layer"]["points"]) == 2


def test_too_few_writers_and_unknown_methods_are_named(ge, files, monkeypatch):
    with pytest.raises(EdgemoeError, match=r"users\.npz: has 3 writers .* 4 are asked for"):
        tune.draw_writers(ge, str(files / "users.npz"), people=4, shots=2, seed=0)
    with pytest.raises(EdgemoeError, match=r"generic\.npz: names no writers"):
        tune.draw_writers(ge, str(files / "generic.npz"), people=1, shots=2, seed=0)
    arguments = ["tune", "--writers", "w", "--generic", "g", "--out", "o", "--method", "mixture"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit, match="--method mixture: nothing to tune"):
        tune.main()
