"""The arithmetic of the firmware's network, in numpy integers: C and this agree bit for bit.

All activations are codes of uint8, all weights int8. A layer computes, for each of its outputs,

    accumulator = bias - input_zero * sum(weights) + sum(weights * codes)
    result = clip(floor((accumulator * multiplier + 2**(shift - 1)) / 2**shift) + zero, low, 255)

where a padded position has the code `input_zero`, a max-pool takes the greatest of four accumulators (their order is
that of the results, since multipliers are not negative), `multiplier` (31 bits, one an output) and `shift` (33 to 54,
one a layer) come from `edgemoe`'s `firmware_export.layers.fixed_point`, and `low` is `zero` behind a ReLU, else 0.
Accumulators fit int32 for all inputs, those of dense layers even +-2**23, and the product fits int64; a network that
does not keep to this is refused (`firmware_export.layers.Layer`). The sum's order thus does not matter.
"""

import numpy as np
import numpy.typing as npt

from firmware_export.layers import SIDE, Convolution, Dense, Layer, Network

__all__ = ["run_network"]

BATCH = 100  # images at a time: the windows of a convolution take some MB


def run_network(network: Network, images: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the codes of features ``(n, F)`` and logits ``(n, C)``, both uint8, of images ``(n, 28, 28)`` uint8."""
    features = np.empty((len(images), network.features), np.uint8)
    logits = np.empty((len(images), network.classes), np.uint8)
    for start in range(0, len(images), BATCH):
        codes: npt.NDArray[np.uint8] = images[start : start + BATCH].reshape(-1, 1, SIDE, SIDE)
        for convolution in network.convolutions:
            codes = convolve(convolution, codes)
        codes = features[start : start + BATCH] = codes.reshape(len(codes), -1)
        for dense in network.dense:
            codes = multiply(dense, codes)
        logits[start : start + BATCH] = codes
    return features, logits


def requantize(layer: Layer, accumulators: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Return the codes of accumulators ``(n, outputs, ...)``."""
    shape = -1, *[1] * (accumulators.ndim - 2)
    products = accumulators.astype(np.int64) * layer.multipliers.astype(np.int64).reshape(shape)
    rounded = (products + (1 << (layer.shift - 1))) >> layer.shift
    codes: npt.NDArray[np.uint8] = np.clip(rounded + layer.zero, layer.low, 255).astype(np.uint8)
    return codes


def convolve(layer: Convolution, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the codes ``(n, outputs, rows, columns)`` of one convolution and its pool."""
    edge = layer.padding
    padded = np.pad(codes, ((0, 0), (0, 0), (edge, edge), (edge, edge)), constant_values=layer.input_zero)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (layer.kernel, layer.kernel), (2, 3))
    n, _, rows, columns = windows.shape[:4]
    matrix = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * rows * columns, -1).astype(np.int32)
    sums = matrix @ layer.weights.reshape(layer.outputs, -1).T.astype(np.int32) + layer.offsets.astype(np.int32)
    accumulators = sums.reshape(n, rows, columns, layer.outputs).transpose(0, 3, 1, 2)
    if layer.pool:
        even = accumulators[:, :, : rows // 2 * 2, : columns // 2 * 2]
        accumulators = even.reshape(n, layer.outputs, rows // 2, 2, columns // 2, 2).max(axis=(3, 5))
    return requantize(layer, accumulators)


def multiply(layer: Dense, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the codes ``(n, outputs)`` of one dense layer."""
    sums = codes.astype(np.int32) @ layer.weights.T.astype(np.int32)
    return requantize(layer, sums + layer.offsets.astype(np.int32))
