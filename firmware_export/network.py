"""Reads a quantized ONNX graph as the integer layers that the firmware computes.

The graph is one of QuantizeLinear and DequantizeLinear pairs, as onnxruntime's static quantizer writes it. Between two
pairs stands a convolution or a dense layer, whose real arithmetic equals that of integers up to the rounding of its
result (Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
arXiv 1712.05877, section 2).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import NodeProto

from edgemoe.errors import EdgemoeError
from firmware_export.constants import Constants
from firmware_export.layers import Convolution, Dense, Layer, Network

__all__ = ["read_network"]


@dataclass(frozen=True)
class _Step:
    """How a value is quantized: real = scale * (code - zero)."""

    scale: float
    zero: int


def read_network(graph: bytes) -> Network:
    """Read an int8 graph.

    It reads ``image`` ``(n, 1, 28, 28)`` in [0, 1] and gives ``logits``, and ``features`` where that is one of its
    outputs: what its Flatten makes. Between them stand convolutions (stride 1, one group, odd square kernels, the same
    padding on all sides), each with ReLU and a 2x2 max-pool behind it or not; one Flatten; dense layers (Gemm with
    transB), each with ReLU or not. Weights are int8 with zero point 0, activations uint8. Dense weights that a constant
    Gather takes from a palette of at most 16 values are kept as codes.

    Parameters
    ----------
    graph : bytes
        An ONNX file.

    Raises
    ------
    EdgemoeError
        If the graph is damaged, or something in it has no form here: it names the node and says why.
    """
    try:
        model = onnx.load_from_string(graph)
    except DecodeError as error:
        raise EdgemoeError("the graph is no ONNX file") from error
    return _Reader(model).read()


class _Reader:
    """Follows the one value that flows from the image to the logits."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.constants = Constants(model)
        self.nodes = [node for node in model.graph.node if node.output[0] not in self.constants]
        self.outputs = {output.name for output in model.graph.output}
        inputs = [value.name for value in model.graph.input if value.name not in self.constants]
        if len(inputs) != 1 or "logits" not in self.outputs:
            raise EdgemoeError("the graph has to read one value, the image, and to have an output named logits")
        self.value = inputs[0]
        self.step: _Step | None = None  # None: the value is not quantized yet
        self.layers: list[Layer] = []
        self.steps: list[_Step] = []  # of each layer's result
        self.pending: dict[str, Any] | None = None  # a layer whose result's step is not known yet
        self.flat: str | None = None
        self.features: _Step | None = None

    def read(self) -> Network:
        """Follow the value, node by node."""
        for node in self.nodes:
            data = [name for name in node.input if name and name not in self.constants]
            if data != [self.value]:
                raise refusal(node, "the network has to be one chain, and each node's other inputs constant")
            handler = getattr(self, f"_on_{node.op_type.lower()}", None)
            if handler is None:
                raise refusal(node, f"{node.op_type} has no form in the firmware")
            handler(node)
            self.value = node.output[0]
            if self.value == "features" and self.flat is None:
                raise refusal(node, "the features have to be what is flattened")
        convolutions = tuple(layer for layer in self.layers if isinstance(layer, Convolution))
        dense = tuple(layer for layer in self.layers if isinstance(layer, Dense))
        if self.value != "logits" or self.pending or not convolutions or not dense or self.features is None:
            raise EdgemoeError("the graph does not end at quantized logits behind convolutions and dense layers")
        taps = "features" in self.outputs
        return Network(convolutions, dense, taps, self.features.scale, self.steps[-1].scale)

    def _on_quantizelinear(self, node: NodeProto) -> None:
        step = self._step_of(node)
        if self.value == "image" and self.step is None and not self.layers and self.pending is None:
            codes = np.rint(np.arange(256, dtype=np.float32) / np.float32(255) / np.float32(step.scale)) + step.zero
            if (codes != np.arange(256)).any():
                raise refusal(node, "the image's codes have to be its bytes: scale 1/255, zero point 0")
        elif self.pending is not None:
            self._finish(step)
        elif step != self.step:
            raise refusal(node, "it quantizes once more, in other steps")
        self.step = step

    def _on_dequantizelinear(self, node: NodeProto) -> None:
        if self._step_of(node) != self.step:
            raise refusal(node, "its scale and zero point are not those that the value was quantized with")

    def _on_conv(self, node: NodeProto) -> None:
        attributes = _attributes(node)
        weights, scales = self._weights(node)
        pads = attributes.get("pads", [0, 0, 0, 0])
        if weights.ndim != 4 or weights.shape[2] != weights.shape[3] or weights.shape[2] % 2 == 0:
            raise refusal(node, f"weights of shape {weights.shape}; kernels have to be square and odd")
        ones = [*attributes.get("strides", []), *attributes.get("dilations", []), attributes.get("group", 1)]
        if set(ones) != {1} or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
            raise refusal(node, "strides, dilations and groups have to be 1, and padding explicit")
        if len(set(pads)) != 1:
            raise refusal(node, f"padding {pads}; it has to be the same on all sides")
        if self.flat is not None:
            raise refusal(node, "a convolution behind the Flatten")
        self._start(node, Convolution, weights, scales, padding=pads[0], pool=False)

    def _on_gemm(self, node: NodeProto) -> None:
        attributes = _attributes(node)
        if attributes.get("alpha", 1) != 1 or attributes.get("beta", 1) != 1 or attributes.get("transA", 0):
            raise refusal(node, "alpha and beta have to be 1, and transA 0")
        if not attributes.get("transB", 0):
            raise refusal(node, "its weights have to have a row an output (transB)")
        if self.flat is None:
            raise refusal(node, "a dense layer before the Flatten")
        weights, scales = self._weights(node)
        kept = self.constants.palette(self.constants.source(node.input[1]))
        codes, palette = (None, None) if kept is None else kept
        self._start(node, Dense, weights, scales, codes=codes, palette=palette)

    def _on_relu(self, node: NodeProto) -> None:
        if self.pending is not None:
            self.pending["relu"] = True
        elif self.step is None or self.step.zero:
            raise refusal(node, "it stands neither directly behind a layer nor behind a value whose zero point is 0")

    def _on_maxpool(self, node: NodeProto) -> None:
        attributes = _attributes(node)
        plain = not any(attributes.get("pads", [])) and set(attributes.get("dilations", [1])) == {1}
        if attributes["kernel_shape"] != [2, 2] or attributes.get("strides") != [2, 2] or not plain:
            raise refusal(node, "a pool has to be 2x2 with stride 2, without padding")
        if attributes.get("ceil_mode", 0):
            raise refusal(node, "a pool has to round down")
        if self.pending is not None and self.pending.get("pool") is False:
            self.pending["pool"] = True
        elif self.pending is None and self.layers and getattr(self.layers[-1], "pool", None) is False:
            self.layers[-1] = replace(self.layers[-1], pool=True)  # type: ignore[call-arg]
        else:
            raise refusal(node, "a pool has to stand behind a convolution, and only one")

    def _on_flatten(self, node: NodeProto) -> None:
        if self.flat is not None or self.pending is not None or not self.layers:
            raise refusal(node, "one Flatten, behind a quantized convolution")
        if _attributes(node).get("axis", 1) != 1:
            raise refusal(node, "it has to keep the first axis only")
        self.flat = node.output[0]
        self.features = self.steps[-1]

    def _on_reshape(self, node: NodeProto) -> None:
        shape = self.constants[node.input[1]].tolist()
        if len(shape) != 2 or shape[1] != -1 or shape[0] not in (0, 1):
            raise refusal(node, "a Reshape has to flatten all but the first axis")
        self._on_flatten(node)

    def _on_identity(self, node: NodeProto) -> None:
        pass

    def _step_of(self, node: NodeProto) -> _Step:
        scale = self.constants[node.input[1]]
        zero = self.constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(1, np.uint8)
        if scale.size != 1 or zero.size != 1 or zero.dtype != np.uint8:
            raise refusal(node, "activations have to be uint8 with one scale and one zero point")
        value = float(scale.reshape(()))
        if not (np.isfinite(value) and value > 0):
            raise refusal(node, f"its scale is {value}")
        return _Step(value, int(zero.reshape(())))

    def _weights(self, node: NodeProto) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
        quantized = self.constants.quantized(node.input[1])
        if quantized is None:
            raise refusal(node, "its weights have to be int8 with zero point 0 and one scale, or one an output")
        return quantized

    def _start(
        self, node: NodeProto, kind: type[Layer], weights: npt.NDArray[np.int8], scales: npt.NDArray[np.float64],
        **more: Any,
    ) -> None:  # fmt: skip
        if self.step is None or self.pending is not None:
            raise refusal(node, "its input is not quantized")
        steps = self.step.scale * scales
        real = self.constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(len(weights))
        bias = np.rint(real.astype(np.float64) / steps)
        if bias.shape != (len(weights),) or not (np.abs(bias) < 2**31).all():
            raise refusal(node, "its bias is not one number an output that fits 32 bits in steps of input times weight")
        self.pending = {
            "kind": kind, "name": node.name or node.output[0], "weights": weights, "bias": bias.astype(np.int32),
            "steps": steps, "input_zero": self.step.zero, "relu": False, **more,
        }  # fmt: skip

    def _finish(self, step: _Step) -> None:
        assert self.pending is not None
        fields, self.pending = self.pending, None
        kind, steps = fields.pop("kind"), fields.pop("steps")
        self.layers.append(kind(**fields, ratios=steps / step.scale, zero=step.zero))
        self.steps.append(step)


def refusal(node: NodeProto, reason: str) -> EdgemoeError:
    """Return the error that names a node."""
    return EdgemoeError(f"{node.op_type} {node.name or node.output[0]!r}: {reason}")


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
