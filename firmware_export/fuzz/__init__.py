"""Fuzzes what reads foreign bytes in the C library: profiles, pen strokes and flash slots.

The fuzzers are libFuzzer's, under the address and undefined behaviour sanitizers, for an expert made up of so few sizes
that they get to the end of a profile. They start from good inputs, which are made here.
"""

import hashlib
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgemoe.device.acceptance import Verdict
from edgemoe.device.gate import Gate
from edgemoe.device.local_expert import LocalExpert
from edgemoe.device.profile import Profile
from edgemoe.device.quantized import QuantizedMatrix
from edgemoe.errors import EdgemoeError

__all__ = ["FUZZERS", "LIBRARY", "SHARED", "build_fuzzer", "run_fuzzer", "seed_inputs"]

FUZZERS = ("load", "render", "store")
HERE = Path(__file__).parent
C = HERE.parent / "c"
LIBRARY = tuple(C / f"em_{part}.c" for part in ("math", "mixture", "pack", "profile", "store", "strokes", "symbols"))
SHARED = HERE / "em_fuzz_model.c"
SANITIZERS = "address,undefined,float-cast-overflow,float-divide-by-zero"
MOST_BYTES = 2048  # of an input
SLOW = 10  # seconds that no input may take
MEMORY = 64  # MB in one piece; what the process has in all is counted with what its parent had, and says nothing

# The expert of em_fuzz_model.c.
FINGERPRINT = b"fuzzed all day!\n"
CLASSES, POOLED, FEATURES = 3, 8, 30


def build_fuzzer(name: str, folder: Path, library: Sequence[Path] = LIBRARY) -> Path:
    """Build one of the `FUZZERS` into a folder.

    Parameters
    ----------
    name : str
    folder : Path
    library : sequence of Path
        The C files to try.

    Raises
    ------
    EdgemoeError
        If clang is missing or fails.
    """
    if shutil.which("clang") is None:
        raise EdgemoeError("clang: not installed; on Debian the packages clang and libclang-rt-14-dev bring it")
    out = folder / f"em_fuzz_{name}"
    command = ["clang", "-std=c99", "-O1", "-g", "-ffp-contract=off", f"-fsanitize=fuzzer,{SANITIZERS}"]
    command += ["-fno-sanitize-recover=all", f"-I{C}", f"-I{HERE}", "-o", str(out)]
    command += [str(source) for source in (*library, SHARED, HERE / f"em_fuzz_{name}.c")]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise EdgemoeError(f"em_fuzz_{name}.c: clang failed:\n{done.stderr[-2000:]}")
    return out


def run_fuzzer(program: Path, corpus: Path, seconds: int, seed: int = 1) -> int:
    """Run a fuzzer on a folder of inputs, to which it adds what it finds.

    Parameters
    ----------
    program : Path
        From `build_fuzzer`.
    corpus : Path
    seconds : int
        How long, at least 1.
    seed : int
        Of its random choices, at least 1.

    Returns
    -------
    int
        How many inputs it ran.

    Raises
    ------
    EdgemoeError
        If an input made it end: with the input's file and the sanitizer's report.
    """
    command = [
        str(program), str(corpus), f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}", f"-timeout={SLOW}",
        "-rss_limit_mb=0", f"-malloc_limit_mb={MEMORY}", f"-seed={seed}",
        f"-artifact_prefix={program.parent}/", "-print_final_stats=1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise EdgemoeError(f"{program.name}: ended on an input:\n{done.stderr[-4000:]}")
    counts = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    return int(counts[0])


def seed_inputs(name: str, folder: Path) -> list[Path]:
    """Write good inputs for one of the `FUZZERS` into a folder, and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"load": _profiles, "render": _strokes, "store": _slots}[name]()
    paths = [folder / hashlib.sha1(content).hexdigest() for content in contents]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def _profile(seed: int, local_bits: int, gate_bits: int, symbols: str) -> bytes:
    rng = np.random.default_rng(seed)

    def matrix(rows: int, columns: int, bits: int) -> QuantizedMatrix:
        codes = rng.integers(-1, 2, (rows, columns)).astype(np.int8)
        return QuantizedMatrix(codes, rng.uniform(0, 1, 1 if bits == 2 else rows).astype(np.float16), bits)

    local = LocalExpert(matrix(CLASSES + len(symbols), POOLED + 1, local_bits), len(symbols))
    verdict = Verdict(True, 0.5, 0.001, 0.25, 0.9, None)
    return Profile(
        FINGERPRINT, local, Gate(matrix(1, FEATURES, gate_bits), 0.5), verdict, 17, 0.002, symbols
    ).to_bytes()


def _profiles() -> list[bytes]:
    kinds = [(2, 3, ""), (2, 3, "@"), (2, 8, "@é"), (3, 5, "€"), (8, 8, "@é𝄞")]
    profiles = [_profile(seed, *kind) for seed, kind in enumerate(kinds)]
    return [bytes([mode]) + profile for mode in (0, 1) for profile in profiles]


def _strokes() -> list[bytes]:
    rng = np.random.default_rng(0)
    return [
        bytes([len(lengths), *lengths]) + (rng.normal(0, spread, 2 * sum(lengths)).astype("<f4")).tobytes()
        for lengths in ([1], [5], [2, 3], [1, 1, 20])
        for spread in (0, 1, 300, 1e6)
    ]


def _slots() -> list[bytes]:
    inputs = []
    for kept, power in ((1, 0), (2, 5000), (2, 100)):
        slots = [bytes(300)] * 2
        for slot in range(kept):
            profile = _profile(slot, 2, 3, "@")
            slots[slot] = (b"EDGS" + struct.pack("<III", slot, len(profile), 0) + profile).ljust(300, b"\xff")
        turns = bytes(byte for pair in zip(*slots, strict=True) for byte in pair)
        inputs.append(struct.pack("<BH", 3, power) + turns)
    return inputs
