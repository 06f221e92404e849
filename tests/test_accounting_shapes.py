"""Output shapes of the operators, with onnxruntime as the oracle."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_networks import count, model_of, runs, weights_of

window = st.fixed_dictionaries(
    {
        "size": st.integers(1, 12),
        "kernel": st.integers(1, 4),
        "stride": st.integers(1, 4),
        "dilation": st.integers(1, 3),
        "begin": st.integers(0, 3),
        "end": st.integers(0, 3),
    }
)


@given(st.sampled_from(["Conv", "MaxPool", "AveragePool"]), window, window, st.booleans())
@settings(deadline=None, max_examples=150)
@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
def test_sliding_windows_give_the_shape_that_onnxruntime_computes(auto_pad, op, height, width, ceil) -> None:
    h, w = height, width
    attributes = {"kernel_shape": [h["kernel"], w["kernel"]], "strides": [h["stride"], w["stride"]]}
    if op == "Conv" or (op == "MaxPool" and auto_pad == "NOTSET"):  # its SAME forgets the dilation
        attributes["dilations"] = [h["dilation"], w["dilation"]]
    if auto_pad == "NOTSET":
        attributes["pads"] = [h["begin"], w["begin"], h["end"], w["end"]]
        if op != "Conv":
            assume(max(h["begin"], h["end"]) < h["kernel"] and max(w["begin"], w["end"]) < w["kernel"])
            attributes["ceil_mode"] = int(ceil)
    else:
        attributes |= {"auto_pad": auto_pad}
    if not auto_pad.startswith("SAME"):
        for axis in (h, w):  # its division rounds a window that does not fit towards one output
            reach = (axis["kernel"] - 1) * axis["dilation"] + 1
            assume(axis["size"] + (axis["begin"] + axis["end"]) * (auto_pad == "NOTSET") >= reach)
    weights = weights_of(k=(4, 1, h["kernel"], w["kernel"])) if op == "Conv" else {}
    attributes |= {"group": 2} if op == "Conv" else {}
    node = helper.make_node(op, ["x", *weights], ["y"], "window", **attributes)
    model = model_of([node], {"x": [1, 2, h["size"], w["size"]]}, {"y": None}, weights)
    results = runs(model, {"x": np.zeros((1, 2, h["size"], w["size"]), np.float32)})
    assume(results is not None and results[0].size)
    [layer] = count(model, check=False).layers
    assert layer.elements_written == results[0].size
    assert layer.macs == (results[0].size * h["kernel"] * w["kernel"] if op == "Conv" else 0)


def constants(**values):
    return {name: np.array(value, np.int64) for name, value in values.items()}


@pytest.mark.parametrize(
    ("op", "attributes", "extra"),
    [
        ("Reshape", {}, constants(s=[0, -1])),
        ("Reshape", {}, constants(s=[3, 2, -1])),
        ("Flatten", {"axis": 2}, {}),
        ("Flatten", {"axis": -1}, {}),
        ("Squeeze", {}, {}),
        ("Squeeze", {}, constants(a=[0])),
        ("Unsqueeze", {}, constants(a=[0, -1])),
        ("Transpose", {}, {}),
        ("Transpose", {"perm": [0, 2, 3, 1]}, {}),
        ("Pad", {}, constants(p=[0, 0, 1, 2, 0, 0, 3, -1])),
        ("Slice", {}, constants(b=[1, -1], e=[9, -9], a=[1, 3], t=[1, -2])),
        ("Slice", {}, constants(b=[-9, 1], e=[1, 2])),
        ("Gather", {"axis": 1}, constants(i=[[0, 2]])),
        ("ReduceMean", {"axes": [2, 3]}, {}),
        ("ReduceMean", {"axes": [-1], "keepdims": 0}, {}),
        ("ReduceSum", {}, constants(a=[1])),
        ("ReduceMax", {}, {}),
        ("GlobalMaxPool", {}, {}),
        ("Softmax", {}, {}),
        ("MatMul", {}, weights_of(w=(5, 7))),
        ("MatMul", {}, weights_of(w=(1, 3, 5, 2))),
        ("MatMul", {}, weights_of(w=(5,))),
        ("Add", {}, weights_of(w=(2, 1, 1, 5))),
        ("PRelu", {}, weights_of(w=(3, 1, 1))),
    ],
)
def test_the_shape_of_every_other_operator_is_what_onnxruntime_computes(op, attributes, extra) -> None:
    shape = (1, 3, 4, 5)
    nodes = [
        helper.make_node(op, ["x", *extra], ["y"], "op", **attributes),
        helper.make_node("Concat", ["y", "y"], ["z"], "twice", axis=0),  # writes what a view does not
    ]
    weights = {name: np.asarray(value) for name, value in extra.items()}
    model = model_of(nodes, {"x": shape}, {"y": None, "z": None}, weights)
    y, z = runs(model, {"x": np.zeros(shape, np.float32)})
    cost = count(model, check=False)
    assert cost.layers[-1].elements_read == y.size
    assert cost.layers[-1].elements_written == z.size
    inner = 5 if op == "MatMul" else 0
    assert cost.total().macs == y.size * inner
    assert cost.total().parameters == sum(v.size for v in weights.values() if v.dtype == np.float32)
