"""What a mixture costs on a board: each part, training, a battery, and after how many inferences it has paid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgemoe.accounting.battery import DAY, Cell
from edgemoe.accounting.boards import Board, Energy
from edgemoe.accounting.cost import PartCost
from edgemoe.accounting.payoff import pays_off
from edgemoe.accounting.radio import Radio

__all__ = ["Costs", "Instructions", "Learning", "board_record"]

IMAGE_BYTES = 784  # of a sample sent to a server
PER_DAY = (100, 1_000, 10_000)  # inferences a day that a battery's share is told of
_MICRO = 1e6


@dataclass(frozen=True)
class Instructions:
    """What a core executes: for an inference of the global expert and of the mixture, and for each MAC of an update."""

    whole: float
    mixture: float
    per_update_mac: float


@dataclass(frozen=True)
class Learning:
    """What learning takes: passes of the global expert, and MACs of updates and trials."""

    passes: int
    update_macs: int


@dataclass(frozen=True)
class Costs:
    """What is to be paid for.

    Parameters
    ----------
    whole, local, gate : PartCost
        One inference.
    training, last_layer : Learning
        Of a profile, and of the global expert's last layer instead.
    samples : int
        That either learns from.
    flash_bytes : int
        Written by training.
    complete : bool
        Whether all of the global expert was counted; if not, what it costs is not known.
    instructions : Instructions, optional
    """

    whole: PartCost
    local: PartCost
    gate: PartCost
    training: Learning
    last_layer: Learning
    samples: int
    flash_bytes: int
    complete: bool = True
    instructions: Instructions | None = None


def board_record(board: Board, costs: Costs, radios: Sequence[Radio], cells: Sequence[Cell]) -> dict[str, Any]:
    """Return an entry of the record's "boards"; `edgemoe.accounting.report` says what is in it."""
    board = board.measured_on(costs.whole)
    found, added = costs.instructions, costs.local + costs.gate
    whole = mixture = None
    if costs.complete:
        whole = board.energy(costs.whole, found.whole if found else None)
        mixture = board.energy(costs.whole + added, found.mixture if found else None)
    each = None if mixture is None else mixture.joules
    computing = _learning(costs.training, found, whole)
    writing = board.flash.joules(costs.flash_bytes) if board.flash else None
    training = None if computing is None or writing is None else computing + writing
    return {
        "name": board.name,
        "title": board.title,
        "core": board.core,
        "source": board.source,
        "kind": board.kind,
        "clock_hz": board.clock,
        "pj_per_mac": _scaled(board.joule_per_mac, 1e12),
        "pj_per_byte": _scaled(board.joule_per_byte, 1e12),
        "pj_per_instruction": _scaled(board.joule_per_instruction, 1e12),
        "global": _entry(whole),
        "local": _entry(board.energy(costs.local)),
        "gate": _entry(board.energy(costs.gate)),
        "mixture": _entry(mixture),
        "overhead": None if whole is None or each is None else each / whole.joules - 1,
        "training": {
            "compute_uj": _scaled(computing, _MICRO),
            "flash_uj": _scaled(writing, _MICRO),
            "uj": _scaled(training, _MICRO),
            "inferences": None if computing is None or each is None else computing / each,
        },
        "battery": [_battery(cell, each, computing, board.static_watts) for cell in cells],
        "payoff": _payoffs(costs, radios, computing, whole, each),
    }


def _learning(learning: Learning, found: Instructions | None, whole: Energy | None) -> float | None:
    """Energy of learning: an instruction of an update costs what one of the global expert does.

    A board's energy per MAC is that of the int8 kernels, and says nothing of updates in float32.
    """
    if found is None or whole is None:
        return None
    return whole.joules * (learning.passes + learning.update_macs * found.per_update_mac / found.whole)


def _payoffs(
    costs: Costs, radios: Sequence[Radio], computing: float | None, whole: Energy | None, each: float | None
) -> list[dict[str, Any]]:
    """Compare without writing flash: every way does that but a server that recognizes, and few boards tell its cost."""
    retraining = _learning(costs.last_layer, costs.instructions, whole)
    ways: list[tuple[str, str | None, float | None, float | None]] = [
        ("retraining the last layer", None, retraining, None if whole is None else whole.joules)
    ]
    for radio in radios:
        ways += [
            ("a server that recognizes", radio.name, 0.0, radio.joules(IMAGE_BYTES)),
            ("a server that trains", radio.name, costs.samples * radio.joules(IMAGE_BYTES + 1), each),
        ]
    rows = []
    for against, name, other_once, other_each in ways:
        found = pays_off(computing, each, other_once, other_each)
        rows.append(
            {
                "against": against,
                "radio": name,
                "once_uj": _scaled(computing, _MICRO),
                "each_uj": _scaled(each, _MICRO),
                "other_once_uj": _scaled(other_once, _MICRO),
                "other_each_uj": _scaled(other_each, _MICRO),
                "inferences": found.inferences,
                "until": found.until,
                "says": found.says,
            }
        )
    return rows


def _battery(cell: Cell, each: float | None, training: float | None, static: float | None) -> dict[str, Any]:
    return {
        "cell": cell.name,
        "capacity_mah": cell.capacity,
        "volts": cell.volts,
        "inferences": None if each is None else cell.joules / each,
        "trainings": None if training is None else cell.joules / training,
        "per_day": [
            {"inferences": count, "share": None if each is None else cell.share(count * each)} for count in PER_DAY
        ],
        "idle_share": None if static is None else cell.share(static * DAY),
    }


def _entry(energy: Energy | None) -> dict[str, float | None]:
    return {
        "uj": None if energy is None else _MICRO * energy.joules,
        "low_uj": None if energy is None else _scaled(energy.low, _MICRO),
        "high_uj": None if energy is None else _scaled(energy.high, _MICRO),
        "milliseconds": None if energy is None else _scaled(energy.seconds, 1e3),
    }


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value
