"""The document of the experiments says what is on record."""

import json
import re
from pathlib import Path

import pytest

from edgemoe.benchmark.experiments import table
from edgemoe.benchmark.experiments.registry import EXPERIMENTS

ROOT = Path(__file__).resolve().parents[1]


def test_the_document_says_what_is_on_record():
    record = json.loads((ROOT / "docs" / "figures" / "experiments.json").read_text())
    text = (ROOT / "docs" / "experiments.md").read_text()
    shown = text.split(table.BEGIN)[1].split(table.END)[0]
    assert shown.strip() == table.markdown(record)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown.strip().splitlines()[2:]]
    assert [row[0].strip("`") for row in rows] == list(record["experiments"])
    assert set(EXPERIMENTS) - set(record["experiments"]) == {"gate-logistic"}  # as the document says
    for name, tried, removed, lost, gained, size, *_ in rows:
        figures_ = record["experiments"][name.strip("`")]
        assert tried == EXPERIMENTS[name.strip("`")].tried == figures_["tried"]
        assert float(removed.strip(" %")) == pytest.approx(100 * figures_["removed"], abs=0.051)
        assert float(lost) == pytest.approx(100 * figures_["lost"], abs=0.0051)
        numbers = [float(number) for number in re.findall(r"[+-][\d.]+", gained)]
        assert numbers == pytest.approx(
            [round(100 * figures_[key], 1) for key in ("gained", "gained_low", "gained_high")][: len(numbers)],
            abs=0.051,
        )
        assert int(size.split(" + ")[0].replace(",", "")) == figures_["profile_bytes"]
    frontier = re.findall(r"^\| `([\w-]+)` \| ([\d,]+) \| ([\d.]+) % \|$", text.split(table.BEGIN)[0], re.MULTILINE)
    assert len(frontier) > 3
    for name, size, removed in frontier:
        figures_ = record["experiments"][name]
        assert int(size.replace(",", "")) == figures_["profile_bytes"]
        assert float(removed) == pytest.approx(100 * figures_["removed_equal"], abs=0.051)
