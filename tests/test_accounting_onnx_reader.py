"""The ONNX reader against the `onnx` package, and against bytes that are no ONNX."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemoe.accounting import onnx_reader
from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import TensorData, parse_onnx, read_onnx
from edgemoe.errors import EdgemoeError

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

NUMPY_TYPES = ["float32", "float64", "float16", "int8", "uint8", "int16", "uint16", "int32", "int64", "bool"]
NUMPY_TYPES += ["uint32", "uint64"]

names = st.text(max_size=8)
integers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(width=32, allow_nan=False)


@st.composite
def tensors(draw, name=None):
    """A tensor of any number type, its data as raw bytes or in the typed field."""
    dtype = np.dtype(draw(st.sampled_from(NUMPY_TYPES)))
    dims = draw(st.lists(st.integers(0, 3), max_size=3))
    content = draw(st.binary(min_size=1, max_size=64))
    count = int(np.prod(dims, dtype=int))
    raw = (content * (count * dtype.itemsize + 1))[: count * dtype.itemsize]
    array = np.frombuffer(raw, np.uint8) % 2 == 1 if dtype.kind == "b" else np.frombuffer(raw, dtype)
    array = np.nan_to_num(array) if dtype.kind == "f" else array
    name = draw(names) if name is None else name
    if draw(st.booleans()) or dtype == np.float16:
        return numpy_helper.from_array(array.reshape(dims), name)
    return helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(dtype), dims, array.tolist())


attributes = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=6),
    st.one_of(
        integers,
        floats,
        st.text(max_size=5),
        st.lists(integers, min_size=1, max_size=4),
        st.lists(floats, min_size=1, max_size=4),
        st.lists(st.text(max_size=3), min_size=1, max_size=4),
        tensors(),
    ),
    max_size=4,
)
nodes = st.builds(
    lambda op, i, o, n, d, a: helper.make_node(op, i, o, name=n, domain=d, **{f"a_{k}": v for k, v in a.items()}),
    *[names, st.lists(names, max_size=3), st.lists(names, max_size=2), names, names, attributes],
)
shapes = st.none() | st.lists(st.integers(0, 2**40) | st.text("nhw", min_size=1) | st.none(), max_size=4)
values = st.builds(helper.make_tensor_value_info, names, st.sampled_from([TensorProto.FLOAT, TensorProto.INT8]), shapes)


@st.composite
def models(draw):
    initializers = [draw(tensors(f"w{i}")) for i in range(draw(st.integers(0, 3)))]
    lists = [draw(st.lists(values, max_size=2)) for _ in range(3)]
    graph = helper.make_graph(
        draw(st.lists(nodes, max_size=3)), "g", lists[0], lists[1], initializers, value_info=lists[2]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", draw(st.integers(1, 25)))])
    helper.set_model_props(model, draw(st.dictionaries(names, names, max_size=3)))
    return model


def assert_same_tensor(ours: TensorData, theirs) -> None:
    expected = numpy_helper.to_array(theirs)
    assert (ours.name, ours.dims, ours.dtype) == (theirs.name, tuple(theirs.dims), str(expected.dtype))
    np.testing.assert_array_equal(ours.values, expected)
    assert ours.values.dtype == expected.dtype
    assert ours.bytes == expected.nbytes


def assert_same_value(ours, theirs) -> None:
    kind = theirs.type.tensor_type
    assert ours.name == theirs.name
    assert ours.dtype == helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    if not kind.HasField("shape"):
        assert ours.shape is None
        return
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim]
    assert ours.shape == tuple(dims)


def assert_same_model(ours, theirs) -> None:
    assert ours.opset == {o.domain: o.version for o in theirs.opset_import}
    assert ours.metadata == {p.key: p.value for p in theirs.metadata_props}
    assert len(ours.initializers) == len(theirs.graph.initializer)
    for tensor in theirs.graph.initializer:
        assert_same_tensor(ours.initializers[tensor.name], tensor)
    for mine, field in ((ours.inputs, "input"), (ours.outputs, "output"), (ours.value_info, "value_info")):
        for ours_value, value in itertools.zip_longest(mine, getattr(theirs.graph, field)):
            assert_same_value(ours_value, value)
    for node, expected in itertools.zip_longest(ours.nodes, theirs.graph.node):
        assert (node.name, node.op_type, node.domain) == (expected.name, expected.op_type, expected.domain)
        assert (node.inputs, node.outputs) == (tuple(expected.input), tuple(expected.output))
        assert len(node.attributes) == len(expected.attribute)
        for attribute in expected.attribute:
            mine, value = node.attributes[attribute.name], helper.get_attribute_value(attribute)
            if isinstance(mine, TensorData):
                assert_same_tensor(mine, value)
            elif isinstance(mine, tuple):
                assert mine == tuple(v.decode() if isinstance(v, bytes) else v for v in value)
            else:
                assert mine == (value.decode() if isinstance(value, bytes) else value)


@given(models())
@settings(deadline=None)
def test_reads_what_the_onnx_package_wrote(model) -> None:
    assert_same_model(parse_onnx(model.SerializeToString()), model)


def small_model():
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Reshape", ["r", "s"], ["f"], "reshape"),
        helper.make_node("Gemm", ["f", "v"], ["y"], "gemm", alpha=0.5),
    ]
    initializers = [
        numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32), "w"),
        numpy_helper.from_array(np.ones(2, np.float32), "b"),
        helper.make_tensor("s", TensorProto.INT64, [2], [1, -1]),
        helper.make_tensor("v", TensorProto.FLOAT, [32, 3], np.ones(96).tolist()),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 4, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, initializers))


def test_truncated_bytes_are_refused_wherever_the_onnx_package_refuses_them() -> None:
    content = small_model().SerializeToString()
    refused = 0
    for length in range(len(content)):
        try:
            theirs = onnx.load_model_from_string(content[:length])
        except Exception:
            theirs = None
        if theirs is None or not theirs.HasField("graph"):
            refused += 1
            with pytest.raises(EdgemoeError, match=r"broken\.onnx"):
                parse_onnx(content[:length], "broken.onnx")
        else:
            assert_same_model(parse_onnx(content[:length]), theirs)
    assert refused > len(content) // 2


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6))
@settings(deadline=None, max_examples=400)
def test_corrupt_bytes_give_a_model_or_the_one_error(changes) -> None:
    content = bytearray(small_model().SerializeToString())
    for position, value in changes:
        content[position % len(content)] = value
    try:
        model = parse_onnx(bytes(content), "broken.onnx")
        cost = count_graph(model)
    except EdgemoeError:
        return
    assert len(cost.layers) <= len(model.nodes)


def test_a_file_over_the_size_limit_is_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "large.onnx"
    onnx.save(small_model(), path)
    monkeypatch.setattr(onnx_reader, "SIZE_LIMIT", path.stat().st_size)
    assert len(read_onnx(path).nodes) == 4
    monkeypatch.setattr(onnx_reader, "SIZE_LIMIT", path.stat().st_size - 1)
    with pytest.raises(EdgemoeError, match=r"large\.onnx: larger than"):
        read_onnx(path)


def test_a_file_of_countless_fields_is_refused() -> None:
    with pytest.raises(EdgemoeError, match="more fields"):
        parse_onnx(b"\x08\x01" * 1_100_000)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (TensorProto(name="w", dims=[2, -1], data_type=1), "negative dimension"),
        (TensorProto(name="w", dims=[2**40, 2**40], data_type=1), "too large to be meant"),
        (TensorProto(name="w", dims=[3], data_type=1, raw_data=b"\0" * 11), "needs 12"),
        (TensorProto(name="w", dims=[3], data_type=1, float_data=[0, 0]), "needs 3"),
        (TensorProto(name="w", dims=[3], data_type=7), "needs 3"),
        (TensorProto(name="w", dims=[1], data_type=8, string_data=[b"a"]), "data type 8"),
        (TensorProto(name="w", dims=[1], data_type=99), "data type 99"),
    ],
)
def test_a_bad_initializer_is_named_with_what_is_wrong(tensor, reason) -> None:
    model = small_model()
    model.graph.initializer.append(tensor)
    with pytest.raises(EdgemoeError, match=rf"net.onnx: graph.initializer\[4\] 'w': .*{reason}"):
        parse_onnx(model.SerializeToString(), "net.onnx")


@pytest.mark.parametrize(("dtype", "size"), [("INT4", 3), ("UINT4", 3), ("FLOAT8E4M3FN", 5), ("BFLOAT16", 10)])
def test_types_that_numpy_lacks_have_their_stored_size(dtype, size) -> None:
    model = small_model()
    code = getattr(TensorProto, dtype)
    model.graph.initializer.append(TensorProto(name="q", dims=[5], data_type=code, raw_data=b"\0" * size))
    tensor = parse_onnx(model.SerializeToString()).initializers["q"]
    assert (tensor.bytes, tensor.values) == (size, None)


def test_external_weights_are_told_by_their_flag(tmp_path) -> None:
    onnx.save(small_model(), tmp_path / "net.onnx", save_as_external_data=True, size_threshold=0)
    tensors = read_onnx(tmp_path / "net.onnx").initializers
    assert tensors["w"].external
    assert (tensors["w"].dims, tensors["w"].values) == ((2, 1, 3, 3), None)
