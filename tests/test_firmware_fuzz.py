"""Foreign bytes: fuzzed for as long as $EDGEMOE_FUZZ_SECONDS says, and under valgrind."""

import os
import subprocess
import sys

import pytest
from firmware_tools import require

from edgemoe.errors import EdgemoeError
from firmware_export.fuzz import FUZZERS, HERE, LIBRARY, SHARED, C, build_fuzzer, run_fuzzer, seed_inputs
from firmware_export.targets import TARGETS
from firmware_export.toolchain import WARNINGS, build

SECONDS = int(os.environ.get("EDGEMOE_FUZZ_SECONDS", "0"))  # in all


@pytest.mark.parametrize("name", FUZZERS)
def test_no_input_makes_a_fuzzer_end(tmp_path, name):
    require("clang")
    seeds = seed_inputs(name, tmp_path / "inputs")
    assert run_fuzzer(build_fuzzer(name, tmp_path), tmp_path / "inputs", max(1, SECONDS // len(FUZZERS))) > len(seeds)


def test_a_fuzzer_finds_a_byte_read_beyond_the_end(tmp_path):
    require("clang")
    pack = (C / "em_pack.c").read_text()
    check = "        if (end - place < low + 1) return EM_NO_PROFILE;\n"
    assert check in pack
    (tmp_path / "em_pack.c").write_text(pack.replace(check, ""))
    planted = [*(source for source in LIBRARY if source.name != "em_pack.c"), tmp_path / "em_pack.c"]
    seed_inputs("load", tmp_path / "inputs")
    with pytest.raises(EdgemoeError, match="heap-buffer-overflow"):
        run_fuzzer(build_fuzzer("load", tmp_path, planted), tmp_path / "inputs", 30)


@pytest.mark.parametrize("name", FUZZERS)
def test_good_inputs_are_clean_under_valgrind(tmp_path, name):
    valgrind = require("valgrind")
    sources = [*LIBRARY, SHARED, HERE / f"em_fuzz_{name}.c", HERE / "em_fuzz_replay.c"]
    program = build(TARGETS["host"], sources, [HERE, C], tmp_path / "replay", flags=WARNINGS)
    seeds = seed_inputs(name, tmp_path / "inputs")
    command = [valgrind, "--error-exitcode=9", "--leak-check=full", str(program), *map(str, seeds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_names_a_harmless_run(tmp_path):
    require("clang")
    command = [sys.executable, "-m", "firmware_export.fuzz", "--help"]
    assert (
        "--seconds" in subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parents[1]).stdout
    )
