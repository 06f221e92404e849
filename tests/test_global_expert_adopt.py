"""A plain ONNX file as a global expert: it answers as the file does, whatever its exporter wrote."""

import builtins
import sys

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
import onnxruntime  # noqa: E402
from conftest import ROOT  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edgemoe import EdgemoeError, Personalizer, adopt_onnx, load_global_expert  # noqa: E402
from edgemoe.classes import CLASS_SETS  # noqa: E402
from edgemoe.data import load_samples  # noqa: E402
from edgemoe.device.bundle import write_bundle  # noqa: E402
from edgemoe.device.global_expert import GlobalExpert  # noqa: E402
from edgemoe.global_expert.sequential import read_sequential  # noqa: E402
from edgemoe.simulator import generic_samples, simulated_samples  # noqa: E402

DIGITS = CLASS_SETS["digits"]
NORMALIZATION = ("gain", "shift", "mean", "spread")


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def weights(classes=10, seed=0):
    """Of a convolution and a dense layer with normalizations behind them, and of the last layer."""
    rng = np.random.default_rng(seed)
    shapes = {"w1": (4, 1, 5, 5), "b1": (4,), "w2": (4 * 6 * 6, 20), "b2": (20,), "w3": (classes, 20), "b3": (classes,)}
    arrays = {name: (rng.standard_normal(shape) / 4).astype(np.float32) for name, shape in shapes.items()}
    for size in (4, 20):
        arrays |= {f"{name}{size}": rng.uniform(0.5, 2, size).astype(np.float32) for name in NORMALIZATION}
    return arrays


def network(path, classes=10, batch=1, reshape=False, normalized=False, last=(), **changed):
    """Write a small CNN as an exporter might: any names, any batch, MatMul and Add, Reshape by computed sizes.

    `last` are nodes at the end; `changed` the input's `kind` or `shape`, or by an operator's name what replaces it.
    """
    arrays = weights(classes)
    node = helper.make_node
    nodes = [node("Conv", ["x.1", "w1", "b1"], ["c"], kernel_shape=[5, 5], strides=[2, 2])]
    if normalized:
        nodes.append(node("BatchNormalization", ["c", *(f"{name}4" for name in NORMALIZATION)], ["n"]))
    nodes += [
        node("Relu", ["n" if normalized else "c"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    if reshape:
        arrays |= {"zero": np.array(0), "rest": np.array([-1]), "axis": np.array([0])}
        nodes += [
            node("Shape", ["p"], ["sizes"]),
            node("Gather", ["sizes", "zero"], ["n_images"]),
            node("Unsqueeze", ["n_images", "axis"], ["first"]),
            node("Concat", ["first", "rest"], ["flat_shape"], axis=0),
            node("Reshape", ["p", "flat_shape"], ["f"]),
        ]
    else:
        nodes.append(node("Flatten", ["p"], ["f"]))
    nodes += [
        node("MatMul", ["f", "w2"], ["m"]),
        node("Add", ["m", "b2"], ["d"]),
        *([node("BatchNormalization", ["d", *(f"{name}20" for name in NORMALIZATION)], ["dn"])] if normalized else []),
        node("Relu", ["dn" if normalized else "d"], ["e"]),
        node("Gemm", ["e", "w3", "b3"], ["out"], transB=1),
    ]
    ends = "out"
    for kind in last:
        nodes.append(node(kind, [ends], [f"after{len(nodes)}"]))
        ends = f"after{len(nodes) - 1}"
    nodes = [changed.get(made.op_type.lower(), lambda same: same)(made) for made in nodes]
    used = {name for made in nodes for name in made.input}
    shape = changed.get("shape", [batch, 1, 28, 28])
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info("x.1", changed.get("kind", TensorProto.FLOAT), shape)],
        [helper.make_tensor_value_info(ends, TensorProto.FLOAT, None)],
        [tensor(name, array) for name, array in arrays.items() if name in used],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def original(path, images, output=None):
    """What onnxruntime says of the file itself; `output` names an inner value."""
    model = onnx.load(path)
    if output is not None:
        model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    batch = session.get_inputs()[0].shape[0]
    size = batch if isinstance(batch, int) else len(images)
    parts = [
        session.run([output or session.get_outputs()[0].name], {session.get_inputs()[0].name: images[i : i + size]})[0]
        for i in range(0, len(images), size)
    ]
    return np.concatenate(parts)


def scaled(images):
    return images[:, None].astype(np.float32) / np.float32(255)


@pytest.fixture(scope="module")
def digits():
    return generic_samples(seed=5, per_class=16, classes=DIGITS)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"batch": "n"},
        {"batch": 8, "reshape": True},
        {"batch": "n", "reshape": True},
        {"batch": None, "normalized": True},
        {"last": ("Softmax",)},
    ],
    ids=str,
)
def test_logits_and_features_are_the_files_for_any_batch(form, digits, tmp_path):
    path = network(tmp_path / "net.onnx", **form)
    read = read_sequential(path)
    images = scaled(digits[0][:16])
    session = onnxruntime.InferenceSession(read.graph, providers=["CPUExecutionProvider"])
    logits, features = session.run(["logits", "features"], {"image": images})
    np.testing.assert_allclose(logits, original(path, images, "out" if form.get("last") else None), atol=1e-5)
    np.testing.assert_allclose(features, original(path, images, "f"), atol=1e-5)
    pooled = original(path, images, "p")
    assert (read.classes, read.feature_map, read.widths) == (DIGITS, pooled.shape[1:], (4, 20))
    assert read.parameters == sum(weights()[name].size for name in ("w1", "b1", "w2", "b2", "w3", "b3"))


def test_int8_answers_as_the_file_does(digits, tmp_path):
    path = network(tmp_path / "net.onnx", normalized=True)
    expert = adopt_onnx(path, *digits)
    images, _ = generic_samples(seed=6, per_class=20, classes=DIGITS)
    truth = original(path, scaled(images)).argmax(axis=1)
    assert (expert.taps(images).logits.argmax(axis=1) == truth).mean() > 0.95
    float32 = GlobalExpert(expert.bundle, "float32").taps(images).logits
    np.testing.assert_allclose(float32, original(path, scaled(images)), atol=1e-5)
    assert (expert.name, expert.classes) == ("net", DIGITS)


def test_the_retention_set_is_of_the_samples_and_keeps_their_labels(digits, tmp_path):
    images, labels = digits
    expert = adopt_onnx(network(tmp_path / "net.onnx"), images, labels)
    kept = expert.retention
    assert len(kept) == len(images)
    taps = expert.taps(images)
    for row in range(0, len(kept), 40):
        distances = np.abs(taps.logits - kept.taps(slice(row, row + 1)).logits).max(axis=1)
        assert distances.min() < 1e-4
        assert expert.classes[kept.labels[row]] in labels[distances < 1e-4]
    np.testing.assert_allclose(expert.bundle.statistics.mean, taps.features.mean(axis=0), atol=1e-3)


def test_the_same_samples_give_the_same_fingerprint_and_a_bundle_keeps_it(digits, tmp_path):
    path = network(tmp_path / "net.onnx")
    expert, again = adopt_onnx(path, *digits), adopt_onnx(path, *digits)
    other = adopt_onnx(path, digits[0][:120], digits[1][:120])
    assert expert.fingerprint == again.fingerprint != other.fingerprint
    write_bundle(tmp_path / "net.bundle", expert.bundle)
    kept = load_global_expert(tmp_path / "net.bundle")
    assert kept.fingerprint == expert.fingerprint
    np.testing.assert_array_equal(kept.taps(digits[0]).logits, expert.taps(digits[0]).logits)


def test_an_adopted_expert_is_personalized_like_any_other(digits, tmp_path):
    expert = adopt_onnx(network(tmp_path / "net.onnx"), *digits)
    images, labels = simulated_samples(3, 8, DIGITS)
    moe = Personalizer(expert).fit(images, labels)
    answers = moe.explain(images)
    assert (answers.local_labels == labels).mean() > (answers.global_labels == labels).mean() + 0.3
    moe.save(tmp_path / "me.moe")


def test_without_samples_simulated_writers_stand_in(tmp_path, monkeypatch):
    monkeypatch.setattr("edgemoe.global_expert.adopt.CROWD", 12)
    expert = adopt_onnx(network(tmp_path / "net.onnx"))
    assert len(expert.retention) == 12 * len(DIGITS)
    assert np.bincount(expert.retention.labels).tolist() == [12] * 10
    assert expert.metadata["data"]["retention"] == "12 simulated writers"


def renamed(kind, **attributes):
    return lambda made: helper.make_node(kind, made.input[:1], made.output, f"odd {made.input[0]}", **attributes)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"shape": ["n", 3, 28, 28]}, r"input 'x\.1' has the shape \(n, 3, 28, 28\)"),
        ({"shape": ["n", 1, "h", "w"]}, r"input 'x\.1' has the shape \(n, 1, h, w\)"),
        ({"shape": [1, 784]}, r"has the shape \(1, 784\), where \(n, 1, 28, 28\) is expected"),
        ({"kind": TensorProto.FLOAT16}, r"input 'x\.1' is float16, where float32 is expected"),
        ({"classes": 11}, r"gives 11 values an image; .* 10 \(digits\)"),
        ({"relu": renamed("Tanh")}, "node 'odd c': Tanh before a flattened feature map is not"),
        ({"maxpool": renamed("GlobalMaxPool")}, "GlobalMaxPool|do not fit|onnxruntime cannot"),
        ({"last": ("Softmax", "Relu")}, "Relu does not read|Relu behind"),
        ({"last": ("Relu",)}, "its last layer is not dense"),
        ({"last": ("Softmax", "Softmax")}, "Softmax behind the flattened features"),
    ],
)  # fmt: skip
def test_what_is_no_plain_sequential_cnn_is_refused_by_name(form, message, tmp_path):
    with pytest.raises(EdgemoeError, match=message) as caught:
        adopt_onnx(network(tmp_path / "net.onnx", **form))
    assert str(tmp_path / "net.onnx") in str(caught.value)


def test_a_shortcut_is_refused(tmp_path):
    node = helper.make_node
    path = network(tmp_path / "net.onnx", relu=lambda made: node("Add", [made.input[0], made.input[0]], made.output))
    with pytest.raises(EdgemoeError, match=r"Add before a flattened|read by Add"):
        adopt_onnx(path)


def test_an_int8_graph_is_refused(ge, tmp_path):
    (tmp_path / "int8.onnx").write_bytes(ge.bundle.int8)
    model = onnx.load_from_string(ge.bundle.int8)
    del model.graph.output[1:]
    onnx.save(model, tmp_path / "one.onnx")
    with pytest.raises(EdgemoeError, match="1 inputs and 2 outputs"):
        adopt_onnx(tmp_path / "int8.onnx")
    with pytest.raises(EdgemoeError, match=r"QuantizeLinear .* is not of a float32"):
        adopt_onnx(tmp_path / "one.onnx")


@pytest.mark.parametrize("content", [b"", b"no onnx at all", b"PK\x03\x04", None])
def test_a_file_that_is_no_onnx_is_refused(content, digits, tmp_path):
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EdgemoeError, match=r"net\.onnx: (not a whole ONNX file|cannot be read|has 0 inputs)"):
        adopt_onnx(path, *digits)


def test_a_cut_file_is_refused(digits, tmp_path):
    content = network(tmp_path / "net.onnx").read_bytes()
    for size in range(1, len(content), len(content) // 23):
        (tmp_path / "cut.onnx").write_bytes(content[:size])
        with pytest.raises(EdgemoeError, match=r"cut\.onnx"):
            adopt_onnx(tmp_path / "cut.onnx", *digits)


def test_unusable_samples_are_refused(digits, tmp_path):
    path, (images, labels) = network(tmp_path / "net.onnx"), digits
    for arguments, message in (
        ((images,), "both or neither"),
        ((images[:99], labels[:99]), "at least 100"),
        ((images, labels[:-1]), "a label each"),
        ((images / 255, labels), "expected uint8"),
        ((images, ["A"] * len(images)), "label 'A'"),
    ):
        with pytest.raises(EdgemoeError, match=message):
            adopt_onnx(path, *arguments)


def test_without_the_package_onnx_the_error_names_the_extra(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] == "onnx":
            raise ImportError(name)
        return real(name, *rest)

    path = network(tmp_path / "net.onnx")
    monkeypatch.delitem(sys.modules, "edgemoe.global_expert.sequential")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EdgemoeError, match=r"edgemoe\[export\]"):
        adopt_onnx(path)


def test_loading_a_plain_file_says_what_makes_an_expert_of_it(tmp_path):
    with pytest.raises(EdgemoeError, match=r"edgemoe\.adopt_onnx or edgemoe export bundle"):
        load_global_expert(network(tmp_path / "net.onnx"))


def test_the_reference_network_keeps_its_accuracy_on_real_handwriting(shared_data):
    path = ROOT.parent / "shared" / "models" / "lenet5_classic.onnx"
    if not path.is_file():
        pytest.skip("the reference network is not here")
    images, labels, _ = load_samples(f"{shared_data}/emnist/emnist.zip:byclass-part:test")
    rows = np.random.default_rng(0).permutation(len(labels))
    expert = adopt_onnx(path, images[rows[:1000]], labels[rows[:1000]])
    assert expert.metadata["parameters"] == 64_851
    fresh = images[rows[1000:3000]]
    logits = original(path, scaled(fresh[:300]))
    np.testing.assert_allclose(GlobalExpert(expert.bundle, "float32").taps(fresh[:300]).logits, logits, atol=1e-4)
    same = expert.predict(fresh) == GlobalExpert(expert.bundle, "float32").predict(fresh)
    assert same.mean() > 0.985
