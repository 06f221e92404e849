"""The shipped expert keeps its promises on real handwriting that it was not trained on."""

import numpy as np
import pytest

from edgemoe import Personalizer, load_global_expert
from edgemoe.classes import merge_labels
from edgemoe.data import draw_shots, load_samples


@pytest.fixture(scope="module")
def emnist(ge, shared_data):
    images, labels, _ = load_samples(f"{shared_data}/emnist/emnist.zip:byclass-part:test")
    return images, merge_labels(labels, ge.classes)


def test_it_reads_photos_at_78_percent_or_better(ge, shared_data):
    images, labels, _ = load_samples(shared_data / "photos")
    assert len(images) == 496
    assert (ge.predict(images) == merge_labels(labels, ge.classes)).mean() >= 0.78


def test_pruning_and_quantization_cost_what_they_may(ge, emnist):
    images, labels = emnist
    assert len(images) == 16_000
    int8 = (ge.predict(images) == labels).mean()
    float32 = (load_global_expert("lenet5-balanced", form="float32").predict(images) == labels).mean()
    (source,) = [name for name in ge.metadata["figures"] if "byclass" in name]
    assert ge.metadata["figures"][source] == pytest.approx({"int8": int8, "float32": float32}, abs=0.002)
    unpruned = ge.metadata["training"]["figures"][source]
    assert unpruned >= 0.90
    assert min(int8, float32) >= unpruned - 0.005
    assert abs(int8 - float32) <= 0.003
    assert len(ge.bundle.int8) <= 45_000
    assert ge.metadata["parameters"] <= 0.1 * ge.metadata["training"]["parameters"]
    assert len(ge.bundle.int8) < 0.3 * len(ge.bundle.float32)


def test_writers_whom_nobody_tuned_on_gain_and_others_hardly_lose(ge, emnist, shared_data):
    images, labels, owners = load_samples(shared_data / "unipen" / "writers.npz")
    labels = merge_labels(labels, ge.classes)
    generic, truth = emnist
    taps = ge.taps(generic)
    before = (ge.label(taps.logits) == truth).mean()
    wrong, still, lost = [], [], []
    for owner in np.unique(owners)[::8]:
        own = np.flatnonzero(owners == owner)
        chosen, rest = (own[rows] for rows in draw_shots(labels[own], 5, seed=0))
        moe = Personalizer(ge).fit(images[chosen], labels[chosen])
        answers = moe.explain(images[rest])
        wrong.append((answers.global_labels != labels[rest]).mean())
        still.append((answers.labels != labels[rest]).mean())
        lost.append(before - (moe.explain_taps(taps).labels == truth).mean())
    assert 1 - np.mean(still) / np.mean(wrong) >= 0.30
    assert np.mean(lost) <= 0.003
