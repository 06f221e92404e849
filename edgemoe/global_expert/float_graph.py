"""The float32 graph of a global expert: what goes in and comes out, whoever made its nodes."""

from collections.abc import Sequence

import onnx
from onnx import NodeProto, TensorProto, helper

from edgemoe.device.bundle import TAPS

__all__ = ["assemble"]

OPSET = 17


def assemble(nodes: Sequence[NodeProto], weights: Sequence[TensorProto], classes: int, features: int) -> bytes:
    """Make a graph of nodes that lead from ``image`` over ``features`` to ``logits``.

    Parameters
    ----------
    nodes : sequence of NodeProto
        Of opset 17, in their order.
    weights : sequence of TensorProto
    classes, features : int
        Columns of the two outputs, ``(n, C)`` and ``(n, F)``.

    Returns
    -------
    bytes
        An ONNX file. It reads ``image`` ``(n, 1, 28, 28)`` float32 in [0, 1].
    """
    sizes = dict(zip(TAPS, (classes, features), strict=True))
    graph = helper.make_graph(
        nodes,
        "global expert",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info(tap, TensorProto.FLOAT, ["n", size]) for tap, size in sizes.items()],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="edgemoe")
    model.ir_version = 9  # what onnxruntime 1.20, the last one seen to run on emulated aarch64, reads
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content
