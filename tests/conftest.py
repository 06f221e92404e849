"""Fixtures that many tests share, and the rule that in CI no test may skip."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgemoe import GlobalExpert, Personalizer, load_global_expert
from edgemoe.simulator import simulated_samples

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real handwriting: $EDGEMOE_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("EDGEMOE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "emnist" / "emnist.zip").is_file():
        pytest.skip(f"needs real handwriting, and there is none in {folder} (set EDGEMOE_DATA)")
    return folder


@pytest.fixture(scope="session")
def ge() -> GlobalExpert:
    """The shipped expert; frozen, so that all tests may share it."""
    return load_global_expert("lenet5-balanced")


@pytest.fixture(scope="session")
def writer() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_]]:
    """What a simulated writer gives to learn from."""
    return simulated_samples(seed=3, per_class=5)


@pytest.fixture(scope="session")
def fresh() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_]]:
    """Other samples of the same writer."""
    return simulated_samples(seed=3, per_class=3, sample_seed=1)


@pytest.fixture(scope="session")
def two_writers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of samples by two simulated writers, ann (seed 1, 6 of each class) and bob (seed 2, 4 of each)."""
    path = tmp_path_factory.mktemp("samples") / "user.npz"
    sets = [simulated_samples(1, 6), simulated_samples(2, 4)]
    np.savez(
        path,
        image=np.concatenate([images for images, _ in sets]),
        label=np.concatenate([labels for _, labels in sets]),
        writer=np.repeat(["ann", "bob"], [len(labels) for _, labels in sets]),
    )
    return path


@pytest.fixture(scope="session")
def profile(ge: GlobalExpert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compact profile of ann."""
    path = tmp_path_factory.mktemp("profile") / "me.moe"
    Personalizer(ge).fit(*simulated_samples(1, 5)).save(path)
    return path


def _require(report: Any) -> Any:
    """Turn a skip into a failure, if $EDGEMOE_REQUIRE_ALL is set."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("EDGEMOE_REQUIRE_ALL"):
        report.outcome = "failed"
        report.longrepr = f"EDGEMOE_REQUIRE_ALL is set, and this was skipped. {report.longrepr[2]}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _require((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _require((yield))
