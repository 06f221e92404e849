"""Pruning schedules by name: when channels go, and whether they come back. One module each, entered here.

To add one, write a `Schedule` into a module of its own, with its source, and enter it in `SCHEDULES`. Each gets the
same retraining, that of the recipe, so that schedules are compared at equal epochs.
"""

from edgemoe.errors import EdgemoeError
from edgemoe.pruning.schedules.dpf import dpf
from edgemoe.pruning.schedules.dpp import dpp
from edgemoe.pruning.schedules.iterative import iterative
from edgemoe.pruning.schedules.one_shot import one_shot
from edgemoe.pruning.schedules.rewire import rewire
from edgemoe.pruning.schedules.schedule import Run, Schedule
from edgemoe.pruning.schedules.swast import swast

__all__ = ["SCHEDULES", "Run", "Schedule", "find_schedule"]

SCHEDULES: dict[str, Schedule] = {
    "one-shot": one_shot,
    "iterative": iterative,
    "dpf": dpf,
    "dpp": dpp,
    "rewire": rewire,
    "swast": swast,
}


def find_schedule(name: str) -> Schedule:
    """Return the schedule of that name, or raise EdgemoeError."""
    if name not in SCHEDULES:
        raise EdgemoeError(f"schedule {name!r}: expected one of {', '.join(SCHEDULES)}")
    return SCHEDULES[name]
