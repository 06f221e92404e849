"""Random integer networks and their ONNX form: what the tests of the firmware's network run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

from firmware_export.layers import Convolution, Dense, Network

__all__ = ["random_images", "random_network", "to_bytes", "to_onnx"]


def random_network(
    seed: int,
    convolutions: Sequence[tuple[int, int, int, bool]],
    dense: Sequence[int],
    palettes: bool = False,
    zero: int = 0,
    extreme: bool = False,
    relu: bool = True,
) -> Network:
    """Make a network whose results spread over their codes.

    Parameters
    ----------
    seed : int
    convolutions : sequence of (outputs, kernel, padding, pool)
    dense : sequence of int
        Outputs.
    palettes : bool
        Whether dense weights share 16 values.
    zero : int
        Zero point of all results but the logits'.
    extreme : bool
        Whether all weights are -127, 0 or 127.
    relu : bool
        Whether a ReLU stands behind all layers but the last.
    """
    rng = np.random.default_rng(seed)

    def common(name: str, weights: npt.NDArray[Any], input_zero: int, last: bool = False) -> dict[str, Any]:
        spread = 255 * np.sqrt(weights[0].size) * np.abs(weights).mean()
        bias = rng.normal(0, spread / 4, len(weights)).astype(np.int32)
        ratios = rng.uniform(50, 400, len(weights)) / spread
        return {
            "name": name, "weights": weights.astype(np.int8), "bias": bias, "ratios": np.minimum(ratios, 0.2),
            "input_zero": input_zero, "zero": 117 if last else zero, "relu": relu and not last,
        }  # fmt: skip

    def random_weights(*shape: int) -> npt.NDArray[Any]:
        return rng.choice([-127, 0, 127], shape) if extreme else rng.integers(-64, 65, shape)

    first: list[Convolution] = []
    channels, side = 1, 28
    for index, (outputs, kernel, padding, pool) in enumerate(convolutions):
        weights = random_weights(outputs, channels, kernel, kernel)
        fields = common(f"conv{index}", weights, zero if index else 0)
        first.append(Convolution(**fields, padding=padding, pool=pool))
        channels, side = outputs, first[-1].size_of(side, side)[0] // (2 if pool else 1)
    then: list[Dense] = []
    width = channels * side * side
    for index, outputs in enumerate(dense):
        codes = rng.integers(0, 16, (outputs, width)).astype(np.uint8) if palettes else None
        palette = rng.integers(-64, 65, 16).astype(np.int8) if palettes else None
        weights = random_weights(outputs, width) if palette is None or codes is None else palette[codes]
        fields = common(f"dense{index}", weights, zero, index + 1 == len(dense))
        then.append(Dense(**fields, codes=codes, palette=palette))
        width = outputs
    return Network(tuple(first), tuple(then), True, 0.01, 0.05)


def random_images(seed: int, count: int) -> npt.NDArray[np.uint8]:
    """Make images ``(count, 28, 28)``: empty, full, noise, and noise in rectangles with nothing around them."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 28, 28), np.uint8)
    images[1] = 255
    images[2:4] = rng.integers(0, 256, (2, 28, 28))
    for image in images[4:]:
        (top, bottom), (left, right) = np.sort(rng.integers(0, 29, (2, 2)), axis=1)
        image[top:bottom, left:right] = rng.integers(0, 256, (bottom - top, right - left))
    return images


def to_onnx(network: Network) -> tuple[list[NodeProto], dict[str, npt.NDArray[Any]]]:
    """Write a network as the nodes and initializers of a QDQ graph, with the names that an int8 expert has.

    Weights are stored as codes where there is a palette, packed by 4 bits and unpacked by shifts.
    """
    nodes: list[NodeProto] = []
    constants: dict[str, npt.NDArray[Any]] = {}

    def put(name: str, value: npt.ArrayLike, kind: type) -> str:
        constants[name] = np.asarray(value, kind)
        return name

    def add(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def pair(value: str, scale: float, zero: int, output: str) -> str:
        step = put(f"{output}.scale", scale, np.float32), put(f"{output}.zero", zero, np.uint8)
        return add("DequantizeLinear", [add("QuantizeLinear", [value, *step], f"{output}.q"), *step], output)

    step = 1 / 255
    value = pair("image", step, 0, "pixels")
    for layer in (*network.convolutions, *network.dense):
        name = layer.name
        result = network.logit_step if layer is network.dense[-1] else network.feature_step
        scales = layer.ratios * result / step
        stored = f"{name}.int8"
        if isinstance(layer, Dense) and layer.codes is not None and layer.palette is not None:
            left, right = np.split(layer.codes, 2, axis=1)
            packed, four = put(f"{name}.codes", left | right << 4, np.uint8), put("four", 4, np.uint8)
            high = add("BitShift", [packed, four], f"{name}.high", direction="RIGHT")
            raised = add("BitShift", [packed, four], f"{name}.raised", direction="LEFT")
            low = add("BitShift", [raised, four], f"{name}.low", direction="RIGHT")
            both = add("Concat", [low, high], f"{name}.both", axis=1)
            places = add("Cast", [both], f"{name}.places", to=TensorProto.INT32)
            add("Gather", [put(f"{name}.palette", layer.palette, np.int8), places], stored)
        else:
            put(stored, layer.weights, np.int8)
        weight = add("DequantizeLinear", [stored, put(f"{name}.scales", scales, np.float32)], f"{name}.w", axis=0)
        steps = put(f"{name}.steps", scales * step, np.float32)
        bias = add("DequantizeLinear", [put(f"{name}.bias", layer.bias, np.int32), steps], f"{name}.b", axis=0)
        if isinstance(layer, Convolution):
            pads, kernel = [layer.padding] * 4, [layer.kernel] * 2
            value = add("Conv", [value, weight, bias], name, pads=pads, kernel_shape=kernel)
        else:
            value = add("Gemm", [value, weight, bias], name, transB=1)
        if layer.relu:
            value = add("Relu", [value], f"{name}.relu")
        value = pair(value, result, layer.zero, "logits" if layer is network.dense[-1] else f"{name}.result")
        if isinstance(layer, Convolution) and layer.pool:
            value = pair(
                add("MaxPool", [value], f"{name}.pool", kernel_shape=[2, 2], strides=[2, 2]), result, layer.zero,
                f"{name}.pooled",
            )  # fmt: skip
        if layer is network.convolutions[-1]:
            value = add("Flatten", [value], "features")
        step = result
    return nodes, constants


def to_bytes(nodes: Sequence[NodeProto], constants: dict[str, npt.NDArray[Any]], outputs: Sequence[str]) -> bytes:
    """Return the file of a graph."""
    graph = helper.make_graph(
        nodes,
        "a network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content
