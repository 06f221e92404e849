"""Energy of an inference, from published energies of single operations and memory accesses.

**For ratios only.** The constants are of bare arithmetic and SRAM in a 45 nm process: instruction fetch, clocks,
leakage and voltage converters are all outside this model, and a whole microcontroller spends about a thousand times as
much for each MAC. `edgemoe.accounting.boards` has what boards spend.

The model, after M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014,
fig. 1.1.9:

- A MAC is one multiplication and one addition: at up to 8 bits an 8-bit multiplication and a 32-bit integer
  addition into the accumulator, at up to 16 bits two fp16 operations, at up to 32 bits two fp32 operations.
- Weights are read from the memory that holds all weights of the device: the 1 MB level, or DRAM (the middle
  of its range) if they are more than that. A small network beside a large one lies in the same memory.
- Activations are read and written in the working memory: the smallest of the 32 KB level, the 1 MB level and
  DRAM that holds the peak of the activations alive at once, and the profile. A profile is made and changed on
  the device, so that it lies there while the device is in use, and is copied once when it is switched on.
- An access moves 64 bits, and all of them are of use.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgemoe.accounting.constants import constant, of_type, positive, read_object
from edgemoe.accounting.cost import PartCost
from edgemoe.errors import EdgemoeError

__all__ = ["EnergyModel", "MemoryLevels", "load_energy_model"]

_OPERATIONS = (
    *["int8_add", "int32_add", "int8_mult", "int32_mult"],
    *["fp16_add", "fp16_mult", "fp32_add", "fp32_mult"],
)
_MEMORIES = ("sram_8kb", "sram_32kb", "sram_1mb", "dram_low", "dram_high")


@dataclass(frozen=True)
class MemoryLevels:
    """The memories that hold weights and activations: "32 KB", "1 MB" or "DRAM"."""

    weights: str
    activations: str


@dataclass(frozen=True)
class EnergyModel:
    """Constants of an energy model.

    Parameters
    ----------
    name, source : str
    operation_pj : mapping
        Energy of one operation in pJ: ``operation_pj["int8_mult"]``.
    byte_pj : mapping
        Energy of one byte read or written in pJ, by memory level: "32 KB", "1 MB", "DRAM".
    capacity : mapping
        Size of each of these levels in bytes, smallest first; DRAM has no bound.
    """

    name: str
    source: str
    operation_pj: Mapping[str, float]
    byte_pj: Mapping[str, float]
    capacity: Mapping[str, float]

    def levels(self, weight_bytes: int, working_bytes: int) -> MemoryLevels:
        """Choose the memory levels of a device that stores so many weights and works on so much (both in bytes)."""

        def smallest(size: int, names: list[str]) -> str:
            return next(name for name in names if size <= self.capacity[name])

        names = list(self.capacity)
        return MemoryLevels(smallest(weight_bytes, names[1:]), smallest(working_bytes, names))

    def mac_pj(self, bits: int) -> float:
        """Energy of one MAC in pJ whose wider operand has so many bits.

        Raises
        ------
        EdgemoeError
            If the model has no constant for so wide an operand (more than 32 bits).
        """
        if bits <= 8:
            return self.operation_pj["int8_mult"] + self.operation_pj["int32_add"]
        if bits <= 16:
            return self.operation_pj["fp16_mult"] + self.operation_pj["fp16_add"]
        if bits <= 32:
            return self.operation_pj["fp32_mult"] + self.operation_pj["fp32_add"]
        raise EdgemoeError(f"energy model {self.name}: has no constant for multiplications of {bits} bits")

    def mac_nj(self, cost: PartCost) -> float:
        """Energy of the MACs alone in nJ."""
        return sum(count * self.mac_pj(bits) for bits, count in cost.macs_by_bits.items()) / 1000

    def energy_nj(self, cost: PartCost, levels: MemoryLevels) -> float:
        """Energy of one inference of a part in nJ; for ratios only."""
        weights = cost.weight_bytes_read * self.byte_pj[levels.weights]
        activations = (cost.bytes_read + cost.bytes_written) * self.byte_pj[levels.activations]
        return self.mac_nj(cost) + (weights + activations) / 1000

    def joules(self, cost: PartCost) -> float:
        """Refuse: such a model tells how parts compare, not what a device spends.

        Raises
        ------
        EdgemoeError
            Always.
        """
        raise EdgemoeError(f"energy model {self.name}: is for ratios only and knows no joules; take a board's profile")


def load_energy_model(path: str | os.PathLike[str] | None = None) -> EnergyModel:
    """Load an energy model from JSON, by default the shipped ``horowitz45.json``.

    Raises
    ------
    EdgemoeError
        If the file cannot be read, or a constant is missing, not a positive number, in another unit than
        pJ, or without a source.
    """
    path = path or Path(__file__).with_name("horowitz45.json")
    place, content = os.fspath(path), read_object(path)
    constants = of_type(content.get("constants"), dict, place, "constants")
    operations = {name: constant(constants, name, "pJ", place) for name in _OPERATIONS}
    accesses = {name: constant(constants, name, "pJ", place) for name in _MEMORIES}
    widths = {name: positive(constants[name], "access_bytes", name, place) for name in _MEMORIES}
    per_byte = {name: accesses[name] / widths[name] for name in _MEMORIES}
    return EnergyModel(
        name=of_type(content.get("name"), str, place, "name"),
        source=of_type(content.get("source"), str, place, "source"),
        operation_pj=operations,
        byte_pj={
            "32 KB": per_byte["sram_32kb"],
            "1 MB": per_byte["sram_1mb"],
            "DRAM": (per_byte["dram_low"] + per_byte["dram_high"]) / 2,
        },
        capacity={
            "32 KB": positive(constants["sram_32kb"], "capacity_bytes", "sram_32kb", place),
            "1 MB": positive(constants["sram_1mb"], "capacity_bytes", "sram_1mb", place),
            "DRAM": math.inf,
        },
    )
