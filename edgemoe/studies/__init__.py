"""Studies of pruning: each one command, one JSON record, one picture, and a section of docs/studies.md.

A study is a module of this package with ``run(inputs, progress) -> record``, ``draw(record, path)`` and
``section(record) -> str``; `STUDIES` says in which order the page shows them.
"""

from importlib import import_module
from typing import Any, Protocol, cast

from edgemoe.errors import EdgemoeError

__all__ = ["STUDIES", "load_study"]

STUDIES = ("front", "oracle", "beyond_accuracy", "scratch", "teachers", "finetune_rate", "coreset", "fairness")


class Study(Protocol):
    """What a study's module holds."""

    def run(self, inputs: Any, progress: Any) -> dict[str, Any]:
        """Measure; return the record, ready for `json.dumps`."""

    def draw(self, record: dict[str, Any], path: Any) -> None:
        """Draw the record as a PNG."""

    def section(self, record: dict[str, Any]) -> str:
        """Return the Markdown that docs/studies.md shows under the study's heading; every figure is the record's."""


def load_study(name: str) -> Study:
    """Import a study by name, or raise EdgemoeError."""
    if name not in STUDIES:
        raise EdgemoeError(f"study {name!r}: expected one of {', '.join(STUDIES)}")
    return cast(Study, import_module(f"edgemoe.studies.{name}"))
