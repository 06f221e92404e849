"""What the verbs print: results on stdout, notes on stderr."""

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["emit", "facts", "note", "percent", "table"]


def note(text: str) -> None:
    """Print one line on stderr."""
    typer.echo(text, err=True)


def emit(result: dict[str, Any], as_json: bool, show: Callable[[Console], None]) -> None:
    """Print a result on stdout: as JSON, or as `show` draws it for a person."""
    if as_json:
        typer.echo(json.dumps(result, indent=2, allow_nan=False))
    else:
        show(Console(highlight=False, width=None if sys.stdout.isatty() else 120))


def table(title: str, headings: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """Make a table whose first column is text and whose others are figures."""
    made = Table(title=escape(title), title_justify="left")
    for index, heading in enumerate(headings):
        made.add_column(heading, justify="right" if index else "left")
    for row in rows:
        made.add_row(*(escape(str(value)) for value in row))
    return made


def facts(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    """Make a table of names and what is to be said of each."""
    made = Table(title=escape(title), title_justify="left", show_header=False)
    for row in rows:
        made.add_row(*map(escape, row))
    return made


def percent(share: float) -> str:
    """Return a share in [0, 1] as text: ``78.9 %``."""
    return f"{100 * share:.1f} %"
