"""Fixtures that many tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real handwriting: $EDGEMOE_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("EDGEMOE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "emnist" / "emnist.zip").is_file():
        pytest.skip(f"needs real handwriting, and there is none in {folder} (set EDGEMOE_DATA)")
    return folder
