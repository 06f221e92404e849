"""Reads ONNX files without the `onnx` package, as far as counting needs them.

Source: the field numbers and the data types are those of the ONNX standard's `onnx.proto` (IR version 13 and
before). Sub-graphs of control flow are not opened, so the nesting has a fixed depth.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.accounting.protobuf import Message, Source
from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded

__all__ = [
    "ELEMENT_LIMIT",
    "SIZE_LIMIT",
    "Attribute",
    "Node",
    "OnnxModel",
    "TensorData",
    "ValueInfo",
    "parse_onnx",
    "read_onnx",
]

SIZE_LIMIT = 256 * 2**20
"""The largest file read, in bytes: a thousand times a LeNet-5."""

ELEMENT_LIMIT = 2**40
"""The most elements that a tensor may claim to have."""

_DTYPES: dict[int, tuple[str, int]] = {
    1: ("float32", 32),
    2: ("uint8", 8),
    3: ("int8", 8),
    4: ("uint16", 16),
    5: ("int16", 16),
    6: ("int32", 32),
    7: ("int64", 64),
    9: ("bool", 8),
    10: ("float16", 16),
    11: ("float64", 64),
    12: ("uint32", 32),
    13: ("uint64", 64),
    16: ("bfloat16", 16),
    17: ("float8e4m3fn", 8),
    18: ("float8e4m3fnuz", 8),
    19: ("float8e5m2", 8),
    20: ("float8e5m2fnuz", 8),
    21: ("uint4", 4),
    22: ("int4", 4),
    23: ("float4e2m1", 4),
    24: ("float8e8m0", 8),
    25: ("uint2", 2),
    26: ("int2", 2),
}
DTYPE_BITS: dict[str, int] = dict(_DTYPES.values())
"""The width of each data type in bits."""

_NUMPY = {name for code, (name, _) in _DTYPES.items() if code < 16}


def dtype_name(code: int) -> str:
    """Name an ONNX data type; raise ValueError for strings, complex numbers and codes that do not exist."""
    if code not in _DTYPES:
        raise ValueError(f"data type {code} is not a number type that can be counted")
    return _DTYPES[code][0]


def stored_bytes(elements: int, dtype: str) -> int:
    """The bytes that a tensor takes; elements narrower than a byte are packed."""
    return -(-elements * DTYPE_BITS[dtype] // 8)


@dataclass(frozen=True)
class TensorData:
    """A constant tensor.

    `values` has the shape `dims`; it is None if the tensor is `external` (kept in another file), of a type
    that numpy lacks, or sparse. `sparse` then has the bytes of its values and indices, and how many values are not 0.
    """

    name: str
    dims: tuple[int, ...]
    dtype: str
    external: bool
    values: npt.NDArray[np.generic] | None
    sparse: tuple[int, int] | None = None

    @property
    def elements(self) -> int:
        """The number of elements, those that a sparse tensor leaves out too."""
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """The size as stored, in bytes."""
        return self.sparse[0] if self.sparse else stored_bytes(self.elements, self.dtype)


Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | TensorData | None
"""The value of an attribute; None for what is not read (sub-graphs, sparse tensors, types)."""


@dataclass(frozen=True)
class Node:
    """One operator. An empty input or output name is an optional one left out."""

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class ValueInfo:
    """A declared tensor: an int for a fixed axis, a str (maybe empty) for a symbolic one.

    `dtype` and `shape` are None where the file does not declare them.
    """

    name: str
    dtype: str | None
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file: `source` is its name, `opset` maps an operator domain to its version."""

    source: str
    file_bytes: int
    opset: Mapping[str, int]
    metadata: Mapping[str, str]
    nodes: tuple[Node, ...]
    initializers: Mapping[str, TensorData]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    value_info: tuple[ValueInfo, ...]


def read_onnx(path: str | os.PathLike[str]) -> OnnxModel:
    """Read an ONNX file of at most `SIZE_LIMIT` bytes; files with external weights are not followed.

    Raises
    ------
    EdgemoeError
        If the file cannot be read, is too large, or is not a whole ONNX model.
    """
    return parse_onnx(read_bounded(path, SIZE_LIMIT), os.fspath(path))


def parse_onnx(content: bytes, source: str = "ONNX model") -> OnnxModel:
    """Parse the bytes of an ONNX file; `source` is what error messages call it.

    Raises
    ------
    EdgemoeError
        If the bytes are too many, or not a whole ONNX model.
    """
    if len(content) > SIZE_LIMIT:
        raise EdgemoeError(f"{source}: larger than the {SIZE_LIMIT:,} bytes that such a file may have")
    model = Message(memoryview(content), Source(source), "model")
    if not model.chunks(7):
        raise model.error("is not an ONNX model, for it has no graph")
    graph = model.message(7, "graph")
    initializers = [_tensor(m) for m in graph.messages(5, "graph.initializer")]
    initializers += [_sparse(m) for m in graph.messages(15, "graph.sparse_initializer")]
    return OnnxModel(
        source=source,
        file_bytes=len(content),
        opset={m.text(1): m.integer(2) for m in model.messages(8, "opset_import")},
        metadata={m.text(1): m.text(2) for m in model.messages(14, "metadata_props")},
        nodes=tuple(_node(m) for m in graph.messages(1, "graph.node")),
        initializers={t.name: t for t in initializers},
        inputs=_values(graph, 11, "graph.input"),
        outputs=_values(graph, 12, "graph.output"),
        value_info=_values(graph, 13, "graph.value_info"),
    )


def _node(message: Message) -> Node:
    attributes = message.messages(5, f"{message.place}.attribute")
    return Node(
        name=message.text(3),
        op_type=message.text(4),
        domain=message.text(7),
        inputs=message.texts(1),
        outputs=message.texts(2),
        attributes={a.text(1): _attribute(a) for a in attributes},
    )


def _attribute(message: Message) -> Attribute:
    match message.integer(20):  # AttributeType
        case 1:
            return message.number(2)
        case 2:
            return message.integer(3)
        case 3:
            return message.text(4)
        case 4:
            return _tensor(message.message(5, f"{message.place}.t"))
        case 6:
            return tuple(float(v) for v in message.floats(7))
        case 7:
            return tuple(int(v) for v in message.integers(8))
        case 8:
            return message.texts(9)
    return None


def _values(graph: Message, number: int, place: str) -> tuple[ValueInfo, ...]:
    def one(message: Message) -> ValueInfo:
        kind = message.message(2, f"{message.place}.type").message(1, f"{message.place}.type.tensor_type")
        shape: tuple[int | str, ...] | None = None
        if kind.chunks(2):
            dims = kind.message(2, f"{message.place}.shape").messages(1, f"{message.place}.shape.dim")
            shape = tuple(d.text(2) if d.integer(1, -1) < 0 else d.integer(1) for d in dims)
        dtype = _DTYPES.get(kind.integer(1), (None, 0))[0]
        return ValueInfo(message.text(1), dtype, shape)

    return tuple(one(m) for m in graph.messages(number, place))


def _tensor(message: Message) -> TensorData:
    name, dims = message.text(8), tuple(int(d) for d in message.integers(1))
    message.place = f"{message.place} {name!r}"
    if any(d < 0 for d in dims):
        raise message.error(f"has a negative dimension in {list(dims)}")
    if math.prod(dims) > ELEMENT_LIMIT:
        raise message.error(f"has a shape too large to be meant, {list(dims)}")
    try:
        dtype = dtype_name(message.integer(2))
    except ValueError as error:
        raise message.error(str(error)) from error
    if message.integer(14) == 1:
        return TensorData(name, dims, dtype, True, None)
    try:
        return TensorData(name, dims, dtype, False, _decode(message, dims, dtype))
    except ValueError as error:
        raise error if isinstance(error, EdgemoeError) else message.error(str(error)) from error


def _sparse(message: Message) -> TensorData:
    values = _tensor(message.message(1, f"{message.place}.values"))
    indices = _tensor(message.message(2, f"{message.place}.indices"))
    dims = tuple(int(d) for d in message.integers(3))
    if any(d < 0 for d in dims) or not values.elements <= math.prod(dims) <= ELEMENT_LIMIT:
        raise message.error(f"has {values.elements:,} values, and the dimensions {list(dims)}")
    if indices.dims not in ((values.elements,), (values.elements, len(dims))):
        raise message.error(f"has {values.elements:,} values, and indices of the shape {list(indices.dims)}")
    if values.external or indices.external:
        return TensorData(values.name, dims, values.dtype, True, None)
    nonzero = values.elements if values.values is None else int(np.count_nonzero(values.values))
    return TensorData(values.name, dims, values.dtype, False, None, (values.bytes + indices.bytes, nonzero))


def _decode(message: Message, dims: tuple[int, ...], dtype: str) -> npt.NDArray[np.generic] | None:
    """Decode the elements, of which there must be as many as the dimensions say."""
    elements, raw = math.prod(dims), message.chunks(9)
    flat: npt.NDArray[np.generic]
    if raw:
        flat = np.frombuffer(raw[-1], np.uint8)
    elif dtype == "float32":
        flat = message.floats(4)
    elif dtype == "float64":
        flat = message.floats(10, "<f8")
    else:
        flat = message.integers({"int64": 7, "uint32": 11, "uint64": 11}.get(dtype, 5))
    packed = raw or DTYPE_BITS[dtype] < 8
    expected = stored_bytes(elements, dtype) if packed else elements
    if flat.size != expected:
        unit = "bytes" if packed else "elements"
        raise ValueError(f"has {flat.size:,} {unit} of data, and its shape {list(dims)} needs {expected:,}")
    if dtype not in _NUMPY:
        return None
    known = np.dtype(dtype).newbyteorder("<")
    if raw:
        flat = flat.view(known)
    elif dtype == "float16":  # its bits are kept as integers
        flat = flat.astype(np.uint16).view(known)
    return flat.astype(np.dtype(dtype), copy=False).reshape(dims)
