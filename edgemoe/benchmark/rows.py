"""The rows of a study as they are measured: a file that grows line by line, and survives a kill at any moment."""

import json
from pathlib import Path
from typing import Any

from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded, write_atomic

__all__ = ["Rows"]

LIMIT = 1 << 28  # bytes; 600 tasks of 16 methods take some 10 MB


class Rows:
    """What was measured so far, in a file of JSON lines: the settings, then a line for each task or cost.

    Parameters
    ----------
    path : Path
    settings : dict
        What the rows depend on; a file made with others is refused. Plain JSON values.
    fresh : bool
        Start over, whatever is there.

    Attributes
    ----------
    tasks : dict of (writer, draw) to dict
    costs : dict of method to dict

    Raises
    ------
    EdgemoeError
        If the file cannot be read or written, holds another study, or is no such file. A last line that was cut off by
        a kill is dropped.
    """

    def __init__(self, path: Path, settings: dict[str, Any], fresh: bool = False) -> None:
        self.path = path
        self.tasks: dict[tuple[str, int], dict[str, Any]] = {}
        self.costs: dict[str, dict[str, Any]] = {}
        lines = [] if fresh or not path.exists() else read_bounded(path, LIMIT).decode(errors="replace").split("\n")
        whole = [line for line in lines[:-1] if line]
        if whole:
            self._read(whole, settings)
        else:
            whole = [json.dumps({"settings": settings})]
        if lines != [*whole, ""]:
            write_atomic(path, ("\n".join(whole) + "\n").encode())

    def add_task(self, row: dict[str, Any]) -> None:
        """Keep the row of a task."""
        self._append(row)
        self.tasks[row["writer"], row["draw"]] = row

    def add_cost(self, method: str, cost: dict[str, Any]) -> None:
        """Keep what training by a method costs."""
        self._append({"method": method, "cost": cost})
        self.costs[method] = cost

    def _append(self, row: dict[str, Any]) -> None:
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps(row, allow_nan=False) + "\n")
        except OSError as error:
            raise EdgemoeError(f"{self.path}: cannot be written ({error.strerror})") from error

    def _read(self, lines: list[str], settings: dict[str, Any]) -> None:
        try:
            kept = dict(json.loads(lines[0])["settings"])
            for row in map(json.loads, lines[1:]):
                if "cost" in row:
                    self.costs[row["method"]] = row["cost"]
                else:
                    self.tasks[row["writer"], row["draw"]] = row
        except (ValueError, KeyError, TypeError) as error:
            raise EdgemoeError(f"{self.path}: not a benchmark's rows ({error!r}); --fresh starts over") from error
        differ = [name for name in {**kept, **settings} if kept.get(name) != settings.get(name)]
        if differ:
            changes = "; ".join(f"{name} was {kept.get(name)} and is {settings.get(name)}" for name in differ)
            raise EdgemoeError(f"{self.path}: holds another study ({changes}); --fresh starts over")
