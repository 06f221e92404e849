"""A network as integer layers: what the firmware computes (its arithmetic: `firmware_export.reference`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgemoe.errors import EdgemoeError

__all__ = ["SIDE", "Convolution", "Dense", "Layer", "Network", "fixed_point"]

SIDE = 28
"""Pixels of an image's side."""

SHIFTS = 33, 54
"""The least and the greatest right shift of a requantization: 1 to 22 behind the upper half of a 64-bit product."""

DENSE_BITS = 23
"""Accumulators of dense layers stay within +-2**23: their kernel keeps two in one register."""


def fixed_point(ratios: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int32], int]:
    """Return the multipliers and the shift of a layer whose accumulators are `ratios` of its result's step.

    The greatest multiplier has 31 bits; all share the shift, so that it is a constant of the code. A smaller one has
    fewer bits, but its error of half a unit moves no result by more than 2**(30 - shift) steps.

    Parameters
    ----------
    ratios : ndarray of float64, shape (outputs,), values in (0, 0.25)

    Raises
    ------
    EdgemoeError
        If a ratio is out of range.
    """
    if not (np.isfinite(ratios).all() and (ratios > 0).all() and (ratios < 0.25).all()):
        raise EdgemoeError("a step of the result is less than 4 of the accumulator's, or not a number")
    shift = min(31 - int(np.frexp(ratios.max())[1]), SHIFTS[1])
    multipliers = np.rint(np.ldexp(ratios, shift))
    return np.minimum(multipliers, 2**31 - 1).astype(np.int32), shift


@dataclass(frozen=True)
class Layer:
    """What convolutions and dense layers have in common.

    Attributes
    ----------
    name : str
    weights : ndarray of int8, shape (outputs, ...), values in [-127, 127]
    bias : ndarray of int32, shape (outputs,)
        In the accumulator's steps, for inputs counted from their zero point.
    ratios : ndarray of float64, shape (outputs,)
        Steps of the result in a step of the accumulator.
    input_zero, zero : int, in [0, 255]
        Zero points of the input and of the result.
    relu : bool
        Whether no result is below its zero point.
    """

    name: str
    weights: npt.NDArray[np.int8]
    bias: npt.NDArray[np.int32]
    ratios: npt.NDArray[np.float64]
    input_zero: int
    zero: int
    relu: bool

    def __post_init__(self) -> None:
        if self.weights.min(initial=0) < -127:
            raise EdgemoeError(f"layer {self.name!r}: a weight of -128; the kernels take -127 to 127")
        try:
            fixed_point(self.ratios)
        except EdgemoeError as error:
            raise EdgemoeError(f"layer {self.name!r}: {error}") from error
        limit = 2**DENSE_BITS if isinstance(self, Dense) else 2**31
        rows = self.weights.reshape(len(self.weights), -1).astype(np.int64)
        most = 255 * np.maximum(-np.minimum(rows, 0).sum(axis=1), np.maximum(rows, 0).sum(axis=1))
        for row in np.nonzero(most + np.abs(self.offsets) >= limit)[0]:
            raise EdgemoeError(
                f"layer {self.name!r}: the accumulator of output {row} can leave +-2**{limit.bit_length() - 1}"
            )

    @property
    def outputs(self) -> int:
        """Channels or units."""
        return len(self.weights)

    @property
    def low(self) -> int:
        """The least code of a result."""
        return self.zero if self.relu else 0

    @property
    def multipliers(self) -> npt.NDArray[np.int32]:
        """Multipliers of the requantization, shape (outputs,), values in [0, 2**31)."""
        return fixed_point(self.ratios)[0]

    @property
    def shift(self) -> int:
        """Right shift of the requantization, 33 to 54."""
        return fixed_point(self.ratios)[1]

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """What accumulators start with, shape (outputs,): the bias, less the weights' sums times the zero point."""
        sums = self.weights.reshape(len(self.weights), -1).sum(axis=1, dtype=np.int64)
        result: npt.NDArray[np.int64] = self.bias - self.input_zero * sums
        return result


@dataclass(frozen=True)
class Convolution(Layer):
    """A convolution of stride 1, and what may stand behind it.

    Attributes
    ----------
    weights : ndarray of int8, shape (outputs, inputs, kernel, kernel), kernel odd
    padding : int
        Rows and columns of zeros on each side.
    pool : bool
        Whether a 2x2 max-pool of stride 2 follows.
    """

    padding: int
    pool: bool

    @property
    def kernel(self) -> int:
        """Rows and columns of the kernel."""
        return int(self.weights.shape[2])

    def size_of(self, rows: int, columns: int) -> tuple[int, int]:
        """Return rows and columns before the pool, for an input of `rows` and `columns`."""
        grown = 2 * self.padding - self.kernel + 1
        return rows + grown, columns + grown


@dataclass(frozen=True)
class Dense(Layer):
    """A dense layer.

    Attributes
    ----------
    weights : ndarray of int8, shape (outputs, inputs)
    codes : ndarray of uint8, shape (outputs, inputs), values in [0, 15], or None
        How the weights are stored where they share 16 values.
    palette : ndarray of int8, shape (16,), or None
        The values: weights = palette[codes].
    """

    codes: npt.NDArray[np.uint8] | None = None
    palette: npt.NDArray[np.int8] | None = None


@dataclass(frozen=True)
class Network:
    """Convolutions, then dense layers, from an image of 28x28 bytes to the logits' codes.

    Attributes
    ----------
    convolutions : tuple of Convolution, at least 1
    dense : tuple of Dense, at least 1
        The first reads the last convolution's result channel by channel, rows, columns.
    taps : bool
        Whether the graph gives the flattened convolution features, too.
    feature_step, logit_step : float
        Values of one step of the features' and the logits' codes.
    """

    convolutions: tuple[Convolution, ...]
    dense: tuple[Dense, ...]
    taps: bool
    feature_step: float
    logit_step: float

    def __post_init__(self) -> None:
        channels = 1
        for convolution, (rows, columns) in zip(self.convolutions, self.sizes[1:], strict=True):
            if convolution.weights.shape[1] != channels:
                raise EdgemoeError(
                    f"layer {convolution.name!r}: reads {convolution.weights.shape[1]} channels, not {channels}"
                )
            if min(rows, columns) < 1:
                raise EdgemoeError(f"layer {convolution.name!r}: its result would have {rows} x {columns} positions")
            channels = convolution.outputs
        width = self.features
        for dense in self.dense:
            if dense.weights.shape[1] != width:
                raise EdgemoeError(
                    f"layer {dense.name!r}: reads {dense.weights.shape[1]} values, and there are {width}"
                )
            width = dense.outputs

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Rows and columns of the image and of each convolution's result, pooled."""
        sizes = [(SIDE, SIDE)]
        for convolution in self.convolutions:
            rows, columns = convolution.size_of(*sizes[-1])
            sizes.append((rows // 2, columns // 2) if convolution.pool else (rows, columns))
        return sizes

    @property
    def feature_map(self) -> tuple[int, int, int]:
        """Channels, rows and columns of what is flattened."""
        return self.convolutions[-1].outputs, *self.sizes[-1]

    @property
    def features(self) -> int:
        """Values that are flattened."""
        return int(np.prod(self.feature_map))

    @property
    def classes(self) -> int:
        """Logits."""
        return self.dense[-1].outputs

    @property
    def layers(self) -> Iterator[Layer]:
        """All layers in order."""
        yield from self.convolutions
        yield from self.dense

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an inference, those with padding included."""
        total = sum(dense.weights.size for dense in self.dense)
        for convolution, size in zip(self.convolutions, self.sizes[:-1], strict=True):
            total += convolution.weights.size * int(np.prod(convolution.size_of(*size)))
        return total
