"""Choosing and recording the retention set."""

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgemoe.device.bundle import TAPS
from edgemoe.device.retention import RetentionSet, Taps
from edgemoe.errors import EdgemoeError

__all__ = ["record_retention", "tap_grids"]

FEATURE_STEP = 16
"""Steps of the int8 grid that the retention set takes as one. Features of 4 bits halve its size; a logistic gate
trained against them removed as many errors on writers_small.npz as one trained on all 8 bits, one on 3 fewer."""


def tap_grids(int8_onnx: bytes) -> dict[str, tuple[float, int]]:
    """Return the scale and zero point of each tap of an int8 graph: its values lie on scale x (code - zero).

    Raises
    ------
    EdgemoeError
        If a tap is not the output of a DequantizeLinear with one scale.
    """
    graph = onnx.load_from_string(int8_onnx).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    grids = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.output[0] in TAPS:
            scale, zero = (constants[name] for name in node.input[1:3])
            if scale.size == 1:
                grids[node.output[0]] = (float(scale), int(zero))
    if missing := sorted(set(TAPS) - set(grids)):
        raise EdgemoeError(f"the int8 graph's outputs {missing} are not quantized with one scale")
    return grids


def record_retention(taps: Taps, labels: npt.NDArray[np.int64], grids: dict[str, tuple[float, int]]) -> RetentionSet:
    """Write taps as integers: the logits as the int8 graph computed them, the features in their upper 4 bits.

    Parameters
    ----------
    taps : Taps
        Of samples that the expert was not trained on: on its training samples it is better than it will be in use.
    labels : ndarray of int64, shape (n,)
    grids : dict
        From `tap_grids`.
    """
    steps = {"logits": 1, "features": FEATURE_STEP}
    codes, scales, zeros = {}, {}, {}
    for tap, (scale, zero) in grids.items():
        scales[tap] = scale * steps[tap]
        zeros[tap] = zero // steps[tap]
        exact = getattr(taps, tap) / np.float32(scales[tap]) + zeros[tap]
        codes[tap] = np.clip(np.rint(exact), 0, 255 // steps[tap]).astype(np.uint8)
    return RetentionSet(codes, scales, zeros, labels.astype(np.uint8))
