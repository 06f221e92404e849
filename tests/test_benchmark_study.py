"""Studies: measured right, stopped at any moment, and the same on several processes."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the benchmark needs torch: pip install 'edgemoe[benchmark]'")

from edgemoe import GlobalExpert, Personalizer
from edgemoe.benchmark import plots, study
from edgemoe.benchmark.cost import measure_cost
from edgemoe.benchmark.method import Adapted, Characters
from edgemoe.benchmark.methods import METHODS, SEQUENTIAL
from edgemoe.benchmark.network import characters
from edgemoe.benchmark.runner import measure_task
from edgemoe.benchmark.streams import draw_stream
from edgemoe.benchmark.study import Plan, run_study
from edgemoe.benchmark.tasks import Data, draw_sets, list_tasks, load_data
from edgemoe.errors import EdgemoeError
from edgemoe.simulator import generic_samples, simulated_samples

CHEAP = {name: METHODS[name] for name in ("global", "nearest-mean", "knn-per")}
MEMORY = frozenset({"knn-per"})  # asked about the stream, as if it remembered
TIMES = ("seconds", "answer_seconds", "train_seconds")


@pytest.fixture(scope="module")
def data(ge: GlobalExpert, tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("study")
    people = [simulated_samples(seed, 4) for seed in (3, 5, 8)]
    np.savez(
        folder / "users.npz",
        image=np.concatenate([images for images, _ in people]),
        label=np.concatenate([labels for _, labels in people]),
        writer=np.repeat(["p3", "p5", "p8"], [len(labels) for _, labels in people]),
    )
    images, labels = generic_samples(1, 6)
    np.savez(folder / "generic.npz", image=images, label=labels)
    return load_data(ge, str(folder / "users.npz"), str(folder / "generic.npz"), characters)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs that take no process each; what they are is tested apart."""
    monkeypatch.setattr(study, "measure_cost", lambda *_: {"train_seconds": 1.0, "train_peak_bytes": 2})


def plan(**changes: Any) -> Plan:
    return Plan(**{"methods": CHEAP, "sequential": MEMORY, "draws": 2, "limit": None, "seed": 0, "jobs": 1,
                   "command": "edgemoe benchmark", **changes})  # fmt: skip


def run(ge: GlobalExpert, data: Data, out: Path, fresh: bool = False, progress: Any = None, **changes: Any) -> Any:
    return run_study(ge, data, plan(**changes), 2, out, fresh, progress or (lambda *_: None))


def timeless(value: Any) -> Any:
    """Return a result without its times."""
    if isinstance(value, dict):
        return {key: timeless(part) for key, part in value.items() if key not in TIMES}
    return [timeless(part) for part in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def whole(ge: GlobalExpert, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that nothing interrupted, its results.json without times."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "measure_cost", lambda *_: {"train_seconds": 1.0, "train_peak_bytes": 2})
        run(ge, data, out)
    return out


def results(folder: Path) -> Any:
    return timeless(json.loads((folder / "results.json").read_text()))


def test_a_tasks_figures_are_those_of_the_public_api(ge: GlobalExpert, data: Data) -> None:
    task = list_tasks(data, 2, None, 0)[4]
    row = measure_task(
        ge, data, task, 2, {name: METHODS[name] for name in ("nearest-mean", "mixture", "mixture-session")}, SEQUENTIAL
    )
    sets = draw_sets(data, task, 2)
    names = np.array(list(ge.classes))
    moe = Personalizer(ge, "compact", seed=task.seed).fit(sets.support.images, names[sets.support.labels])
    for source, asked in zip(("user", "bystander", "generic"), sets.asked, strict=True):
        found = row["methods"]["mixture"]
        assert found[source] == pytest.approx(moe.score(asked.images, names[asked.labels]))
        assert found[f"{source}_global"] == pytest.approx((ge.predict(asked.images) == names[asked.labels]).mean())
    stream = draw_stream([len(asked) for asked in sets.asked], task.seed)
    inputs = [(sets.asked[source].images[place], sets.asked[source].labels[place])
              for source, place in zip(stream.source, stream.row, strict=True)]  # fmt: skip
    truth = names[[label for _, label in inputs]]
    right = moe.session().predict(np.array([image for image, _ in inputs])) == truth
    before = ge.predict(np.array([image for image, _ in inputs])) == truth
    found = row["methods"]["mixture-session"]
    for index, source in enumerate(("user", "bystander", "generic")):
        mine = stream.source == index
        assert found[source] == found["stream"][source]["accuracy"] == pytest.approx(right[mine].mean())
        assert found[f"{source}_global"] == row["stream"][source]["accuracy"] == pytest.approx(before[mine].mean())
    assert found["accepted"] is moe.profile.verdict.accepted
    assert found["bytes"] == len(moe.profile.to_bytes())
    assert row["methods"]["nearest-mean"]["accepted"] is None


def test_one_whose_session_is_like_asking_one_by_one_has_the_same_figures_either_way(
    ge: GlobalExpert, data: Data
) -> None:
    task = list_tasks(data, 1, None, 0)[1]
    apart, as_stream = (
        measure_task(ge, data, task, 2, {"nearest-mean": METHODS["nearest-mean"]}, names)["methods"]["nearest-mean"]
        for names in ((), ("nearest-mean",))
    )
    assert apart["stream"] == as_stream["stream"]
    assert apart["user"] == as_stream["user"]  # the stream has each of the user's characters once


@pytest.mark.parametrize("share", [0.0, 0.3, 0.55, 0.999])
def test_a_study_cut_off_at_any_byte_goes_on_to_the_same_results(
    ge: GlobalExpert, data: Data, whole: Path, tmp_path: Path, share: float, free: None
) -> None:
    content = (whole / "rows.jsonl").read_bytes()
    (tmp_path / "rows.jsonl").write_bytes(content[: int(share * len(content))])
    steps: list[int] = []
    run(ge, data, tmp_path, progress=lambda done, _: steps.append(done))
    assert results(tmp_path) == results(whole)
    assert steps == list(range(content[: int(share * len(content))].count(b"\n") - 1 if share else 0, 10))


def test_ctrl_c_keeps_what_is_done(ge: GlobalExpert, data: Data, whole: Path, tmp_path: Path, free: None) -> None:
    def interrupt(done: int, _: int) -> None:
        if done == 6:  # three costs and three tasks
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(ge, data, tmp_path, progress=interrupt)
    assert (tmp_path / "rows.jsonl").read_text().count("\n") == 7
    run(ge, data, tmp_path)
    assert results(tmp_path) == results(whole)


def test_two_processes_find_what_one_does(
    ge: GlobalExpert, data: Data, whole: Path, tmp_path: Path, free: None
) -> None:
    run(ge, data, tmp_path, jobs=2)
    assert results(tmp_path) == results(whole)


def test_more_draws_and_writers_build_on_what_is_there(
    ge: GlobalExpert, data: Data, whole: Path, tmp_path: Path, free: None
) -> None:
    small = run(ge, data, tmp_path, draws=1, limit=2)
    assert (small["writers"], small["draws"]) == (2, 1)
    kept = (tmp_path / "rows.jsonl").read_bytes()
    run(ge, data, tmp_path)
    assert (tmp_path / "rows.jsonl").read_bytes().startswith(kept)
    assert results(tmp_path) == results(whole)


def test_another_study_in_the_folder_is_refused_by_what_differs_and_kept(
    ge: GlobalExpert, data: Data, whole: Path, tmp_path: Path, free: None
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes((whole / "rows.jsonl").read_bytes())
    before = rows.read_bytes()
    with pytest.raises(EdgemoeError, match=r"holds another study \(seed was 0 and is 1\); --fresh") as error:
        run(ge, data, tmp_path, seed=1)
    assert str(rows) in str(error.value)
    assert rows.read_bytes() == before
    run(ge, data, tmp_path, seed=1, fresh=True, draws=1, limit=1)
    assert json.loads(rows.read_text().splitlines()[0])["settings"]["seed"] == 1


@pytest.mark.parametrize("content", ["[]\n", "{}\n", '{"settings": {}}\n[1]\n', "\xff\x00\n", '{"settings": 3}\n'])
def test_a_file_that_holds_no_rows_is_refused(
    ge: GlobalExpert, data: Data, tmp_path: Path, content: str, free: None
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content.encode("latin-1"))
    with pytest.raises(EdgemoeError, match=r"rows\.jsonl"):
        run(ge, data, tmp_path)


def test_a_folder_that_cannot_be_made_is_named(ge: GlobalExpert, data: Data, tmp_path: Path, free: None) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgemoeError, match="file/out: cannot be made"):
        run(ge, data, tmp_path / "file" / "out")


def greedy(ge: GlobalExpert, user: Characters, seed: int) -> Adapted:
    """Take 64 MB for a moment, and leave a mark of the call."""
    np.ones(8_000_000).sum()
    with open(os.environ["EDGEMOE_TEST_MARKS"], "a") as file:
        file.write(".")
    return CHEAP["global"](ge, user, seed)


def test_the_peak_of_a_fit_is_what_it_takes_for_a_moment_and_the_warm_up_fits_nothing(
    ge: GlobalExpert, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("there is no /proc/self/clear_refs")
    monkeypatch.setenv("EDGEMOE_TEST_MARKS", str(tmp_path / "marks"))
    support = draw_sets(data, list_tasks(data, 1, 1, 0)[0], 1).support
    cost = measure_cost(greedy, ge, support, 0)
    assert cost["train_peak_bytes"] == pytest.approx(64e6, abs=8e6)
    assert 0 < cost["train_seconds"] < 5
    assert (tmp_path / "marks").read_text() == ".."


def test_pictures_have_the_stated_size_and_draw_every_method(whole: Path) -> None:
    found = json.loads((whole / "results.json").read_text())
    with_ours = {**found, "methods": {**found["methods"], "mixture": found["methods"]["knn-per"]}}
    pictures = [plots.scatter(with_ours), plots.curve({2: with_ours, 5: with_ours})]
    for content in pictures:
        picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        assert picture.shape == (plots.HEIGHT, plots.WIDTH, 3)
        ours = (picture == [0xC0, 0x39, 0x2B]).all(axis=2)
        assert ours.sum() > 50
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_names_in_the_scatter_plot_do_not_cover_each_other(monkeypatch: pytest.MonkeyPatch, whole: Path) -> None:
    found = json.loads((whole / "results.json").read_text())
    crowd = {f"method-{number}": found["methods"]["knn-per"] for number in range(12)}
    kept = []
    monkeypatch.setattr(plots, "_png", lambda figure: kept.append(figure) or b"")
    plots.scatter({**found, "methods": crowd})
    boxes = [text.get_window_extent() for text in kept[0].axes[0].texts if text.get_text() in crowd]
    assert len(boxes) == 12
    assert not [1 for i, one in enumerate(boxes) for other in boxes[:i] if one.overlaps(other)]
