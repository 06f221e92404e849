"""A float32 graph's int8 form."""

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgemoe.global_expert.palette_graph import write_palettes

__all__ = ["quantize"]


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
    write_palettes(model, onnx.load_from_string(float_onnx), images)
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
