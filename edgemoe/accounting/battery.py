"""What an energy means for a battery. Ageing, self-discharge and the cost of a high current are left out."""

import os
from dataclasses import dataclass
from pathlib import Path

from edgemoe.accounting.constants import constant, of_type, read_object

__all__ = ["DAY", "Cell", "load_cells"]

DAY = 86400.0  # s


@dataclass(frozen=True)
class Cell:
    """A battery cell: mAh and V."""

    name: str
    capacity: float
    volts: float

    @property
    def joules(self) -> float:
        """The energy that it holds: mAh to As is a factor of 3.6."""
        return 3.6 * self.capacity * self.volts

    def share(self, joules: float) -> float:
        """The share of the cell that an energy takes."""
        return joules / self.joules


def load_cells(path: str | os.PathLike[str] | None = None) -> list[Cell]:
    """Load cells from JSON, by default a CR2032 and a cell of 1,000 mAh."""
    path = path or Path(__file__).with_name("cells.json")
    place, cells = os.fspath(path), []
    for index, entry in enumerate(of_type(read_object(path).get("cells"), list, place, "cells")):
        entry = of_type(entry, dict, place, f"cells[{index}]")
        name = of_type(entry.get("name"), str, place, f"cells[{index}].name")
        cells.append(Cell(name, constant(entry, "capacity", "mAh", place), constant(entry, "volts", "V", place)))
    return cells
