"""Counts what one inference of an ONNX graph costs, layer by layer.

Conventions:

- The batch is the one the graph declares; a symbolic first axis counts as 1.
- MACs are the multiply-accumulates of Conv, Gemm and MatMul, and one for each element that a
  BatchNormalization writes. A bias, a pooling, an activation function have none.
- Every initializer that an operator computes with is a parameter, a BatchNormalization's mean and variance
  too. Shapes, axes and clipping bounds are not; scales and zero points of a quantized graph are bytes only.
- A weight that BitShift, Concat, Cast or Gather make of initializers alone (of codes into a palette) is made once, when
  the graph is loaded: as many parameters as it has elements, and the bytes stored for it.
- An operator that works element by element and is the only reader of the layer before it is fused into that
  layer: its input is never in memory. This is what runtimes do, and it keeps the figures of the global expert
  low, so that no overhead measured against them looks small by it. Reshaping moves nothing. All else reads
  every distinct input once, whole, and writes its output once.
- A quantized graph in QDQ form is read as the integer network that it stands for: DequantizeLinear is a view
  of the integers in memory, and a QuantizeLinear behind a layer is how that layer writes. At the edge, where
  a float tensor is an input or an output of the graph, they are layers.
- A weight that is 0 counts like all others, and how many MACs multiply by one is told beside. A sparse weight has the
  bytes of its values and of their indices, and all MACs.
- What no rule covers is listed as unknown, and nothing of it is in the totals.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from edgemoe.accounting.cost import GraphCost, LayerCost, Unknown
from edgemoe.accounting.onnx_reader import (
    ELEMENT_LIMIT,
    Node,
    OnnxModel,
    TensorData,
    ValueInfo,
    dtype_name,
    read_onnx,
)
from edgemoe.accounting.operators import ELEMENTWISE, VIEWS, is_known, macs, plain, unpacked, zeros_of
from edgemoe.accounting.peak import peak_bytes
from edgemoe.accounting.shapes import SHAPE_RULES, STRUCTURED, fold
from edgemoe.accounting.tensor import Shape, Tensor, constant, constant_node
from edgemoe.errors import EdgemoeError

__all__ = ["count_file", "count_graph"]


def count_file(path: str | os.PathLike[str]) -> GraphCost:
    """Count an ONNX file; see `count_graph`."""
    return count_graph(read_onnx(path))


def count_graph(model: OnnxModel) -> GraphCost:
    """Count a float graph, or one that onnxruntime quantized statically (QDQ or QOperator form).

    Raises
    ------
    EdgemoeError
        If an axis of an input other than the first is symbolic, or the graph is not valid.
    """
    return _Counter(model).run()


@dataclass
class _Layer:
    name: str
    op: str
    macs: int = 0
    mac_bits: int = 0
    zero_macs: int | None = 0
    weights: dict[tuple[str, ...], int] = field(default_factory=dict)  # elements, by the initializers they come from
    scales: list[str] = field(default_factory=list)
    reads: set[str] = field(default_factory=set)
    writes: str = ""


class _Counter:
    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.constants: dict[str, TensorData] = dict(model.initializers)
        self.tensors: dict[str, Tensor] = {name: constant(data) for name, data in self.constants.items()}
        self.arrays = {name: data.values for name, data in self.constants.items()}  # and what is made of them alone
        self.memory: dict[str, Tensor] = {}  # by storage name
        self.layers: list[_Layer] = []
        self.missed: list[tuple[Node, str, list[str]]] = []  # what is not counted, why, and its weights
        self.lost: set[str] = set()  # tensors whose shape is not known
        self.open: dict[str, _Layer] = {}  # tensors whose layer can still take their only reader in
        self.kept = [value.name for value in model.outputs]  # what lives to the end
        self.claimed: set[str] = set()  # whose bytes are counted
        self.counted: set[tuple[str, ...]] = set()  # whose elements are
        # Asking for a shape is no reading.
        reads = (name for node in model.nodes if node.op_type != "Shape" for name in node.inputs)
        self.uses = Counter([*reads, *self.kept])
        self.makers = {name for node in model.nodes for name in node.outputs if name}
        self.declared = {value.name: value for value in (*model.value_info, *model.outputs)}

    def run(self) -> GraphCost:
        for value in self.model.inputs:
            if value.name not in self.constants:
                self._activation(value.name, *self._declared(value))
        for node in self.model.nodes:
            try:
                self._node(node)
            except (ValueError, IndexError, KeyError, TypeError, ArithmeticError) as error:
                if isinstance(error, EdgemoeError):
                    raise
                raise self._error(f"node {_title(node)}", f"is not valid: {error}") from error
        for name in self.kept:
            if name not in self.tensors and name not in self.lost:
                raise self._error(f"output {name!r}", "nothing makes it")
        layers = tuple(self._cost(layer) for layer in self.layers)
        unknown = [Unknown(_title(n), n.op_type, why, self._claim(w)) for n, why, w in self.missed]
        for name, data in self.model.initializers.items():
            if not self.uses[name]:
                unknown.append(Unknown(name, "initializer", "no operator reads it", data.bytes))
        kept = [n if n in self.memory else self.tensors[n].storage for n in self.kept if n in self.tensors]
        steps = [(layer.reads, layer.writes) for layer in self.layers]
        sizes = {name: tensor.bytes for name, tensor in self.memory.items()}
        peak = peak_bytes(steps, sizes, [value.name for value in self.model.inputs], kept)
        return GraphCost(self.model.source, layers, tuple(unknown), self.model.file_bytes, peak)

    def _error(self, field: str, reason: str) -> EdgemoeError:
        return EdgemoeError(f"{self.model.source}: {field}: {reason}")

    def _declared(self, value: ValueInfo) -> tuple[Shape, str]:
        if value.shape is None or value.dtype is None:
            raise self._error(f"tensor {value.name!r}", "has no declared shape and number type")
        for axis, size in enumerate(value.shape):
            if isinstance(size, str) and axis:
                raise self._error(f"tensor {value.name!r}", f"axis {axis} is dynamic ({size or 'unnamed'})")
        return tuple(size if isinstance(size, int) else 1 for size in value.shape), value.dtype

    def _node(self, node: Node) -> None:
        for name in node.outputs:
            if name in self.tensors or name in self.lost:
                raise ValueError(f"{name!r} is made twice")
        if node.op_type == "Constant":
            data = constant_node(node)
            self.constants[data.name], self.tensors[data.name] = data, constant(data)
            self.arrays[data.name] = data.values
            return
        names = [name for name in node.inputs if name]
        for name in names:
            if name not in self.tensors and name not in self.lost:
                place = "a later node makes" if name in self.makers else "nothing makes"
                raise ValueError(f"it reads {name!r}, which {place}")
        reason = self._obstacle(node, names)
        if reason is None:
            self._count(node)
            self.lost.update(name for name in node.outputs[1:] if name)  # masks and indices: of no use here
            return
        known = [self.tensors[name] for name in names if name in self.tensors]
        self.missed.append((node, reason, [name for t in known for name in t.weights]))
        for name in filter(None, node.outputs):
            try:
                self._activation(name, *self._declared(self.declared[name]))
            except (EdgemoeError, KeyError):
                self.lost.add(name)

    def _obstacle(self, node: Node, names: list[str]) -> str | None:
        """Say why a node cannot be counted, or None."""
        if not is_known(node):
            return "no rule counts this operator"
        if node.attributes.get("channels_last"):
            return "no rule counts this operator with the channels last"
        for name in names:
            if name in self.lost:
                return f"the shape of its input {name!r} is not known"
        for name in node.inputs[1:] if node.op_type in STRUCTURED else ():
            if name and self.tensors[name].storage:
                return f"its input {name!r} is computed at run time"
        return None

    def _count(self, node: Node) -> None:
        inputs = [self.tensors[name] if name else None for name in node.inputs]
        output = node.outputs[0]
        if node.op_type == "DequantizeLinear":
            self._dequantize(node, output)
            return
        if node.op_type == "QuantizeLinear":
            self._quantize(node, output)
            return
        value = fold(node.op_type, node.attributes, inputs)
        if value is not None:
            self.tensors[output] = Tensor(value.shape, "int64", "int64", value=value)
            return
        seen = plain(node, inputs)
        shape = SHAPE_RULES[seen.op](node.attributes, seen.data)
        if any(size < 1 for size in shape):
            raise ValueError(f"its output shape would be {list(shape)}")
        source = self.tensors[node.inputs[0]]
        made = unpacked(seen, node, inputs, self.arrays, shape)
        if made:
            self.tensors[output], self.arrays[output] = made
            return
        if seen.op in VIEWS or (seen.op == "Transpose" and not source.storage):
            self.tensors[output] = replace(source, shape=shape, value=None)
            self._open(output, self.open.get(node.inputs[0]))
            return
        operands = [t for t in (seen.data[:1] if seen.op in STRUCTURED else seen.data) if t]
        weights = {t.weights: t.elements for t in operands if t.weights}
        for name in (names := [name for key in weights for name in key]):
            if self.constants[name].external:
                self.missed.append((node, f"its weight {name!r} is kept outside the file", names))
                self._activation(output, shape, seen.dtype)
                return
        activations = [name for name in node.inputs if name and self.tensors[name].storage]
        layer = self.open.get(activations[0]) if seen.op in ELEMENTWISE and len(activations) == 1 else None
        if layer and self.tensors[activations[0]].shape == shape:
            del self.memory[layer.writes]
            layer.op += f"+{seen.op}"
        else:
            layer = self._layer(node, [t.storage for t in operands if t.storage])
        count, bits, zeros = macs(seen.op, node.attributes, operands, shape)
        layer.macs, layer.mac_bits = layer.macs + count, max(layer.mac_bits, bits)
        layer.zero_macs = None if layer.zero_macs is None or zeros is None else layer.zero_macs + zeros
        layer.weights |= weights
        layer.scales += [name for t in operands for name in t.scales] + seen.scales
        layer.writes = output
        self._activation(output, shape, seen.dtype, seen.output_scales)
        self._open(output, layer)

    def _dequantize(self, node: Node, output: str) -> None:
        x = self.tensors[node.inputs[0]]
        scales = tuple(name for name in node.inputs[1:] if name)
        dtype, zeros = self.tensors[scales[0]].dtype, zeros_of(x, self.tensors[scales[1]] if len(scales) > 1 else None)
        self.tensors[output] = replace(x, dtype=dtype, scales=(*x.scales, *scales), zeros=zeros)
        if output in self.kept and x.storage:
            layer = self._layer(node, [x.storage])
            layer.scales, layer.writes = list(scales), output
            self.memory[output] = replace(x, stored=self.tensors[output].dtype)

    def _quantize(self, node: Node, output: str) -> None:
        x = self.tensors[node.inputs[0]]
        scales = tuple(name for name in node.inputs[1:] if name)
        to = node.attributes.get("output_dtype")
        dtype = dtype_name(to) if isinstance(to, int) else "uint8"
        if len(scales) > 1:
            dtype = self.tensors[scales[1]].dtype
        if not x.storage or (x.stored == dtype and {*scales} <= {*x.scales}):
            # A constant stays as it is stored; what was dequantized with the same scale is back in its form.
            self.tensors[output] = replace(x, dtype=dtype)
            return
        layer = self.open.get(node.inputs[0])
        if layer:
            del self.memory[layer.writes]
        else:
            layer = self._layer(node, [x.storage])
        layer.scales += scales
        layer.writes = output
        self._activation(output, x.shape, dtype, scales)

    def _layer(self, node: Node, reads: Iterable[str]) -> _Layer:
        self.layers.append(_Layer(_title(node), node.op_type, reads=set(reads)))
        return self.layers[-1]

    def _open(self, name: str, layer: _Layer | None) -> None:
        """Let the only reader of a float tensor fuse into the layer that makes it."""
        if layer and self.uses[name] == 1 and name not in self.kept and "float" in self.tensors[name].stored:
            self.open[name] = layer

    def _activation(self, name: str, shape: Shape, dtype: str, scales: tuple[str, ...] = ()) -> None:
        self.tensors[name] = self.memory[name] = Tensor(shape, dtype, dtype, scales=scales, storage=name)
        if self.memory[name].elements > ELEMENT_LIMIT:
            raise self._error(f"tensor {name!r}", f"has a shape too large to be meant, {list(shape)}")

    def _claim(self, names: Iterable[str]) -> int:
        """Count the bytes of the constants that no layer before has counted."""
        new = {name for name in names if name in self.constants} - self.claimed
        self.claimed |= new
        return sum(self.constants[name].bytes for name in new)

    def _cost(self, layer: _Layer) -> LayerCost:
        reads, write = [self.memory[name] for name in sorted(layer.reads)], self.memory[layer.writes]
        names = {name for key in layer.weights for name in key}
        parameters = sum(layer.weights[key] for key in layer.weights.keys() - self.counted)
        self.counted |= layer.weights.keys()
        new_weight_bytes, scale_bytes = self._claim(names), self._claim(layer.scales)
        return LayerCost(
            name=layer.name,
            op=layer.op,
            parameters=parameters,
            bytes=new_weight_bytes + scale_bytes,
            quantization_bytes=scale_bytes,
            macs=layer.macs,
            mac_bits=layer.mac_bits,
            zero_macs=layer.zero_macs,
            weight_bytes_read=sum(self.constants[name].bytes for name in names) + scale_bytes,
            elements_read=sum(t.elements for t in reads),
            elements_written=write.elements,
            bytes_read=sum(t.bytes for t in reads),
            bytes_written=write.bytes,
        )


def _title(node: Node) -> str:
    return node.name or next(filter(None, node.outputs), node.op_type)
