"""Profiles: what a user's device keeps, as a few hundred bytes to a few thousand.

Layout, little-endian; the same bytes load in Python and in the C firmware:

======  =====  ===============================================================
offset  bytes  field
======  =====  ===============================================================
0       4      ``EDGM``
4       1      version, 1
5       1      flags: bit 0 accepted, bit 1 user gain known
6       1      bits of the local expert's weights, 2 to 8
7       1      bits of the gate's weights, 2 to 8
8       16     the first half of the global expert's fingerprint
24      2      C, classes
26      2      P, pooled features
28      2      F, convolution features
30      2      user samples learnt from, 65,535 meaning that many or more
32      16     float32: gate's bias, threshold, generic loss, user gain
48      ...    the gate's weights, then the local expert's (`QuantizedMatrix`)
end-4   4      CRC-32 of all before it
======  =====  ===============================================================
"""

import os
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from edgemoe.device.acceptance import Verdict
from edgemoe.device.gate import Gate
from edgemoe.device.local_expert import LocalExpert
from edgemoe.device.quantized import QuantizedMatrix, packed_bytes
from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded, write_atomic

__all__ = ["Profile", "read_profile", "write_profile"]

MAGIC = b"EDGM"
VERSION = 1
LIMIT = 1 << 20  # bytes; the largest expert that this project trains needs 60 thousand
HEADER = struct.Struct("<4sBBBB16sHHHHffff")


@dataclass(frozen=True)
class Profile:
    """Local expert, gate and the acceptance test's verdict, bound to one global expert.

    Attributes
    ----------
    fingerprint : bytes
        The first 16 bytes of the global expert's.
    local : LocalExpert
    gate : Gate
    verdict : Verdict
    samples : int
        How many of the user's samples were learnt from.
    """

    fingerprint: bytes
    local: LocalExpert
    gate: Gate
    verdict: Verdict
    samples: int

    def to_bytes(self) -> bytes:
        """Return the profile's bytes."""
        rows, columns = self.local.weights.codes.shape
        verdict = self.verdict
        body = HEADER.pack(
            MAGIC, VERSION, verdict.accepted | (verdict.user_gain is not None) << 1,
            self.local.weights.bits, self.gate.weights.bits, self.fingerprint,
            rows, columns - 1, self.gate.weights.codes.shape[1], min(self.samples, 65535),
            self.gate.bias, verdict.threshold, verdict.generic_loss, verdict.user_gain or 0.0,
        )  # fmt: skip
        body += self.gate.weights.to_bytes() + self.local.weights.to_bytes()
        return body + struct.pack("<I", zlib.crc32(body))

    @classmethod
    def from_bytes(cls, content: bytes, source: str = "profile") -> "Profile":
        """Read a profile's bytes.

        Raises
        ------
        EdgemoeError
            If they are no profile, are damaged, or are of a newer version.
        """
        if len(content) < HEADER.size + 4 or content[:4] != MAGIC:
            raise EdgemoeError(f"{source}: not an edgemoe profile")
        if content[4] != VERSION:
            raise EdgemoeError(f"{source}: profile version {content[4]}, and this edgemoe reads {VERSION}")
        if struct.unpack("<I", content[-4:])[0] != zlib.crc32(content[:-4]):
            raise EdgemoeError(f"{source}: damaged, its checksum does not match")
        (_, _, flags, local_bits, gate_bits, fingerprint, rows, pooled, features, samples, *numbers) = HEADER.unpack(
            content[: HEADER.size]
        )
        bias, threshold, loss, gain = numbers
        if not (2 <= local_bits <= 8 and 2 <= gate_bits <= 8 and np.isfinite(numbers).all()):
            raise EdgemoeError(f"{source}: a field of its header is out of range")
        try:
            cut = HEADER.size + 2 + packed_bytes(features, gate_bits)
            gate = Gate(QuantizedMatrix.from_bytes(content[HEADER.size : cut], 1, features, gate_bits), bias)
            local = LocalExpert(QuantizedMatrix.from_bytes(content[cut:-4], rows, pooled + 1, local_bits))
        except EdgemoeError as error:
            raise EdgemoeError(f"{source}: {error}") from error
        verdict = Verdict(bool(flags & 1), threshold, loss, gain if flags & 2 else None)
        return cls(fingerprint, local, gate, verdict, samples)


def write_profile(path: str | os.PathLike[str], profile: Profile) -> None:
    """Write a profile so that power lost at any moment leaves the old one or the new one."""
    write_atomic(path, profile.to_bytes())


def read_profile(path: str | os.PathLike[str]) -> Profile:
    """Read a profile from a file."""
    return Profile.from_bytes(read_bounded(path, LIMIT), os.fspath(path))
