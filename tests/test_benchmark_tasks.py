"""Tasks: what is learnt from and what is asked about are apart, and the same for every method."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the benchmark needs torch: pip install 'edgemoe[benchmark]'")

from edgemoe import GlobalExpert
from edgemoe.benchmark.network import characters
from edgemoe.benchmark.tasks import Data, draw_sets, list_tasks, load_data
from edgemoe.classes import merge_labels
from edgemoe.data import draw_shots, load_samples
from edgemoe.errors import EdgemoeError
from edgemoe.simulator import simulated_samples


def write(path: Path, people: dict[str, tuple[np.ndarray, np.ndarray]], named: bool = True) -> str:
    fields = {
        "image": np.concatenate([images for images, _ in people.values()]),
        "label": np.concatenate([labels for _, labels in people.values()]),
    }
    if named:
        fields["writer"] = np.repeat(list(people), [len(labels) for _, labels in people.values()])
    np.savez(path, **fields)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("tasks")
    people = {"bob": simulated_samples(2, 4), "ann": simulated_samples(1, 6), "once": simulated_samples(3, 1)}
    return write(folder / "users.npz", people), write(folder / "all.npz", {"": simulated_samples(9, 2)}, named=False)


@pytest.fixture(scope="module")
def data(ge: GlobalExpert, files: tuple[str, str]) -> Data:
    return load_data(ge, *files, characters)


def test_the_draws_are_those_of_draw_shots_on_the_writers_own_characters(
    ge: GlobalExpert, data: Data, files: tuple[str, str]
) -> None:
    images, labels, owners = load_samples(files[0])
    labels = merge_labels(labels, ge.classes)
    for task in list_tasks(data, 2, None, 0):
        own = np.flatnonzero(owners == data.people[task.writer])
        chosen, rest = draw_shots(labels[own], 2, seed=1000 * task.writer + task.draw)
        sets = draw_sets(data, task, 2)
        for found, rows in ((sets.support, own[chosen]), (sets.asked[0], own[rest])):
            assert np.array_equal(found.images, images[rows])
            assert [ge.classes[label] for label in found.labels] == labels[rows].tolist()
            assert np.array_equal(found.taps.logits, ge.taps(images[rows]).logits)


def test_bystanders_are_other_writers_each_sample_once(data: Data) -> None:
    for task in list_tasks(data, 1, None, 0):
        _, bystanders, generic = draw_sets(data, task, 2).asked
        others = {image.tobytes() for image in data.samples.images[data.owners != task.writer]}
        drawn = [image.tobytes() for image in bystanders.images]
        assert set(drawn) <= others
        assert len(drawn) == min(400, int((data.owners != task.writer).sum()))
        assert generic is data.generic


def test_writers_who_cannot_be_learnt_from_are_skipped_and_a_limit_counts_the_rest(data: Data) -> None:
    assert data.people == ("ann", "bob", "once")
    assert data.skipped == ("once",)
    assert [(data.people[task.writer], task.draw) for task in list_tasks(data, 2, None, 0)] == [
        ("ann", 0), ("bob", 0), ("ann", 1), ("bob", 1),
    ]  # fmt: skip
    assert {task.writer for task in list_tasks(data, 2, 1, 0)} == {0}


def test_no_two_tasks_and_no_two_studies_share_a_seed(data: Data) -> None:
    seeds = [task.seed for seed in range(3) for task in list_tasks(data, 1000, None, seed)]
    assert len(set(seeds)) == len(seeds)


def test_other_content_under_the_same_name_has_another_digest(
    ge: GlobalExpert, data: Data, files: tuple[str, str], tmp_path: Path
) -> None:
    with np.load(files[0]) as arrays:
        changed = dict(arrays)
    changed["image"][0, 0, 0] ^= 255
    np.savez(tmp_path / "users.npz", **changed)
    again = load_data(ge, str(tmp_path / "users.npz"), files[1], characters)
    assert again.digests["writers"] != data.digests["writers"]
    assert again.digests["generic"] == data.digests["generic"]


def test_files_that_no_study_can_use_are_refused(ge: GlobalExpert, files: tuple[str, str], tmp_path: Path) -> None:
    alone = write(tmp_path / "alone.npz", {"ann": simulated_samples(1, 2)})
    once = write(tmp_path / "once.npz", {"ann": simulated_samples(1, 1), "bob": simulated_samples(2, 1)})
    for path, why in ((files[1], "names no writers"), (alone, "one writer alone"), (once, "two samples of a class")):
        with pytest.raises(EdgemoeError, match=why) as error:
            load_data(ge, path, files[1], characters)
        assert path in str(error.value)
