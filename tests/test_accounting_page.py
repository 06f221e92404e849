"""The page: rendered in headless Chromium, compared with the record, and asked whether anything leaves its place."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest
from browser import probed
from cli_runner import edgemoe

from edgemoe.accounting.citations import cited_constants
from edgemoe.accounting.page import html_page
from edgemoe.accounting.page.charts import Point, scatter

OPEN = "document.querySelectorAll('details').forEach(d => d.open = true)"
FIGURES = (
    """[...document.querySelectorAll('data')].map(d => [d.dataset.path, d.getAttribute('value'), d.textContent])"""
)
BARS = """[...document.querySelectorAll('svg')].map(s => [...s.querySelectorAll('rect[data-path]')].map(
  r => [r.dataset.path, r.dataset.value, r.getBoundingClientRect().width, r.getAttribute('y')]))"""
REQUESTS = "performance.getEntriesByType('resource').map(r => r.name)"
OUTSIDE = """(() => { const found = [];
  for (const e of document.querySelectorAll('main *')) {
    const r = e.getBoundingClientRect();
    if (r.width && !e.closest('.table') && (r.left < -0.5 || r.right > innerWidth + 0.5))
      found.push(e.outerHTML.slice(0, 90));
  }
  for (const s of document.querySelectorAll('svg')) {
    const box = s.getBoundingClientRect();
    for (const e of s.querySelectorAll('*')) {
      const r = e.getBoundingClientRect();
      if (r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 || r.bottom > box.bottom + 1)
        found.push(e.outerHTML.slice(0, 90));
    }
    const texts = [...s.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    texts.forEach(([a, p], i) => texts.slice(i + 1).forEach(([b, q]) => {
      if (p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 1 && q.top < p.bottom - 1)
        found.push(a + ' meets ' + b);
    }));
  }
  const wide = document.documentElement;
  if (wide.scrollWidth > wide.clientWidth) found.push('the page is wider than its window');
  for (const t of document.querySelectorAll('.table'))
    if (innerWidth >= 900 && t.scrollWidth > t.clientWidth) found.push('a table scrolls: ' + t.textContent);
  return found; })()"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, profile):
    """The page, its record, and what Chromium finds in it at the width of a laptop."""
    folder = tmp_path_factory.mktemp("page")
    page, record = folder / "costs.html", folder / "costs.json"
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert edgemoe("account", "--profile", profile, "--html", page, "--json") == 0
    record.write_text(out.getvalue())
    probe = f"({OPEN}, {{figures: {FIGURES}, bars: {BARS}, requests: {REQUESTS}}})"
    return page, json.loads(out.getvalue()), probed(page, probe, folder)


def at(record, path):
    for key in path.split("."):
        record = record[int(key)] if isinstance(record, list) else record[key]
    return record


def test_every_figure_that_the_page_shows_is_the_records(made) -> None:
    _, record, found = made
    assert len(found["figures"]) > 100
    for path, value, text in found["figures"]:
        expected = at(record, path)
        if expected is None:
            assert (value, text) == ("", "unknown")
            continue
        assert float(value) == expected
        number, unit = re.fullmatch(r"([\d,.e+-]+) ?(%|nJ|M)?", text).groups()
        shown = float(number.replace(",", "")) * {"%": 0.01, "M": 1e6}.get(unit, 1)
        places = len(number.partition(".")[2].partition("e")[0])
        step = 10.0**-places * {"%": 0.01, "M": 1e6}.get(unit, 1)
        scale = 1e-6 if path.endswith("compute_uj") else 1  # told in joules
        assert shown == pytest.approx(expected * scale, abs=0.51 * step, rel=1e-5)


def test_bars_are_as_long_as_the_records_figures_say(made) -> None:
    _, record, found = made
    charts = [chart for chart in found["bars"] if chart]
    assert len(charts) == 3  # whole, magnified, and the overheads
    for chart in charts:
        for path, value, _, _ in chart:
            assert float(value) == at(record, path)
    whole, magnified, overheads = charts
    for chart, base in ((whole, True), (magnified, True), (overheads, False)):
        lengths = []
        for path, value, width, _ in chart:
            key = {"header_bytes": "bytes"}.get(path.split(".")[-1], path.split(".")[-1])
            one = record["global"][key] if base else 1
            lengths.append(width / (float(value) / one))
        assert lengths == pytest.approx([lengths[0]] * len(lengths), rel=0.02)


def test_each_zoo_expert_stands_at_its_energy_and_accuracy(made) -> None:
    page, record, _ = made
    points = re.findall(
        r'<circle [^>]*data-path="(zoo\.\d+)" data-value="([\d.]+)" data-accuracy="([\d.]+)"', page.read_text()
    )
    assert len(points) == len(record["zoo"]) > 3
    for path, energy, accuracy in points:
        row = at(record, path)
        assert (float(energy), float(accuracy)) == (row["energy_nj"], pytest.approx(100 * row["accuracy"]))


@pytest.mark.parametrize("width", [500, 700, 1000, 1900])
def test_nothing_overflows_and_no_two_labels_meet(made, width, tmp_path) -> None:
    inner, outside = probed(made[0], f"({OPEN}, [innerWidth, {OUTSIDE}])", tmp_path, width)
    assert inner == width
    assert outside == []


def test_the_probe_finds_what_overflows_and_labels_that_meet(tmp_path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<body><main><p style='width: 2000px'>wide</p><svg viewBox='0 0 100 50' width='300'>"
        "<text x='5' y='20'>one</text><text x='6' y='21'>two</text><text x='90' y='40'>outside</text></svg>"
        "</main></body>"
    )
    found = " ".join(probed(page, OUTSIDE, tmp_path))
    assert all(word in found for word in (">wide", "one meets two", ">outside", "wider than its window"))


def test_the_page_is_whole_by_itself(made) -> None:
    page, _, found = made
    text = page.read_text()
    assert found["requests"] == []
    assert not re.search(r"<script|<iframe|<img|<object|@import|url\(|\bsrc=|https?:", text)
    assert re.findall(r'<link[^>]*href="([^"]*)"', text) == ["data:,"]  # asks for no icon


def test_every_constant_has_its_source(made) -> None:
    _, record, _ = made
    assert len(record["constants"]) > 30
    assert all(entry["source"] for entry in record["constants"])
    assert {entry["file"] for entry in record["constants"]} >= {"horowitz45", "cells", "board_nucleo-l4r5zi"}
    names = {entry["name"]: entry["value"] for entry in cited_constants() if entry["file"] == "horowitz45"}
    assert names["int8 mult"] == 0.2


def test_a_users_own_board_is_among_the_sources(tmp_path) -> None:
    own = {"constants": {"volts": {"value": 3.3, "unit": "V", "source": "my multimeter"}}}
    (tmp_path / "mine.json").write_text(json.dumps(own))
    last = cited_constants([tmp_path / "mine.json"])[-1]
    assert last == {"file": "mine", "name": "volts", "value": 3.3, "unit": "V", "source": "my multimeter"}


def test_what_is_unknown_is_said_to_be_and_names_are_no_markup(made) -> None:
    _, record, _ = made
    entry = {"name": "<b>odd</b>", "op": "Wavelet", "reason": "no rule counts this operator", "bytes": 36}
    odd = json.loads(json.dumps(record)) | {"unknown": [entry], "unpruned": None}
    odd["overhead"] = dict.fromkeys(odd["overhead"])
    odd["against"]["methods"][0]["user_accuracy"] = None
    text = html_page(odd)
    assert "&lt;b&gt;odd&lt;/b&gt;" in text
    assert "<b>odd" not in text
    assert "Not in any figure below" in text
    assert 'data-path="against.methods.0.user_accuracy" value="">unknown<' in text


def test_names_of_points_close_together_do_not_meet(tmp_path) -> None:
    points = [Point(f"expert number {i}", 1000 + 15 * i, 90 + 0.3 * (i % 2), f"zoo.{i}", "other") for i in range(4)]
    drawn = scatter("close", points, "energy", "accuracy", str)
    page = tmp_path / "close.html"
    page.write_text(f"<body><main>{drawn}</main></body>")
    assert [text for text in probed(page, OUTSIDE, tmp_path, 800) if "meets" in text] == []
    assert all(f"expert number {i}" in drawn for i in range(4))


def test_the_page_of_a_simulated_writer_is_written_where_it_is_asked_for(made) -> None:
    assert Path(made[0]).read_text().startswith("<!doctype html>")
