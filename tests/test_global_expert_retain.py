"""The retention set as recorded from an int8 graph."""

import numpy as np
import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from edgemoe.device.retention import Taps  # noqa: E402
from edgemoe.errors import EdgemoeError  # noqa: E402
from edgemoe.global_expert.retain import FEATURE_STEP, record_retention, tap_grids  # noqa: E402
from edgemoe.simulator import generic_samples  # noqa: E402


@pytest.fixture(scope="module")
def grids(ge):
    return tap_grids(ge.bundle.int8)


@pytest.fixture(scope="module")
def taps(ge):
    return ge.taps(generic_samples(seed=12, per_class=4)[0])


@pytest.mark.parametrize("tap", ["logits", "features"])
def test_every_value_of_a_tap_lies_on_its_grid(grids, taps, tap):
    scale, zero = grids[tap]
    values = getattr(taps, tap)
    codes = np.rint(values / np.float32(scale)).astype(int) + zero
    assert 0 <= codes.min() <= codes.max() <= 255
    assert np.array_equal(np.float32(scale) * (codes - zero).astype(np.float32), values)


def test_logits_are_recorded_without_loss(grids, taps):
    retention = record_retention(taps, np.zeros(len(taps), np.int64), grids)
    assert np.array_equal(retention.taps().logits, taps.logits)


def test_features_are_recorded_to_half_a_step_of_four_bits(grids, taps):
    retention = record_retention(taps, np.zeros(len(taps), np.int64), grids)
    codes = retention.codes["features"]
    step = FEATURE_STEP * grids["features"][0]
    error = np.abs(retention.taps().features - taps.features)
    assert codes.max() <= 15
    assert error[codes < 15].max() <= step / 2 * 1.001
    assert error.max() < step  # the highest code also stands for what lies above it
    assert (retention.taps().features[taps.features == 0] == 0).all()


def test_labels_are_kept(grids, taps):
    labels = np.arange(len(taps)) % 47
    retention = record_retention(taps, labels, grids)
    assert np.array_equal(retention.labels, labels)
    assert retention.labels.dtype == retention.codes["logits"].dtype == np.uint8
    assert len(retention) == len(taps)


def test_recording_what_was_recorded_changes_nothing(grids, taps):
    once = record_retention(taps, np.zeros(len(taps), np.int64), grids)
    twice = record_retention(once.taps(), np.zeros(len(taps), np.int64), grids)
    assert all(np.array_equal(once.codes[tap], twice.codes[tap]) for tap in grids)
    assert isinstance(once.taps(), Taps)


def test_a_graph_whose_taps_are_not_quantized_is_refused_by_their_names(ge):
    with pytest.raises(EdgemoeError, match=r"\['features', 'logits'\] are not quantized"):
        tap_grids(ge.bundle.float32)


def test_the_shipped_retention_set_lies_on_the_shipped_graphs_grids(ge, grids):
    for tap, step in (("logits", 1), ("features", FEATURE_STEP)):
        assert ge.retention.scales[tap] == pytest.approx(grids[tap][0] * step, rel=1e-6)
        assert ge.retention.zeros[tap] == grids[tap][1] // step
