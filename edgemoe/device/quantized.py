"""Matrices of few bits: how a profile keeps weights."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.errors import EdgemoeError

__all__ = ["QuantizedMatrix", "packed_bytes", "quantize"]

POWERS_OF_3 = 3 ** np.arange(5)


@dataclass(frozen=True)
class QuantizedMatrix:
    """Weights as small signed integers with one scale a row: value = scale x code.

    Attributes
    ----------
    codes : ndarray of int8, shape (rows, columns), values in [-(2**(bits-1) - 1), 2**(bits-1) - 1]
    scales : ndarray of float16, shape (rows,)
    bits : int, 2 to 8
    """

    codes: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float16]
    bits: int

    def values(self) -> npt.NDArray[np.float32]:
        """Return the weights as float32 ``(rows, columns)``."""
        return self.codes.astype(np.float32) * self.scales.astype(np.float32)[:, None]

    @property
    def nbytes(self) -> int:
        """Bytes in a profile: the scales and the packed codes."""
        return self.scales.nbytes + packed_bytes(self.codes.size, self.bits)

    def to_bytes(self) -> bytes:
        """Pack: the scales as little-endian float16, then the codes, row by row.

        Codes of 2 bits have three values, and five of them go into a byte as the digits, 0 to 2, of a number in base 3,
        lowest first. Codes of more bits are two's complements, lowest bit first, without gaps.
        """
        codes = self.codes.ravel()
        if self.bits == 2:
            digits = np.zeros((packed_bytes(codes.size, 2), 5), np.int64)
            digits.ravel()[: codes.size] = codes + 1
            packed = (digits @ POWERS_OF_3).astype(np.uint8)
        else:
            bits = np.unpackbits(codes.view(np.uint8)[:, None], axis=1, count=self.bits, bitorder="little")
            packed = np.packbits(bits.ravel(), bitorder="little")
        return self.scales.astype("<f2").tobytes() + packed.tobytes()

    @classmethod
    def from_bytes(cls, content: bytes, rows: int, columns: int, bits: int) -> "QuantizedMatrix":
        """Unpack what `to_bytes` made.

        Raises
        ------
        EdgemoeError
            If the length is not that of such a matrix, or a scale is not a finite number.
        """
        size = rows * columns
        expected = 2 * rows + packed_bytes(size, bits)
        if len(content) != expected:
            raise EdgemoeError(
                f"weights of {rows} x {columns} in {bits} bits take {expected} bytes, not {len(content)}"
            )
        scales = np.frombuffer(content, "<f2", rows).astype(np.float16)
        if not np.isfinite(scales).all():
            raise EdgemoeError("a weight's scale is not a finite number")
        packed = np.frombuffer(content, np.uint8, offset=2 * rows)
        if bits == 2:
            if packed.max(initial=0) >= 3**5:
                raise EdgemoeError("a byte of packed weights holds no five digits of base 3")
            values = (packed[:, None] // POWERS_OF_3 % 3).ravel()[:size] - 1
        else:
            fields = np.unpackbits(packed, count=size * bits, bitorder="little").reshape(size, bits)
            values = fields @ (1 << np.arange(bits))
            values -= fields[:, -1].astype(np.int64) << bits  # the top bit is the sign
        return cls(values.astype(np.int8).reshape(rows, columns), scales, bits)


def packed_bytes(count: int, bits: int) -> int:
    """Return the bytes that `count` codes take when packed."""
    return -(-count // 5) if bits == 2 else (count * bits + 7) // 8


def quantize(weights: npt.NDArray[np.float32], bits: int) -> QuantizedMatrix:
    """Round weights to a few bits.

    Of 16 scales a row, from a third of the largest weight's to all of it, the one with the least squared error is kept:
    few bits spend their range better when a rare large weight is clipped (the idea of Banner et al., "Post training
    4-bit quantization of convolutional networks", NeurIPS 2019, section 3, by search instead of a closed form).

    Parameters
    ----------
    weights : ndarray of float32, shape (rows, columns)
    bits : int, 2 to 8
    """
    top = 2 ** (bits - 1) - 1
    largest = np.abs(weights).max(axis=1, initial=0.0)
    best_scale = np.zeros(len(weights), np.float16)
    best_error = np.full(len(weights), np.inf)
    for share in np.linspace(1 / 3, 1, 16):
        scale = (largest * share / top).astype(np.float16)
        step = np.where(scale > 0, scale, 1).astype(np.float32)[:, None]
        rounded = np.clip(np.rint(weights / step), -top, top) * scale.astype(np.float32)[:, None]
        error = ((rounded - weights) ** 2).sum(axis=1)
        better = error < best_error
        best_scale, best_error = np.where(better, scale, best_scale), np.where(better, error, best_error)
    step = np.where(best_scale > 0, best_scale, 1).astype(np.float32)[:, None]
    codes = np.where(best_scale[:, None] > 0, np.clip(np.rint(weights / step), -top, top), 0)
    return QuantizedMatrix(codes.astype(np.int8), best_scale, bits)
