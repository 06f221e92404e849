"""What a network costs: the records that counting makes, and energy and report read.

All figures are of one inference at batch 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["GraphCost", "LayerCost", "PartCost", "Unknown"]


@dataclass(frozen=True)
class PartCost:
    """What a part (global expert, local expert, gate) costs one inference; parts add up with `+`.

    Parameters
    ----------
    parameters : int
        Weights and biases.
    bytes : int
        Size as stored on the device, with quantization scales and zero points.
    macs_by_bits : mapping of int to int
        Multiply-accumulates for each width of the operands in bits: ``{8: 1400}``.
    weight_bytes_read : int
        Weight traffic; `bytes` for a part that reads each weight once.
    bytes_read, bytes_written : int
        Activation traffic.
    """

    parameters: int = 0
    bytes: int = 0
    macs_by_bits: Mapping[int, int] = field(default_factory=dict)
    weight_bytes_read: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of every width."""
        return sum(self.macs_by_bits.values())

    def __add__(self, other: "PartCost") -> "PartCost":
        widths = sorted({*self.macs_by_bits, *other.macs_by_bits})
        return PartCost(
            self.parameters + other.parameters,
            self.bytes + other.bytes,
            {w: self.macs_by_bits.get(w, 0) + other.macs_by_bits.get(w, 0) for w in widths},
            self.weight_bytes_read + other.weight_bytes_read,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
        )


@dataclass(frozen=True)
class LayerCost:
    """One layer: an operator and what is fused into it (`op` joins their names with +).

    `parameters` and `bytes` count weights that several layers share at the first one only, and
    `weight_bytes_read` counts them at each. `bytes` includes `quantization_bytes`, the scales and zero points
    of the layer's weights and of its output. `elements_*` and `bytes_*` are of activations. `mac_bits` is the
    width of the wider operand, 0 where there are no MACs. `zero_macs` of the MACs multiply by a weight that is 0,
    which a device that goes through the other weights alone need not do; None where their values are not known.
    """

    name: str
    op: str
    parameters: int
    bytes: int
    quantization_bytes: int
    macs: int
    mac_bits: int
    weight_bytes_read: int
    elements_read: int
    elements_written: int
    bytes_read: int
    bytes_written: int
    zero_macs: int | None = 0

    def part(self) -> PartCost:
        """The same as a part."""
        return PartCost(
            self.parameters,
            self.bytes,
            {self.mac_bits: self.macs} if self.macs else {},
            self.weight_bytes_read,
            self.bytes_read,
            self.bytes_written,
        )


@dataclass(frozen=True)
class Unknown:
    """Something that could not be counted, and why; `bytes` is what it stores, where that much is known."""

    name: str
    op: str
    reason: str
    bytes: int


@dataclass(frozen=True)
class GraphCost:
    """A whole graph.

    `unknown` lists what the totals leave out. `peak_activation_bytes` is the largest sum of the sizes of the
    activation tensors alive at once, when the layers run in file order and none writes over its own input.
    """

    source: str
    layers: tuple[LayerCost, ...]
    unknown: tuple[Unknown, ...]
    file_bytes: int
    peak_activation_bytes: int

    def total(self) -> PartCost:
        """The sum over the layers."""
        return sum((layer.part() for layer in self.layers), PartCost())
