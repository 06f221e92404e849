"""The frozen expert on the device: against onnxruntime itself, and on input that it cannot use."""

import copy
import dataclasses

import numpy as np
import onnxruntime
import pytest

from edgemoe import EdgemoeError, GlobalExpert, load_global_expert
from edgemoe.device.bundle import write_bundle
from edgemoe.device.global_expert import as_images, shipped_experts, softmax
from edgemoe.simulator import generic_samples


@pytest.fixture(scope="module")
def samples():
    return generic_samples(seed=3, per_class=12)


def test_the_taps_are_the_graphs_outputs_on_images_scaled_to_one(ge, samples):
    images, _ = samples
    direct = onnxruntime.InferenceSession(ge.graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in direct.get_outputs()]
    outputs = dict(zip(names, direct.run(None, {"image": (images[:50, None] / 255).astype(np.float32)}), strict=True))
    taps = ge.taps(images[:50])
    for tap in ("logits", "features"):
        assert np.array_equal(getattr(taps, tap), outputs[tap])


def test_the_answers_do_not_depend_on_how_images_are_grouped(ge, samples):
    images, _ = samples
    assert len(images) > 500  # more than one batch
    whole = ge.taps(images)
    assert len(whole) == len(images)
    for row in (0, 499, 500, 501, len(images) - 1):
        assert np.array_equal(ge.taps(images[row]).features[0], whole.features[row])
        assert np.array_equal(ge.taps(images[row : row + 1]).logits[0], whole.logits[row])


def test_both_forms_read_simulated_people(ge, samples):
    images, labels = samples
    plain = load_global_expert(form="float32")
    answers = ge.predict(images), plain.predict(images)
    assert (answers[0] == answers[1]).mean() >= 0.97
    assert all((answer == labels).mean() > 0.75 for answer in answers)
    assert ge.fingerprint == plain.fingerprint


def test_probabilities_are_the_softmax_of_the_logits(ge, samples):
    images, _ = samples
    logits = ge.taps(images[:40]).logits.astype(np.float64)
    powers = np.exp(logits)
    probabilities = ge.predict_proba(images[:40])
    np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), atol=1e-6)
    assert probabilities.dtype == np.float32
    assert [ge.classes[i] for i in probabilities.argmax(1)] == ge.predict(images[:40]).tolist()


def test_softmax_survives_logits_that_would_overflow():
    assert softmax(np.array([[1000, 0], [-1000, -1000]], np.float32)).tolist() == [[1, 0], [0.5, 0.5]]


def test_no_image_gives_no_answer(ge):
    none = np.zeros((0, 28, 28), np.uint8)
    assert ge.predict(none).shape == (0,)
    assert ge.predict_proba(none).shape == (0, 47)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((3, 28, 27), np.uint8), r"expected shape \(n, 28, 28\), got \(3, 28, 27\)"),
        (np.zeros((3, 28, 28, 1), np.uint8), r"got \(3, 28, 28, 1\)"),
        (np.zeros(784, np.uint8), r"got \(784,\)"),
        (np.zeros((3, 28, 28), np.float32), "expected uint8 with ink 255 on 0, got float32"),
        (np.zeros((3, 28, 28), np.int64), "got int64"),
        (np.zeros((3, 28, 28), bool), "got bool"),
        ("photo.png", r"got \(\)"),
        ([], r"got \(0,\)"),
        (None, r"got \(\)"),
    ],
    ids=str,
)
def test_images_of_another_shape_or_dtype_are_refused_not_cast(ge, images, message):
    with pytest.raises(EdgemoeError, match=f"images: .*{message}"):
        ge.predict(images)


def test_one_image_is_a_set_of_one():
    assert as_images(np.zeros((28, 28), np.uint8)).shape == (1, 28, 28)
    with pytest.raises(EdgemoeError, match="scan: expected shape"):
        as_images(np.zeros((28, 29), np.uint8), "scan")


def test_an_expert_loads_by_name_and_by_path(ge, tmp_path):
    assert "lenet5-balanced" in shipped_experts()
    write_bundle(tmp_path / "mine.bundle", ge.bundle)
    for path in (tmp_path / "mine.bundle", str(tmp_path / "mine.bundle")):
        assert load_global_expert(path).fingerprint == ge.fingerprint


def test_an_expert_that_is_nowhere_is_named_with_those_that_there_are():
    with pytest.raises(EdgemoeError, match=r"'no-such-expert'.*lenet5-balanced"):
        load_global_expert("no-such-expert")


def test_a_form_that_no_bundle_holds_is_refused(ge):
    with pytest.raises(EdgemoeError, match="float64"):
        load_global_expert(form="float64")


def test_a_graph_that_onnxruntime_cannot_load_is_an_error_that_names_the_expert(ge):
    for graph in (b"", b"not an onnx file", ge.bundle.int8[:1000]):
        broken = GlobalExpert(dataclasses.replace(ge.bundle, int8=graph))
        with pytest.raises(EdgemoeError, match="lenet5-balanced: onnxruntime cannot load"):
            broken.predict(np.zeros((1, 28, 28), np.uint8))


def test_a_graph_without_the_taps_is_an_error_that_names_them(ge):
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(ge.bundle.float32)
    del model.graph.output[1:]
    poor = GlobalExpert(dataclasses.replace(ge.bundle, int8=model.SerializeToString()))
    with pytest.raises(EdgemoeError, match=r"lacks the outputs \['features'\]"):
        poor.predict(np.zeros((1, 28, 28), np.uint8))


def test_a_copy_shares_the_frozen_expert(ge):
    assert copy.deepcopy(ge) is ge
    assert "lenet5-balanced" in repr(ge)
    assert "47 classes" in repr(ge)
