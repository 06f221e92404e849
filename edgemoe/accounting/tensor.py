"""A tensor on its way through the graph, and the constants among them."""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgemoe.accounting.onnx_reader import Node, TensorData, stored_bytes

__all__ = ["VALUE_LIMIT", "Shape", "Tensor", "constant", "constant_node"]

Shape = tuple[int, ...]
VALUE_LIMIT = 64
"""The most elements of a constant whose values are followed: a shape's, or a list of axes."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph.

    An operator computes with it as `dtype`; it lies in memory as `stored`, which differs behind a
    DequantizeLinear. A constant has `weights`, the names of the initializers that it is made of; an
    activation has `storage`, the name of the memory that it lies in. `scales` name its scale and zero point.
    `value` is known for small integer constants. `zeros` is how many elements of a constant are 0, if that is known.
    """

    shape: Shape
    dtype: str
    stored: str
    weights: tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    storage: str = ""
    value: npt.NDArray[np.int64] | None = None
    zeros: int | None = None

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """The size in memory, in bytes."""
        return stored_bytes(self.elements, self.stored)


def constant(data: TensorData) -> Tensor:
    """Make the tensor of an initializer."""
    small = data.values is not None and data.values.size <= VALUE_LIMIT and data.dtype in ("int64", "int32")
    value = np.asarray(data.values, np.int64) if small else None
    zeros = data.elements - data.sparse[1] if data.sparse else None
    if data.values is not None:
        zeros = data.elements - int(np.count_nonzero(data.values))
    return Tensor(data.dims, data.dtype, data.dtype, weights=(data.name,), value=value, zeros=zeros)


def constant_node(node: Node) -> TensorData:
    """Read the constant of a Constant node; raise ValueError if it is not a tensor of numbers."""
    [(kind, value)] = node.attributes.items()
    if isinstance(value, TensorData):
        return replace(value, name=node.outputs[0])
    if kind not in ("value_int", "value_ints", "value_float", "value_floats"):
        raise ValueError(f"a constant's {kind} is not a tensor of numbers")
    array = np.asarray(value, np.int64 if "int" in kind else np.float32)
    return TensorData(node.outputs[0], array.shape, str(array.dtype), False, array)
