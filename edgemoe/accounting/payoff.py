"""After how many inferences training on the device has cost less energy than something else would have."""

import math
from dataclasses import dataclass

__all__ = ["Payoff", "pays_off"]


@dataclass(frozen=True)
class Payoff:
    """`inferences`: from which number on it costs less, None if never or not known; `until`: up to which, None: for
    good; `says`: both, in words."""

    inferences: int | None
    until: int | None
    says: str


def pays_off(once: float | None, each: float | None, other_once: float | None, other_each: float | None) -> Payoff:
    """Compare two ways, each with an energy spent once and one for each inference; None is an energy not known."""
    if once is None or each is None or other_once is None or other_each is None:
        return Payoff(None, None, "unknown")
    if once <= other_once and each <= other_each:
        return Payoff(0, None, "costs less from the first inference on")
    if once >= other_once and each >= other_each:
        return Payoff(None, None, "never costs less")
    even = (once - other_once) / (other_each - each)
    if each < other_each:
        return Payoff(math.ceil(even), None, f"has paid after {math.ceil(even):,} inferences")
    return Payoff(0, math.floor(even), f"costs less for the first {math.floor(even):,} inferences only")
