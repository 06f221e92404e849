"""From torch to ONNX: the float32 graph with its feature taps, and its int8 form."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.palette_graph import write_palettes

__all__ = ["feature_map", "quantize", "to_onnx"]

OPSET = 17


def to_onnx(model: nn.Sequential) -> bytes:
    """Write a sequential CNN as an ONNX graph, node by node.

    The graph reads ``image`` ``(n, 1, 28, 28)`` float32 in [0, 1] and gives ``logits`` ``(n, C)`` and ``features``
    ``(n, F)``, the tap that gate and local expert read: the convolution features where they are flattened.

    Parameters
    ----------
    model : Sequential
        Convolutions, ReLU, max-pooling, one Flatten, dense layers; normalization folded (`fold_normalization`).

    Raises
    ------
    EdgemoeError
        If a layer is of another kind; it names the layer.
    """
    nodes, weights = [], []
    layers = list(model._modules.items())  # unlike named_children, it has a module as often as it is called
    last = layers[-1][0]
    if not isinstance(getattr(model, last), nn.Linear):
        raise EdgemoeError(f"layer {last!r}: the last one has to be dense, with one unit a class")
    current = "image"
    for name, module in layers:
        output = "logits" if name == last else name
        inputs = [current]
        if isinstance(module, nn.Conv2d | nn.Linear):
            bias = torch.zeros(len(module.weight)) if module.bias is None else module.bias
            for part, values in (("weight", module.weight), ("bias", bias)):
                weights.append(numpy_helper.from_array(values.detach().numpy(), f"{name}.{part}"))
                inputs.append(f"{name}.{part}")
        if isinstance(module, nn.Conv2d):
            if isinstance(module.padding, str) or module.padding_mode != "zeros":
                raise EdgemoeError(f"layer {name!r}: its padding has no ONNX form here, only zeros of a stated width")
            high, wide = module.padding
            down, right = module.stride
            node = helper.make_node(
                "Conv", inputs, [output], name, kernel_shape=module.kernel_size, group=module.groups,
                pads=[high, wide, high, wide], strides=[down, right], dilations=module.dilation,
            )  # fmt: skip
        elif isinstance(module, nn.Linear):
            node = helper.make_node("Gemm", inputs, [output], name, transB=1)
        elif isinstance(module, nn.ReLU):
            node = helper.make_node("Relu", inputs, [output], name)
        elif isinstance(module, nn.MaxPool2d):
            if _pair(module.padding) != [0, 0] or _pair(module.dilation) != [1, 1] or module.ceil_mode:
                raise EdgemoeError(f"layer {name!r}: a padded, dilated or rounded-up pool has no ONNX form here")
            size, stride = _pair(module.kernel_size), _pair(module.stride)
            node = helper.make_node("MaxPool", inputs, [output], name, kernel_shape=size, strides=stride)
        elif isinstance(module, nn.Flatten):
            output = "features"
            node = helper.make_node("Flatten", inputs, [output], name)
        else:
            raise EdgemoeError(f"layer {name!r}: {type(module).__name__} has no ONNX form here")
        nodes.append(node)
        current = output
    sizes = {"logits": len(getattr(model, last).weight), "features": int(np.prod(feature_map(model)))}
    graph = helper.make_graph(
        nodes,
        "global expert",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info(tap, TensorProto.FLOAT, ["n", size]) for tap, size in sizes.items()],
        weights,
    )
    onnx_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="edgemoe")
    onnx_model.ir_version = 9  # what onnxruntime 1.20, the last one seen to run on emulated aarch64, reads
    onnx.checker.check_model(onnx_model, full_check=True)
    content: bytes = onnx_model.SerializeToString()
    return content


def _pair(size: Any) -> list[int]:
    return [int(size)] * 2 if isinstance(size, int) else [int(s) for s in size]


def feature_map(model: nn.Sequential) -> tuple[int, ...]:
    """Return channels, rows and columns of the convolution features, where the network flattens them."""
    x = torch.zeros(1, 1, 28, 28)
    with torch.inference_mode():
        for module in model:
            if isinstance(module, nn.Flatten):
                break
            x = module(x)
    return tuple(x.shape[1:])


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        scaled = images[:, None].astype(np.float32) / np.float32(255)
        self.batches = iter([{"image": scaled[i : i + 256]} for i in range(0, len(scaled), 256)])

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self.batches, None)


def quantize(float_onnx: bytes, images: npt.NDArray[np.uint8]) -> bytes:
    """Quantize a float32 graph to int8 weights and uint8 activations with onnxruntime's static quantizer.

    Weights are quantized per output channel in 7 bits, so that x86 processors without VNNI, whose 8-bit multiply-add
    saturates, give the same answers as those with it (onnxruntime's documentation of `reduce_range`). A dense layer of
    at most 16 distinct weights is stored as a palette (`write_palettes`) and has one scale.

    Parameters
    ----------
    float_onnx : bytes
    images : ndarray of uint8, shape (n, 28, 28)
        Training images from which the activation ranges are measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (str(Path(folder) / name) for name in ("float.onnx", "prepared.onnx", "int8.onnx"))
        Path(source).write_bytes(float_onnx)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared, target, _Batches(images), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        model = onnx.load(target)
    write_palettes(model, onnx.load_from_string(float_onnx))
    return _slim(model)


def _slim(model: onnx.ModelProto) -> bytes:
    """Return the same graph without what only a reader of graphs would miss: a twentieth of a small expert's file.

    The quantizer names every value after its origin, and stores zero points of weights and biases that are all zero,
    which is what an absent one means (ONNX, DequantizeLinear). Inputs, outputs and the layers keep their names. Dense
    weights keep their zero points: without one, onnxruntime up to 1.23 fuses the layer into a QGemm that it then
    refuses to run, and later ones compute it in floats.
    """
    graph = model.graph
    kept = {value.name for value in (*graph.input, *graph.output)} | {""}
    dense = {node.input[1] for node in graph.node if node.op_type == "Gemm"}
    dequantized = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    points = {node.input[2] for node in dequantized if node.output[0] not in dense}
    signed = [w for w in graph.initializer if w.name in points and w.data_type in (TensorProto.INT8, TensorProto.INT32)]
    zero = {w.name for w in signed if not numpy_helper.to_array(w).any()}
    names: dict[str, str] = {}

    def short(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"{len(names):x}")

    weights = [weight for weight in graph.initializer if weight.name not in zero]
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.name = ""
        inputs = [short(name) for name in node.input if name not in zero]
        outputs = [short(name) for name in node.output]
        del node.input[:], node.output[:]
        node.input.extend(inputs)
        node.output.extend(outputs)
    for weight in weights:
        weight.name = short(weight.name)
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(weights)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content
