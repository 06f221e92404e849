"""The constants of an ONNX graph: its initializers, and what nodes make of constants alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper, numpy_helper

from edgemoe.errors import EdgemoeError

__all__ = ["Constants"]

Array = npt.NDArray[Any]


class Constants:
    """Constant values by name.

    Parameters
    ----------
    model : ModelProto
        Its nodes in an order in which each stands behind those it reads, as ONNX demands.

    Raises
    ------
    EdgemoeError
        If a node that reads constants alone is of a kind that is not evaluated here, or cannot be.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._values: dict[str, Array] = {}
        self._makers: dict[str, NodeProto] = {}
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            whole = {onnx.TensorProto.UINT4: np.uint8, onnx.TensorProto.INT4: np.int8}.get(tensor.data_type)
            self._values[tensor.name] = array if whole is None else array.astype(whole)
        for node in model.graph.node:
            if all(name in self._values for name in node.input if name):
                self._makers[node.output[0]] = node
                self._values[node.output[0]] = self._evaluate(node)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> Array:
        return self._values[name]

    def _evaluate(self, node: NodeProto) -> Array:
        operator = _OPERATORS.get(node.op_type)
        name = f"{node.op_type} {node.name or node.output[0]!r}"
        if operator is None:
            raise EdgemoeError(f"{name}: constants that it makes are not evaluated here")
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        try:
            return operator(attributes, *(self._values[name] for name in node.input if name))
        except (ValueError, IndexError, KeyError, TypeError) as error:
            raise EdgemoeError(f"{name}: cannot be evaluated ({error})") from error

    def source(self, name: str) -> str:
        """Return the name of the integers behind a dequantized constant."""
        return str(self._makers[name].input[0])

    def quantized(self, name: str) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]] | None:
        """Return the int8 weights behind a dequantized constant, and their scale for each output; None if not such."""
        maker = self._makers.get(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return None
        codes, scale = self._values[maker.input[0]], self._values[maker.input[1]].astype(np.float64)
        axis = next((attribute.i for attribute in maker.attribute if attribute.name == "axis"), 1)
        zero = self._values[maker.input[2]] if len(maker.input) > 2 and maker.input[2] else np.zeros(1)
        fits = scale.size == 1 or (axis in (0, -codes.ndim) and scale.shape == codes.shape[:1])
        if codes.dtype != np.int8 or zero.any() or not fits or not (np.isfinite(scale) & (scale > 0)).all():
            return None
        return codes, np.broadcast_to(scale.reshape(-1), len(codes)).copy()

    def palette(self, name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]] | None:
        """Return codes and palette of weights that a Gather takes from at most 16 values; None if they are not such."""
        maker = self._makers.get(name)
        if maker is None or maker.op_type != "Gather":
            return None
        values, codes = self._values[maker.input[0]], self._values[maker.input[1]]
        if values.dtype != np.int8 or values.ndim != 1 or not 1 <= len(values) <= 16:
            return None
        return (codes % len(values)).astype(np.uint8), np.pad(values, (0, 16 - len(values)), mode="edge")


def _cast(attributes: dict[str, Any], value: Array) -> Array:
    return value.astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))


def _dequantize(attributes: dict[str, Any], codes: Array, scale: Array, zero: Array | None = None) -> Array:
    axis = attributes.get("axis", 1)
    shape = [-1 if place == axis % codes.ndim else 1 for place in range(codes.ndim)] if scale.size > 1 else []
    centred = codes.astype(np.float64) - (0 if zero is None else zero.astype(np.float64).reshape(shape))
    return (centred * scale.astype(np.float64).reshape(shape)).astype(np.float64)


def _shift(attributes: dict[str, Any], value: Array, bits: Array) -> Array:
    return value << bits if attributes["direction"] == b"LEFT" else value >> bits


_OPERATORS: dict[str, Callable[..., Array]] = {
    "BitShift": _shift,
    "BitwiseAnd": lambda _, a, b: a & b,
    "Cast": _cast,
    "Concat": lambda attributes, *parts: np.concatenate(parts, axis=attributes["axis"]),
    "Constant": lambda attributes: numpy_helper.to_array(attributes["value"]),
    "DequantizeLinear": _dequantize,
    "Gather": lambda attributes, values, places: np.take(values, places.astype(np.int64), attributes.get("axis", 0)),
    "Identity": lambda _, value: value,
    "Reshape": lambda _, value, shape: value.reshape(shape),
    "Transpose": lambda attributes, value: value.transpose(attributes.get("perm")),
}
"""What each kind of node makes of constants (ONNX, operators of opset 17 to 21), from its attributes and inputs."""
