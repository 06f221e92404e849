"""In CI a test that does not run is a test that fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = {
    "in_the_test": "import pytest\ndef test_one(): pytest.skip('no such board')",
    "by_a_mark": "import pytest\n@pytest.mark.skipif(True, reason='no such board')\ndef test_one(): pass",
    "in_a_fixture": "def test_one(shared_data): pass",
    "of_a_module": "import pytest\npytest.importorskip('no_such_module', reason='no such board')\ndef test_one(): pass",
}


def run_pytest(folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    (folder / "conftest.py").write_text(Path(__file__).with_name("conftest.py").read_text())
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EDGEMOE_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", str(folder)]
    variables = {"EDGEMOE_DATA": str(folder / "none"), **variables}
    return subprocess.run(command, env=environment | variables, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS)
def test_a_skip_is_a_failure_with_its_reason_where_all_is_required(source: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(source)
    plain, required = run_pytest(tmp_path), run_pytest(tmp_path, EDGEMOE_REQUIRE_ALL="1")
    assert plain.returncode in (0, 5)  # 5: nothing collected
    assert "1 skipped" in plain.stdout
    assert required.returncode in (1, 2)
    assert "skipped" not in required.stdout.splitlines()[-1]
    assert "no such board" in required.stdout or "none in" in required.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import pytest\n@pytest.mark.xfail\ndef test_one(): assert False")
    assert run_pytest(tmp_path, EDGEMOE_REQUIRE_ALL="1").returncode == 0
