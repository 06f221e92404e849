"""What an experiment makes for one user: a local expert and a gate, as functions of characters."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.experiments.samples import Bench, Sample
from edgemoe.device.profile import HEADER as HEADER_FIELDS

__all__ = ["HEADER", "Fit", "Gate", "GateFit", "Local", "LocalFit", "Mixture", "with_parts"]

Array = npt.NDArray[np.float32]
HEADER = HEADER_FIELDS.size + 4  # bytes of a profile beside the weights: its fields, and the checksum


@dataclass(frozen=True)
class Local:
    """A local expert.

    Attributes
    ----------
    correct : callable
        Takes a `Sample` and returns what to add to the logits, (n, C).
    kept, shipped : int
        Bytes in the profile, and bytes that the bundle grows by, for all users.
    """

    correct: Callable[[Sample], Array]
    kept: int
    shipped: int = 0


@dataclass(frozen=True)
class Gate:
    """A gate; `log_odds` takes a `Sample` and returns (n,). Bytes as in `Local`."""

    log_odds: Callable[[Sample], Array]
    kept: int
    shipped: int = 0


@dataclass(frozen=True)
class Mixture:
    """Both."""

    local: Local
    gate: Gate


LocalFit = Callable[[Bench, Sample], Local]
GateFit = Callable[[Bench, Sample], Gate]
Fit = Callable[[Bench, Sample], Mixture]


def with_parts(local: LocalFit, gate: GateFit) -> Fit:
    """Train both parts apart from each other, as the product does."""
    return lambda bench, support: Mixture(local(bench, support), gate(bench, support))
