"""The routed graph says what the mixture says, in any batch, and holds the global expert unchanged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edgemoe import GlobalExpert, MixtureOfExperts, Personalizer
from edgemoe.device.gate import CLOSED
from edgemoe.errors import EdgemoeError
from edgemoe.export.routed_graph import routed_graph, write_routed_graph
from edgemoe.simulator import generic_samples, simulated_samples

Images = npt.NDArray[np.uint8]


def run(content: bytes, images: Images) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    scaled = images[:, None].astype(np.float32) / np.float32(255)
    probabilities, gate = session.run(["probabilities", "gate"], {"image": scaled})
    return probabilities, gate


@pytest.fixture(scope="module", params=["compact", "full"])
def moe(request: pytest.FixtureRequest, ge: GlobalExpert, writer: tuple[Images, npt.NDArray[np.str_]]) -> Personalizer:
    return Personalizer(ge, request.param).fit(*writer)


@pytest.fixture(scope="module")
def images() -> Images:
    """The user's characters, other writers', a blank image and a full one."""
    user, _ = simulated_samples(seed=3, per_class=3, sample_seed=1)
    others, _ = generic_samples(5, 4)
    extremes = np.array([np.zeros((28, 28)), np.full((28, 28), 255)], np.uint8)
    return np.concatenate([user, others, extremes])


def test_probabilities_gate_and_labels_are_the_mixtures(moe: Personalizer, images: Images) -> None:
    expected = moe.explain(images)
    probabilities, gate = run(routed_graph(moe), images)
    assert probabilities.dtype == gate.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(gate, expected.gate, atol=1e-5)
    np.testing.assert_array_equal(moe.ge.label(probabilities), expected.labels)


def test_one_image_at_a_time_gives_what_a_batch_gives(moe: Personalizer, images: Images) -> None:
    content, some = routed_graph(moe), images[::40]
    whole = run(content, some)
    for index in range(len(some)):
        for one, many in zip(run(content, some[index : index + 1]), whole, strict=True):
            np.testing.assert_allclose(one, many[index : index + 1], atol=1e-6)


@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("size", ["compact", "full"])
def test_spare_symbols_follow_the_classes_and_one_that_was_not_taught_is_impossible(
    ge: GlobalExpert, size: str, accepted: bool
) -> None:
    taught, labels = simulated_samples(3, 4, ge.classes + "@")
    fitted = Personalizer(ge, size, symbols="é@").fit(taught, labels)
    verdict = replace(fitted.profile.verdict, accepted=accepted)
    moe = MixtureOfExperts(ge, replace(fitted.profile, verdict=verdict))
    fresh, _ = simulated_samples(3, 2, ge.classes + "@", sample_seed=1)
    content, expected = routed_graph(moe), moe.explain(fresh)
    probabilities, gate = run(content, fresh)
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(gate, expected.gate, atol=1e-5)
    np.testing.assert_array_equal(moe.classes_[probabilities.argmax(axis=1)], expected.labels)
    assert not probabilities[:, 47].any()
    assert ("@" in expected.labels) == accepted
    assert {p.key: p.value for p in onnx.load_from_string(content).metadata_props}["classes"] == ge.classes + "é@"


@pytest.mark.parametrize("seed", range(4))
def test_other_writers_mixtures_are_matched_too(ge: GlobalExpert, seed: int) -> None:
    """Classes that the user gave no sample of have no corrections, and their weights no scale."""
    taught, labels = simulated_samples(seed, 4)
    kept = np.isin(labels, list(ge.classes[seed:30]))
    moe = Personalizer(ge).fit(taught[kept], labels[kept])
    fresh, _ = simulated_samples(seed, 2, sample_seed=1)
    probabilities, gate = run(routed_graph(moe), fresh)
    expected = moe.explain(fresh)
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(gate, expected.gate, atol=1e-5)
    np.testing.assert_array_equal(moe.ge.label(probabilities), expected.labels)


def test_a_raised_threshold_closes_the_gate_as_the_mixtures(moe: Personalizer, images: Images) -> None:
    odds = moe.profile.gate.log_odds(moe.ge.standardizer.gate_inputs(moe.ge.taps(images)))
    threshold = float(np.median(odds) - np.log(CLOSED / (1 - CLOSED)))  # closes it to half of the images
    raised = MixtureOfExperts(
        moe.ge, replace(moe.profile, verdict=replace(moe.profile.verdict, accepted=True, threshold=threshold))
    )
    expected = raised.explain(images)
    clear = np.abs(odds - np.median(odds)) > 1e-4  # not those that rounding decides
    probabilities, gate = run(routed_graph(raised), images)
    assert 0.4 < (gate == 0).mean() < 0.6
    np.testing.assert_array_equal((gate == 0)[clear], (expected.gate == 0)[clear])
    np.testing.assert_allclose(gate[clear], expected.gate[clear], atol=1e-5)
    np.testing.assert_array_equal(moe.ge.label(probabilities)[gate == 0], moe.ge.predict(images)[gate == 0])


def test_a_declined_profile_leaves_the_global_experts_answer_alone(moe: Personalizer, images: Images) -> None:
    verdict = replace(moe.profile.verdict, accepted=False)
    declined = MixtureOfExperts(moe.ge, replace(moe.profile, verdict=verdict))
    probabilities, gate = run(routed_graph(declined), images)
    assert not gate.any()
    np.testing.assert_allclose(probabilities, moe.ge.predict_proba(images), atol=1e-6)
    np.testing.assert_array_equal(moe.ge.label(probabilities), moe.ge.predict(images))


def test_the_global_expert_is_inside_unchanged_and_the_rest_is_standard(moe: Personalizer) -> None:
    before, after = onnx.load_from_string(moe.ge.graph), onnx.load_from_string(routed_graph(moe))
    count = len(before.graph.node)
    assert list(after.graph.node[:count]) == list(before.graph.node)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in after.graph.initializer}
    for tensor in before.graph.initializer:
        np.testing.assert_array_equal(weights[tensor.name], numpy_helper.to_array(tensor))
    assert {node.domain for node in after.graph.node} == {""}
    assert (after.ir_version, after.opset_import[0].version) == (before.ir_version, before.opset_import[0].version)
    onnx.checker.check_model(after, full_check=True)
    assert [output.name for output in after.graph.output] == ["probabilities", "gate"]
    properties = {prop.key: prop.value for prop in after.metadata_props}
    assert properties == {"classes": moe.ge.classes, "fingerprint": moe.ge.fingerprint.hex()}


def test_int8_weights_cannot_saturate_where_a_processor_adds_in_16_bits(ge: GlobalExpert) -> None:
    found = []
    for seed in range(8):  # where a bias is no whole number of steps, floats are kept instead
        moe = Personalizer(ge, "compact").fit(*simulated_samples(seed, per_class=5))
        weights = onnx.load_from_string(routed_graph(moe)).graph.initializer
        found += [numpy_helper.to_array(t) for t in weights if t.name == "mixture.codes"]
    assert found
    for codes in found:
        assert codes.dtype == np.int8
        assert 2 * 255 * int(np.abs(codes.astype(int)).max()) < 2**15


def test_the_file_is_what_the_function_returns(moe: Personalizer, tmp_path: Path) -> None:
    write_routed_graph(tmp_path / "me.onnx", moe)
    assert (tmp_path / "me.onnx").read_bytes() == routed_graph(moe)
    assert [entry.name for entry in tmp_path.iterdir()] == ["me.onnx"]


def test_a_mixture_that_learnt_nothing_yet_is_refused(ge: GlobalExpert) -> None:
    with pytest.raises(EdgemoeError, match="not fitted"):
        routed_graph(Personalizer(ge))


def test_a_global_expert_with_palettes_is_inside_unchanged_too(
    ge: GlobalExpert, images: Images, writer: tuple[Images, npt.NDArray[np.str_]]
) -> None:
    pytest.importorskip("torch")
    from edgemoe.benchmark.network import float_network
    from edgemoe.global_expert.export import quantize, to_onnx
    from edgemoe.pruning.unification import even_dense_layers, unify

    network = float_network(ge)
    shared = to_onnx(unify(network, 4, layers=even_dense_layers(network))[0])
    packed = GlobalExpert(replace(ge.bundle, float32=shared, int8=quantize(shared, images)))
    before = onnx.load_from_string(packed.graph)
    assert {"BitShift", "Gather"} <= {node.op_type for node in before.graph.node}
    moe = Personalizer(packed).fit(*writer)
    content, expected = routed_graph(moe), moe.explain(images)
    assert list(onnx.load_from_string(content).graph.node[: len(before.graph.node)]) == list(before.graph.node)
    probabilities, gate = run(content, images)
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(gate, expected.gate, atol=1e-5)
