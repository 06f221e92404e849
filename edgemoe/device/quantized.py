"""Matrices of few bits: how a profile keeps weights."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.device.runs import pack_runs, unpack_runs
from edgemoe.errors import EdgemoeError

__all__ = ["QuantizedMatrix", "packed_bytes", "quantize"]

KEPT = 0.2  # share of the weights of 2 bits that are not 0; of 0.06 to 0.3, chosen on writers_small.npz
MOST = 1 << 20  # codes in a matrix; a file says how many, and a few bytes may stand for any number of zeros


@dataclass(frozen=True)
class QuantizedMatrix:
    """Weights as small signed integers: value = scale x code.

    Attributes
    ----------
    codes : ndarray of int8, shape (rows, columns), values in [-(2**(bits-1) - 1), 2**(bits-1) - 1]
    scales : ndarray of float16, shape (rows,), or (1,) if the codes have 2 bits
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
        return len(self.to_bytes()) if self.bits == 2 else self.scales.nbytes + packed_bytes(self.codes.size, self.bits)

    def to_bytes(self) -> bytes:
        """Pack: the scales as little-endian float16, then the codes, row by row.

        Codes of 2 bits are runs, as `edgemoe.device.runs` packs them. Codes of more bits are two's complements, lowest
        bit first, without gaps.
        """
        codes = self.codes.ravel()
        if self.bits == 2:
            packed = pack_runs(codes)
        else:
            bits = np.unpackbits(codes.view(np.uint8)[:, None], axis=1, count=self.bits, bitorder="little")
            packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
        return self.scales.astype("<f2").tobytes() + packed

    @classmethod
    def from_bytes(cls, content: bytes, rows: int, columns: int, bits: int) -> "QuantizedMatrix":
        """Unpack what `to_bytes` made.

        Raises
        ------
        EdgemoeError
            If the length is not that of such a matrix, or a scale is not a finite number.
        """
        size, scaled = rows * columns, 1 if bits == 2 else rows
        matrix = f"weights of {rows} x {columns} in {bits} bits"
        if size > MOST:
            raise EdgemoeError(f"{matrix} are more than {MOST:,}")
        expected = 3 if bits == 2 else 2 * rows + packed_bytes(size, bits)
        if len(content) < expected or (bits > 2 and len(content) > expected):
            raise EdgemoeError(f"{matrix} take {'at least ' * (bits == 2)}{expected} bytes, not {len(content)}")
        scales = np.frombuffer(content, "<f2", scaled).astype(np.float16)
        if not np.isfinite(scales).all():
            raise EdgemoeError("a weight's scale is not a finite number")
        if bits == 2:
            values = unpack_runs(content[2:], size)
        else:
            packed = np.frombuffer(content, np.uint8, offset=2 * scaled)
            fields = np.unpackbits(packed, count=size * bits, bitorder="little").reshape(size, bits)
            values = fields @ (1 << np.arange(bits))
            values -= fields[:, -1].astype(np.int64) << bits  # the top bit is the sign
        return cls(values.astype(np.int8).reshape(rows, columns), scales, bits)


def packed_bytes(count: int, bits: int) -> int:
    """Return the bytes that `count` codes of 3 to 8 bits take when packed."""
    return (count * bits + 7) // 8


def quantize(weights: npt.NDArray[np.float32], bits: int) -> QuantizedMatrix:
    """Round weights to a few bits; to 2 bits as `sparsify` does.

    Of 16 scales a row, from a third of the largest weight's to all of it, the one with the least squared error is kept:
    few bits spend their range better when a rare large weight is clipped (the idea of Banner et al., "Post training
    4-bit quantization of convolutional networks", NeurIPS 2019, section 3, by search instead of a closed form).

    Parameters
    ----------
    weights : ndarray of float32, shape (rows, columns)
    bits : int, 2 to 8
    """
    if bits == 2:
        return sparsify(weights)
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


def sparsify(weights: npt.NDArray[np.float32]) -> QuantizedMatrix:
    """Round weights to -1, 0 or 1 times one scale, `KEPT` of them not to 0.

    Kept are the largest of all, and each row's largest, so that no class that was taught anything is left without. The
    scale is the mean of their absolute values, which has the least squared error (Li, Zhang, Liu, "Ternary weight
    networks", arXiv 1605.04711, section 2, with the threshold given by the share).
    """
    sizes = np.abs(weights)
    count = max(round(KEPT * sizes.size), 1)
    least = np.partition(sizes.ravel(), -count)[-count]
    kept = (sizes >= np.minimum(least, sizes.max(axis=1, keepdims=True))) & (sizes > 0)
    scale = np.array([sizes[kept].mean() if kept.any() else 0], np.float16)
    codes = np.where(kept & (scale > 0), np.sign(weights), 0)
    return QuantizedMatrix(codes.astype(np.int8), scale, 2)
