"""From torch to ONNX: the float32 graph with its feature taps."""

from typing import Any

import numpy as np
import torch
from onnx import helper, numpy_helper
from torch import nn

from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.float_graph import assemble
from edgemoe.global_expert.quantize import quantize

__all__ = ["feature_map", "quantize", "to_onnx"]


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
    return assemble(nodes, weights, len(getattr(model, last).weight), int(np.prod(feature_map(model))))


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
