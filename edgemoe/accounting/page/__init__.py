"""The record of `edgemoe account` as one HTML page: no script, no network, one file to send or to print.

Every figure is a ``<data>`` element, or a mark of a chart, that says where in the record it stands.
"""

from html import escape
from pathlib import Path
from typing import Any

from edgemoe.accounting.page import pictures, tables
from edgemoe.accounting.page.html import Page, count

__all__ = ["html_page"]


def html_page(report: dict[str, Any]) -> str:
    """Draw a record with "expert", "unpruned", "zoo", "against" and "constants" as a page.

    Parameters
    ----------
    report : dict
        What `edgemoe.accounting.record.account_record` returns, with its "profile"'s "source"; "expert" is
        {"name"}, "unpruned" by `unpruned_record`, "zoo" by `zoo_record`, "against" by `against`, "constants" by
        `cited_constants`.

    Returns
    -------
    str
        A whole HTML document.
    """
    page = Page(report)
    name = escape(report["expert"]["name"])
    sections = [
        pictures.cards(page),
        tables.unknown(page),
        pictures.stacked(page),
        pictures.overheads(page),
        tables.against(page),
        pictures.routing(page),
        pictures.zoo(page),
        tables.boards(page),
        tables.layers(page),
        tables.constants(page),
    ]
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>What it costs to personalize {name}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>What it costs to personalize {name}</h1>\n<p class="lead">A local expert and a gate of '
        f"{page.figure('profile.bytes', count)} bytes, trained on the device, beside a frozen recognizer of "
        f"{page.figure('global.bytes', count)} bytes. Profile: {escape(str(report['profile']['source']))}.</p>\n"
        + "\n".join(filter(None, sections))
        + "\n<footer>Made by edgemoe account --html. Energies marked “ratio model” compare parts and are no joules of "
        "a device; joules are boards’, as measured, with their range.</footer>\n</main>\n</body>\n</html>\n"
    )
