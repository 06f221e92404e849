"""Energy of sending data to a server, by a radio's currents and the packets that the data take."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from edgemoe.accounting.constants import constant, of_type, read_object, unless_unknown

__all__ = ["Radio", "load_radio", "shipped_radios"]

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Radio:
    """A radio that is connected: watts while it sends and receives, and what a packet holds.

    Parameters
    ----------
    name, title : str
    transmit_watts, receive_watts : float
    bit_rate : float
        In 1/s.
    packet_bytes, overhead_bytes : float
        The most data of one packet, and what is sent around them.
    receive_seconds : float
        With the receiver on for each packet sent; 0 where it is left out of the account.
    """

    name: str
    title: str
    transmit_watts: float
    receive_watts: float
    bit_rate: float
    packet_bytes: float
    overhead_bytes: float
    receive_seconds: float

    def joules(self, count: int) -> float:
        """Energy of sending so many bytes."""
        packets = math.ceil(count / self.packet_bytes)
        sending = 8 * (count + packets * self.overhead_bytes) / self.bit_rate
        return self.transmit_watts * sending + self.receive_watts * packets * self.receive_seconds


def shipped_radios() -> list[Radio]:
    """Load the profiles that ship, by name."""
    return [load_radio(path) for path in sorted(_HERE.glob("radio_*.json"))]


def load_radio(path: str | os.PathLike[str]) -> Radio:
    """Load a radio's profile from JSON.

    Raises
    ------
    EdgemoeError
        If the file cannot be read, or a constant is missing, not a positive number, in another unit, or without a
        source; named. Only `receive_time` may be unknown: sending then costs less here than it does.
    """
    place, content = os.fspath(path), read_object(path)
    constants = of_type(content.get("constants"), dict, place, "constants")
    volts = constant(constants, "volts", "V", place)
    name = of_type(content.get("name"), str, place, "name")
    return Radio(
        name,
        of_type(content.get("title", name), str, place, "title"),
        volts * constant(constants, "transmit_current", "A", place),
        volts * constant(constants, "receive_current", "A", place),
        constant(constants, "bit_rate", "1/s", place),
        constant(constants, "packet_bytes", "B", place),
        constant(constants, "overhead_bytes", "B", place),
        unless_unknown(constants, "receive_time", "s", place) or 0.0,
    )
