"""Reads a float32 ONNX file of a sequential CNN, by whatever exporter, as the graph that edgemoe writes itself.

onnxruntime's basic optimizer, which changes no result, brings the exporters' ways of saying a thing to a few: constants
folded, normalization in the convolutions' weights, products and sums as one Gemm. What is left is one chain of nodes.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from edgemoe.classes import CLASS_SETS
from edgemoe.device.bundle import LIMIT
from edgemoe.device.global_expert import softmax
from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded
from edgemoe.global_expert.float_graph import assemble

__all__ = ["SequentialNetwork", "read_sequential"]

Array = npt.NDArray[np.float32]

IMAGE = [1, 28, 28]  # behind the batch
TOLERANCE = 1e-3  # of the largest output: other orders of adding float32 move it by less than a hundredth of that
PLAIN = ("Relu", "MaxPool", "AveragePool")  # operators without weights; of them, Relu among dense layers too
LAST: dict[str, Callable[[Array], Array]] = {  # what a file may end in, which is left off
    "": lambda logits: logits,
    "Softmax": softmax,
    "LogSoftmax": lambda logits: np.log(softmax(logits)),
}


@dataclass(frozen=True)
class SequentialNetwork:
    """A sequential CNN.

    Attributes
    ----------
    graph : bytes
        ONNX, as `edgemoe.global_expert.float_graph.assemble` makes it: logits, and the features where they are
        flattened.
    classes : str
        The class set that has as many classes as there are logits.
    feature_map : tuple of int
        Channels, rows and columns of the features.
    widths : tuple of int
        Of the layers with weights, but for the last.
    parameters : int
    last : str
        The softmax that the file has behind its logits, or "".
    """

    graph: bytes
    classes: str
    feature_map: tuple[int, int, int]
    widths: tuple[int, ...]
    parameters: int
    last: str


def read_sequential(path: str | os.PathLike[str]) -> SequentialNetwork:
    """Read a float32 ONNX file of convolutions, ReLU and pooling, and behind them dense layers.

    Names are of no account. A softmax at the end is left off. The batch may be of any size, fixed or free.

    Raises
    ------
    EdgemoeError
        If the file is damaged, is not float32, reads other than ``(n, 1, 28, 28)``, has no class set's number of
        outputs, or holds an operator that no sequential CNN has. The message names the file and what is at fault.
    """
    source = os.fspath(path)
    read_bounded(path, LIMIT)  # for its errors; weights in files beside it are onnx's affair
    try:
        model = onnx.load(source)
    except Exception as error:  # protobuf and onnx raise a dozen kinds
        raise EdgemoeError(f"{source}: not a whole ONNX file ({error})") from error
    try:
        batch = _fix_batch(model)
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "basic.onnx"
            session = _session(model.SerializeToString(), target)
            network = _Chain(onnx.load(target)).network()
        _compare(session, batch, network)
        return network
    except EdgemoeError as error:
        raise EdgemoeError(f"{source}: {error}") from error


def _fix_batch(model: ModelProto) -> int:
    """Give a free batch the size 1, in place, for the optimizer to fold what depends on it; return the size."""
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise EdgemoeError(f"has {len(inputs)} inputs and {len(graph.output)} outputs, where one of each is expected")
    kind = inputs[0].type.tensor_type
    if kind.elem_type != TensorProto.FLOAT:
        name = TensorProto.DataType.Name(kind.elem_type).lower()
        raise EdgemoeError(f"input {inputs[0].name!r} is {name}, where float32 is expected")
    shape = kind.shape.dim
    if len(shape) != 4 or [size.dim_value for size in shape[1:]] != IMAGE:
        found = ", ".join(str(size.dim_value or size.dim_param or "?") for size in shape)
        raise EdgemoeError(f"input {inputs[0].name!r} has the shape ({found}), where (n, 1, 28, 28) is expected")
    if shape[0].dim_value < 1:
        shape[0].dim_value = 1
        del graph.value_info[:]
        graph.output[0].type.tensor_type.ClearField("shape")
    return int(shape[0].dim_value)


def _session(content: bytes, target: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a class of its own for each failure
        raise EdgemoeError(f"onnxruntime cannot load it ({error})") from error


class _Chain:
    """The nodes of an optimized graph, followed from the image to the logits and written anew."""

    def __init__(self, model: ModelProto) -> None:
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.widths: list[int] = []
        self.flat = ""  # the value that is flattened
        self.last = ""  # the softmax at the end, if there is one
        self.value = "image"
        (given,) = (value.name for value in model.graph.input if value.name not in self.constants)
        while given != model.graph.output[0].name:
            readers = [node for node in model.graph.node if given in node.input]
            if len(readers) != 1:
                kinds = ", ".join(node.op_type for node in readers) or "no node"
                raise EdgemoeError(f"value {given!r} is read by {kinds}; a sequential CNN is one chain of layers")
            self._add(readers[0])
            given = readers[0].output[0]
        if not self.nodes or self.nodes[-1].op_type != "Gemm":
            raise EdgemoeError("its last layer is not dense, with one unit a class")
        self.nodes[-1].output[0] = "logits"

    def _add(self, node: NodeProto) -> None:
        kind, given = node.op_type, {part.name: helper.get_attribute_value(part) for part in node.attribute}
        if kind in PLAIN[: 1 if self.flat else None]:
            self._append(node, kind, f"{kind.lower()}{len(self.nodes) + 1}")
            self.nodes[-1].attribute.extend(node.attribute)
        elif kind == "Conv" and not self.flat:
            self._layer(node, kind, f"conv{len(self.widths) + 1}", self._constant(node, 1), 1.0)
            self.nodes[-1].attribute.extend(node.attribute)
        elif kind == "BatchNormalization" and self.nodes and self.nodes[-1].op_type in ("Conv", "Gemm"):
            self._fold(node, given.get("epsilon", 1e-5))
        elif kind in ("Flatten", "Reshape") and self.widths and not self.flat:
            self.flat = self.value
            self._append(node, "Flatten", "features")
        elif kind in ("Gemm", "MatMul") and self.flat and not given.get("transA"):
            weight = self._constant(node, 1) * np.float32(given.get("alpha", 1))
            rows = weight if given.get("transB") else weight.T
            self._layer(node, "Gemm", f"dense{len(self.widths) + 1}", rows, given.get("beta", 1.0))
            self.nodes[-1].attribute.append(helper.make_attribute("transB", 1))
        elif kind in LAST and self.flat and not self.last:
            self.last = kind
        else:
            place = "behind the flattened features" if self.flat else "before a flattened feature map"
            raise EdgemoeError(f"node {node.name!r}: {kind} {place} is not of a float32 sequential CNN")

    def _layer(self, node: NodeProto, kind: str, name: str, weight: Array, beta: float) -> None:
        bias = np.zeros(len(weight), np.float32)
        if len(node.input) > 2:
            bias += np.float32(beta) * self._constant(node, 2).reshape(-1)
        parts = {f"{name}.weight": np.ascontiguousarray(weight), f"{name}.bias": bias}
        self.weights += [numpy_helper.from_array(array, part) for part, array in parts.items()]
        self.widths.append(len(weight))
        self._append(node, kind, name, *parts)

    def _fold(self, node: NodeProto, epsilon: float) -> None:
        """Put a normalization into the layer before it, where the optimizer did not."""
        scale, shift, mean, variance = (self._constant(node, place) for place in range(1, 5))
        weight, bias = (numpy_helper.to_array(tensor) for tensor in self.weights[-2:])
        gain = scale / np.sqrt(variance + np.float32(epsilon))
        folded = weight * gain.reshape(-1, *[1] * (weight.ndim - 1)), (bias - mean) * gain + shift
        names = (tensor.name for tensor in self.weights[-2:])
        self.weights[-2:] = [numpy_helper.from_array(array, name) for array, name in zip(folded, names, strict=True)]

    def _append(self, node: NodeProto, kind: str, name: str, *weights: str) -> None:
        if node.input[0] in self.constants or self.last:
            raise EdgemoeError(f"node {node.name!r}: {kind} does not read the layer before")
        self.nodes.append(helper.make_node(kind, [self.value, *weights], [name], name))
        self.value = name

    def _constant(self, node: NodeProto, place: int) -> Array:
        array = self.constants.get(node.input[place])
        if array is None or array.dtype != np.float32:
            found = "not constant" if array is None else str(array.dtype)
            raise EdgemoeError(f"node {node.name!r}: its weights are {found}, where constant float32 is expected")
        return array

    def network(self) -> SequentialNetwork:
        """Return what was read."""
        sets = {len(classes): classes for classes in CLASS_SETS.values()}
        if self.widths[-1] not in sets:
            known = ", ".join(f"{len(classes)} ({name})" for name, classes in CLASS_SETS.items())
            raise EdgemoeError(f"gives {self.widths[-1]} values an image; classes are told by their number, {known}")
        columns = next(weight.dims[1] for weight in self.weights if len(weight.dims) == 2)
        try:
            graph = assemble(self.nodes, self.weights, self.widths[-1], columns)
            shapes = shape_inference.infer_shapes(onnx.load_from_string(graph)).graph.value_info
        except Exception as error:  # onnx's checker: of layers that do not fit each other, or are of another opset
            raise EdgemoeError(f"its layers do not fit each other ({error})") from error
        (flat,) = (value.type.tensor_type.shape.dim for value in shapes if value.name == self.flat)
        channels, rows, width = (size.dim_value for size in flat[1:])
        parameters = sum(int(np.prod(weight.dims)) for weight in self.weights)
        classes = sets[self.widths[-1]]
        return SequentialNetwork(
            graph, classes, (channels, rows, width), tuple(self.widths[:-1]), parameters, self.last
        )


def _compare(original: onnxruntime.InferenceSession, batch: int, network: SequentialNetwork) -> None:
    """Raise unless the network written anew gives the file's outputs."""
    images = np.random.default_rng(0).random((batch, *IMAGE), np.float32)
    try:
        (expected,) = original.run(None, {original.get_inputs()[0].name: images})
    except Exception as error:
        raise EdgemoeError(f"onnxruntime cannot run it ({error})") from error
    session = onnxruntime.InferenceSession(network.graph, providers=["CPUExecutionProvider"])
    found = LAST[network.last](session.run(["logits"], {"image": images})[0])
    if expected.shape != found.shape or np.abs(expected - found).max() > TOLERANCE * np.abs(expected).max():
        raise EdgemoeError("its layers in a chain do not give its outputs; it is no plain sequential CNN")
