"""Just enough of the protobuf wire format to read a file of untrusted bytes.

Source: the public encoding specification of Protocol Buffers. A message is a list of fields, each a key
(field number and wire type) and a value; a field the caller does not ask for costs nothing but its skipping.
A field whose wire type is not the asked-for one is not seen, as the specification wants.
"""

import struct
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.errors import EdgemoeError

__all__ = ["Message", "Source", "varints"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}


@dataclass
class Source:
    """Where bytes come from, and how many fields may still be read from it.

    A field takes two bytes in a file and some hundred in memory, so that a bound on the file alone is none.
    """

    name: str
    fields_left: int = 1_000_000

    def error(self, field: str, reason: str) -> EdgemoeError:
        """Make the error that names the file and the field at fault."""
        return EdgemoeError(f"{self.name}: {field}: {reason}")


def varints(content: memoryview) -> npt.NDArray[np.int64]:
    """Decode a run of varints, shape (n,), two's complement; raise ValueError if the run is malformed."""
    data = np.frombuffer(content, np.uint8)
    if not data.size:
        return np.zeros(0, np.int64)
    ends = np.flatnonzero(data < 128)
    if not ends.size or ends[-1] != data.size - 1:
        raise ValueError("truncated varint")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise ValueError("varint longer than 10 bytes")
    shifts = 7 * (np.arange(data.size) - np.repeat(starts, lengths)).astype(np.uint64)
    return np.add.reduceat((data & 127).astype(np.uint64) << shifts, starts).view(np.int64)


class Message:
    """One decoded message; `place` says in words which one, for error messages.

    Raises
    ------
    EdgemoeError
        Here and in every method, if the bytes are truncated or malformed.
    """

    def __init__(self, content: memoryview, source: Source, place: str) -> None:
        self.source = source
        self.place = place
        self._numbers: dict[int, list[int]] = defaultdict(list)
        self._chunks: dict[tuple[int, int], list[memoryview]] = defaultdict(list)
        position = 0
        while position < len(content):
            source.fields_left -= 1
            if source.fields_left < 0:
                raise self.error("the file has more fields than such a file may have")
            key, position = self._varint(content, position)
            number, wire = key >> 3, key & 7
            if number == 0 or wire not in (_VARINT, _FIXED64, _BYTES, _FIXED32):
                raise self.error("is not a protobuf message")
            value, after = self._varint(content, position) if wire in (_VARINT, _BYTES) else (0, position)
            if wire == _VARINT:
                self._numbers[number].append(value - (1 << 64) if value >> 63 else value)
                position = after
                continue
            position = after + (value if wire == _BYTES else _SIZES[wire])
            if position > len(content):
                raise self.error("is truncated")
            self._chunks[number, wire].append(content[after:position])

    def _varint(self, content: memoryview, position: int) -> tuple[int, int]:
        value = 0
        for index, byte in enumerate(content[position : position + 10]):
            value |= (byte & 127) << (7 * index)
            if byte < 128:
                return value & ((1 << 64) - 1), position + index + 1
        raise self.error("is truncated")

    def error(self, reason: str) -> EdgemoeError:
        """Make the error that names the file and this message."""
        return self.source.error(self.place, reason)

    def integers(self, number: int) -> npt.NDArray[np.int64]:
        """All integers of a repeated field, packed or not, shape (n,)."""
        try:
            packed = [varints(chunk) for chunk in self._chunks[number, _BYTES]]
        except ValueError as error:
            raise self.error(str(error)) from error
        return np.concatenate([np.array(self._numbers[number], np.int64), *packed])

    def integer(self, number: int, default: int = 0) -> int:
        """The last integer of a singular field, or the default."""
        values = self._numbers[number]
        return values[-1] if values else default

    def floats(self, number: int, dtype: str = "<f4") -> npt.NDArray[np.floating]:
        """All numbers of a repeated float (`<f4`) or double (`<f8`) field, packed or not, shape (n,)."""
        wire = _FIXED32 if dtype == "<f4" else _FIXED64
        content = b"".join([*self._chunks[number, wire], *self._chunks[number, _BYTES]])
        if len(content) % _SIZES[wire]:
            raise self.error("is truncated")
        return np.frombuffer(content, dtype)

    def number(self, number: int) -> float:
        """The last value of a singular float field, or 0."""
        values = self._chunks[number, _FIXED32]
        return float(struct.unpack("<f", values[-1])[0]) if values else 0.0

    def chunks(self, number: int) -> list[memoryview]:
        """The raw contents of each occurrence of a bytes, string or message field."""
        return self._chunks[number, _BYTES]

    def texts(self, number: int) -> tuple[str, ...]:
        """All strings of a repeated field; bytes that are no UTF-8 become the replacement character."""
        return tuple(str(chunk, "utf-8", "replace") for chunk in self.chunks(number))

    def text(self, number: int) -> str:
        """The last string of a singular field, or the empty string."""
        return self.texts(number)[-1] if self.chunks(number) else ""

    def messages(self, number: int, place: str) -> list["Message"]:
        """All messages of a repeated field."""
        return [Message(chunk, self.source, f"{place}[{i}]") for i, chunk in enumerate(self.chunks(number))]

    def message(self, number: int, place: str) -> "Message":
        """The message of a singular field, empty if absent; several occurrences are one, joined."""
        chunks = self.chunks(number)
        content = chunks[0] if len(chunks) == 1 else memoryview(b"".join(chunks))
        return Message(content, self.source, place)
