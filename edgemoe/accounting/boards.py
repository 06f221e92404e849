"""Energy of an inference on real boards, from what was measured on them: absolute, and with a range.

A shipped profile is calibrated: MLPerf Tiny submitters measured two networks on the board, one of many MACs for each
byte of weights and one of about one. The two energies make two equations in the joules per MAC and per byte of weights,
and the two times another two in seconds. Whatever else an inference costs (activations, instructions around the
kernels, leakage) is in these figures in the proportion of those networks. The range is the least and the most that any
submission spent for each MAC of either network: on one and the same chip they differ by voltage, runtime and compiler.

A profile of one's own is measured: volts and amperes with the instructions that the core executes in a second, or the
energy of one inference of the global expert.
"""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgemoe.accounting.constants import constant, of_type, read_object, unless_unknown
from edgemoe.accounting.cost import PartCost
from edgemoe.errors import EdgemoeError

__all__ = ["Board", "Energy", "Flash", "load_board", "shipped_boards"]

_HERE = Path(__file__).parent
_MICRO = 1e-6


@dataclass(frozen=True)
class Energy:
    """What something costs on a board: joules, their range (None: not known), and seconds (None: not known)."""

    joules: float
    low: float | None = None
    high: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Flash:
    """What writing flash costs: seconds for each `write_bytes` written and for each page erased, and watts."""

    write_seconds: float
    write_bytes: float
    erase_seconds: float
    page_bytes: float
    watts: float

    def joules(self, count: int) -> float:
        """Energy of writing so many bytes to pages erased for them."""
        seconds = math.ceil(count / self.write_bytes) * self.write_seconds
        return self.watts * (seconds + math.ceil(count / self.page_bytes) * self.erase_seconds)


@dataclass(frozen=True)
class Board:
    """A board's profile; what is None is not known.

    Parameters
    ----------
    name, title, core, source, kind : str
        `kind` is "calibrated" or "measured".
    joule_per_mac, joule_per_byte : float, optional
        Of MACs of up to 8 bits, and of bytes of weights.
    range_per_mac : (float, float), optional
        Least and most joules that were measured for each MAC.
    second_per_mac, second_per_byte : float, optional
    joule_per_instruction, instructions_per_second : float, optional
    joule_per_inference : float, optional
        Of the global expert.
    clock, static_watts : float, optional
        Hz, and W while nothing runs.
    flash : Flash, optional
    """

    name: str
    title: str
    core: str
    source: str
    kind: str
    joule_per_mac: float | None = None
    joule_per_byte: float | None = None
    range_per_mac: tuple[float, float] | None = None
    second_per_mac: float | None = None
    second_per_byte: float | None = None
    joule_per_instruction: float | None = None
    instructions_per_second: float | None = None
    joule_per_inference: float | None = None
    clock: float | None = None
    static_watts: float | None = None
    flash: Flash | None = None

    def measured_on(self, global_expert: PartCost) -> "Board":
        """Return the profile with a measured energy of an inference spread over the global expert's MACs."""
        if self.joule_per_inference is None or not global_expert.macs:
            return self
        return replace(self, joule_per_mac=self.joule_per_inference / global_expert.macs, joule_per_byte=0.0)

    def energy(self, cost: PartCost, instructions: float | None = None) -> Energy | None:
        """Return what a part costs, or None where this profile cannot tell.

        Parameters
        ----------
        cost : PartCost
            MACs of more than 8 bits were measured on no board: None.
        instructions : float, optional
            How many are executed for it; a profile in joules per instruction goes by them alone.
        """
        if self.joule_per_instruction is not None:
            if instructions is None:
                return None
            seconds = None if self.instructions_per_second is None else instructions / self.instructions_per_second
            return Energy(instructions * self.joule_per_instruction, seconds=seconds)
        if self.joule_per_mac is None or self.joule_per_byte is None or any(bits > 8 for bits in cost.macs_by_bits):
            return None
        joules = cost.macs * self.joule_per_mac + cost.weight_bytes_read * self.joule_per_byte
        seconds = None
        if self.second_per_mac is not None and self.second_per_byte is not None:
            seconds = cost.macs * self.second_per_mac + cost.weight_bytes_read * self.second_per_byte
        if self.range_per_mac is None:
            return Energy(joules, seconds=seconds)
        low, high = (cost.macs * each for each in self.range_per_mac)
        return Energy(joules, min(low, joules), max(high, joules), seconds)


def shipped_boards() -> list[Board]:
    """Load the profiles that ship, by name."""
    return [load_board(path) for path in sorted(_HERE.glob("board_*.json"))]


def load_board(path: str | os.PathLike[str]) -> Board:
    """Load a board's profile from JSON, or a shipped one by its name.

    Raises
    ------
    EdgemoeError
        If the file cannot be read, is an energy model for ratios only, or a constant is missing, not a positive number,
        in another unit, or without a source; named.
    """
    shipped = _HERE / f"board_{os.fspath(path)}.json"
    if os.fspath(path) == os.path.basename(path) and not Path(path).exists():
        if not shipped.is_file():
            names = ", ".join(p.stem.removeprefix("board_") for p in sorted(_HERE.glob("board_*.json")))
            raise EdgemoeError(f"{os.fspath(path)}: neither a file nor a shipped board; the shipped ones are {names}")
        path = shipped
    place, content = os.fspath(path), read_object(path)
    kind = content.get("kind")
    if kind == "ratio":
        raise EdgemoeError(f"{place}: kind: is an energy model for ratios only, and knows no joules of a board")
    if kind not in ("calibrated", "measured"):
        raise EdgemoeError(f"{place}: kind: is {kind!r}, expected calibrated or measured")
    constants = of_type(content.get("constants"), dict, place, "constants")
    name = of_type(content.get("name"), str, place, "name")
    calibrated = kind == "calibrated"
    board = Board(
        name,
        of_type(content.get("title", name), str, place, "title"),
        of_type(content.get("core", "unknown"), str, place, "core"),
        of_type(content.get("reference" if calibrated else "source", place), str, place, "reference"),
        kind,
        clock=unless_unknown(constants, "clock", "Hz", place),
        static_watts=unless_unknown(constants, "static_power", "W", place),
        flash=_flash(constants, place),
    )
    return _calibrated(board, content, place) if calibrated else _measured(board, constants, place)


def _measured(board: Board, constants: dict[str, Any], place: str) -> Board:
    if "energy_per_inference" in constants:
        return replace(board, joule_per_inference=constant(constants, "energy_per_inference", "J", place))
    watts = constant(constants, "volts", "V", place) * constant(constants, "current", "A", place)
    rate = constant(constants, "instructions_per_second", "1/s", place)
    return replace(board, joule_per_instruction=watts / rate, instructions_per_second=rate)


def _calibrated(board: Board, content: dict[str, Any], place: str) -> Board:
    networks = read_object(_HERE / "mlperf_tiny.json")["networks"]
    spent: list[float] = []  # for each MAC
    of_reference: dict[str, tuple[float, float]] = {}  # joules and seconds, by network
    for index, entry in enumerate(of_type(content.get("measurements"), list, place, "measurements")):
        field = f"measurements[{index}]"
        entry = of_type(entry, dict, place, field)
        network, submitter = (of_type(entry.get(key), str, place, f"{field}.{key}") for key in ("network", "submitter"))
        if network not in networks:
            raise EdgemoeError(f"{place}: {field}.network: {network!r} is none of {', '.join(networks)}")
        named = {f"{field}.{key}": entry.get(key) for key in ("energy", "throughput")}
        joules = _MICRO * constant(named, f"{field}.energy", "uJ", place)
        seconds = 1 / constant(named, f"{field}.throughput", "1/s", place)
        spent.append(joules / networks[network]["macs"])
        if submitter == board.source:
            of_reference[network] = joules, seconds
    missing = [name for name in networks if name not in of_reference]
    if missing:
        raise EdgemoeError(f"{place}: measurements: none of {board.source} of {', '.join(missing)}")
    (joule_mac, second_mac), (joule_byte, second_byte) = _solve(
        [(networks[name]["macs"], networks[name]["weight_bytes"], *of_reference[name]) for name in networks]
    )
    if min(joule_mac, joule_byte) <= 0:
        raise EdgemoeError(f"{place}: measurements: no positive joules per MAC and per byte give these energies")
    known = min(second_mac, second_byte) > 0
    return replace(
        board,
        joule_per_mac=joule_mac,
        joule_per_byte=joule_byte,
        range_per_mac=(min(spent), max(spent)),
        second_per_mac=second_mac if known else None,
        second_per_byte=second_byte if known else None,
    )


def _solve(rows: list[tuple[float, float, float, float]]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Solve two equations in what a MAC and a byte cost, in joules and in seconds (Cramer's rule)."""
    (m1, w1, *first), (m2, w2, *second) = rows
    whole = m1 * w2 - m2 * w1
    per_mac, per_byte = (
        tuple((x * f1 - y * f2) / whole for f1, f2 in zip(first, second, strict=True))
        for x, y in ((w2, w1), (-m2, -m1))
    )
    return (per_mac[0], per_mac[1]), (per_byte[0], per_byte[1])


def _flash(constants: dict[str, Any], place: str) -> Flash | None:
    units = {"write_time": "s", "write_bytes": "B", "erase_time": "s", "page_bytes": "B", "current": "A"}
    found = [unless_unknown(constants, f"flash_{name}", unit, place) for name, unit in units.items()]
    volts = unless_unknown(constants, "volts", "V", place)
    known = [value for value in found if value is not None]
    if volts is None or len(known) < len(units):
        return None
    write_seconds, write_bytes, erase_seconds, page_bytes, current = known
    return Flash(write_seconds, write_bytes, erase_seconds, page_bytes, volts * current)
