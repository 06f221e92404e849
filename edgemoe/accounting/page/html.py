"""HTML of a page's figures, sections and tables."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

__all__ = ["Page", "count", "legend", "nj", "section", "share", "table", "tenth"]


class Page:
    """The record that a page shows, and its figures as elements that say where in it they stand."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report

    def value(self, path: str) -> Any:
        """Return what stands at a path: ``layers.0.macs``; None where there is nothing."""
        found: Any = self.report
        for key in path.split("."):
            found = found[int(key)] if isinstance(found, list) else found and found.get(key)
        return found

    def figure(self, path: str, say: Callable[[float], str]) -> str:
        """Return a ``<data>`` element that says a figure; one that is None is unknown."""
        value = self.value(path)
        if value is None:
            return f'<data class="unknown" data-path="{path}" value="">unknown</data>'
        return f'<data data-path="{path}" value="{value!r}">{escape(say(value))}</data>'


def count(value: float) -> str:
    """Say a number with its thousands."""
    return f"{value:,.0f}"


def share(value: float) -> str:
    """Say a share in per cent, to hundredths."""
    return f"{100 * value:.2f} %"


def tenth(value: float) -> str:
    """Say a share in per cent, to tenths."""
    return f"{100 * value:.1f} %"


def nj(value: float) -> str:
    """Say nanojoules."""
    return f"{value:,.1f} nJ"


def section(title: str, *content: str, note: str = "") -> str:
    """Make a section with a title, its content as HTML, and a note below."""
    below = f'\n<p class="note">{note}</p>' if note else ""
    return f"<section>\n<h2>{title}</h2>\n" + "\n".join(content) + below + "\n</section>"


def legend(*entries: tuple[str, str]) -> str:
    """Make a legend of (class, name) pairs."""
    return (
        '<p class="legend">'
        + "".join(f'<span><i class="{kind}"></i>{escape(name)}</span> ' for kind, name in entries)
        + "</p>"
    )


def table(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], words: Sequence[int] = ()) -> str:
    """Make a table of cells that are HTML; a row has a class. `words` are the columns of text behind the first."""

    def cell(tag: str, i: int, content: str) -> str:
        return f"<{tag}{' class=words' if i in words else ''}>{content}</{tag}>"

    head = "".join(cell("th", i, escape(heading)) for i, heading in enumerate(headings))
    body = "".join(
        f'<tr class="{kind}">' + "".join(cell("td", i, content) for i, content in enumerate(row)) + "</tr>\n"
        for kind, row in rows
    )
    return f'<div class="table"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>'
